//go:build !linux

package netpath

import "errors"

// Check says whether this machine can join places by a path: nil, or in a word
// why not.
func Check() error { return errors.New("an emulated path needs the network namespaces of Linux") }

// Net is two places and the path between them; see the package's other files
// for what it does on Linux.
type Net struct{ Near, Far *Place }

// New fails with the error of Check.
func New(Path) (*Net, error) { return nil, Check() }

// Set does nothing here.
func (n *Net) Set(Path) error { return Check() }

// Stats are zero here.
func (n *Net) Stats() Stats { return Stats{} }

// Close does nothing here.
func (n *Net) Close() {}

// Place is one end of the path.
type Place struct{ IP string }

// Do fails with the error of Check.
func (p *Place) Do(func() error) error { return Check() }
