// Package disktest gives a test a small disk all to itself, to fill or to make
// read-only.
package disktest
