//go:build !unix

package screen

// wake has nothing to do where nothing is suspended.
func wake() {}
