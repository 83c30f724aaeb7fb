// Package screentest is a terminal for tests: a pseudoterminal with a screen that
// can be read, and keys that can be pressed. It is there where there are
// pseudoterminals.
package screentest
