package run

import (
	"maru/arch"
	"maru/internal/config"
	"maru/sim/result"
)

// Session runs many inputs and keeps what they share. Its results are those of
// Compile and Simulate, byte for byte. It may be used concurrently.
type Session struct{}

// NewSession returns a session that has run nothing.
func NewSession() *Session { return &Session{} }

// Run compiles an input for a chip that is loaded already, with its resolved
// description, and simulates it. The chip of the input and its changes are not
// read. Errors are those of Compile and Simulate.
func (s *Session) Run(chip *arch.Chip, doc *config.Doc, in Input, opt Options) (*result.Result, error) {
	c, err := compileFor(chip, doc, in)
	if err != nil {
		return nil, err
	}
	return Simulate(c.Chip, c.Doc, c.Trace, opt)
}
