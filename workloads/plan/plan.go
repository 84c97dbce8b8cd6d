// Package plan holds the choices for a run: phase, batch, sequence, precision,
// compiler options. It decides nothing; the model builders and the compiler
// read it. Floor 1.
package plan

import (
	"fmt"

	"maru/arch/dtype"
)

// Phase is the part of a model's life that is run.
type Phase uint8

const (
	Prefill Phase = iota // all prompt tokens at once, logits of the last only
	Decode               // one new token for each sequence, Seq tokens of context
	Forward              // every output
	Train                // forward, backward and optimizer step
)

var phaseNames = [...]string{"prefill", "decode", "forward", "train"}

func (p Phase) String() string { return phaseNames[p] }

// PhaseNames lists the phases as they are written.
func PhaseNames() []string { return append([]string(nil), phaseNames[:]...) }

// ParsePhase reads a phase by name.
func ParsePhase(s string) (Phase, error) {
	for i, n := range phaseNames {
		if s == n {
			return Phase(i), nil
		}
	}
	return 0, fmt.Errorf("unknown phase %q; allowed: prefill, decode, forward, train", s)
}

// Plan is everything chosen for a run besides chip and model.
type Plan struct {
	Phase Phase
	Batch int64 // sequences or images
	Seq   int64 // prompt length; context length in decode

	// DType is the format of weights and matrix arithmetic; Chosen says that
	// it is the chip's preference and not the user's.
	DType   dtype.Type
	KVDType dtype.Type // format of the key/value cache
	Wide    dtype.Type // format of activations, and of layers that are not converted, where DType has fewer than 16 bits; 0 is bf16
	Layers  int        // run only the first Layers repeated blocks; 0 is all

	Fuse    bool   // run the fuse pass
	Profile string // library profile; "" is the chip's default
	Cache   string // initial residency: "cold", "warm", "rotate:N"
	Launch  string // "graph" or "stream"
	Data    string // values of the operands: "random", the default, or "zero"

	// Weights is the memory that weights lie in: "main", "chip" or "external"; ""
	// is main memory, or on a chip without any, the chip if they fit there and
	// external memory if not.
	Weights string

	Replays int64 // runs, back to back, on a chip that was idle before; 0 is without end
}

// WeightNames lists where weights may lie, as it is written.
func WeightNames() []string { return []string{"main", "chip", "external"} }

// DataNames lists what operands may hold, as it is written. It changes the
// energy of arithmetic and, through the clock under a power cap, the time.
func DataNames() []string { return []string{"random", "zero"} }
