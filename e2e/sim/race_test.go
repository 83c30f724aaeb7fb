//go:build race

package sim

// raced makes swarms smaller under the race detector.
const raced = true
