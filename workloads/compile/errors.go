package compile

import (
	"fmt"

	"maru/arch/dtype"
	"maru/arch/unit"
	"maru/workloads/trace"
)

// CapacityError says that a run needs more memory than there is.
type CapacityError struct {
	Chip   string
	Model  string
	Memory trace.Home // that is too small
	Need   trace.Footprint
	Have   int64 // bytes
	Beyond bool  // the weights could lie in external memory
	Params int64 // parameters of the model, in DType
	DType  dtype.Type
}

// memoryNames are the memories in messages.
var memoryNames = [...]string{trace.Main: "main memory", trace.Chip: "memory on the chip", trace.External: "external memory"}

// Error names the parts of the footprint, what is missing, and how many chips
// the weights alone would fill.
func (e *CapacityError) Error() string {
	f := &e.Need
	need := f.Total() + f.External
	text := fmt.Sprintf("%s needs %s of %s, %s has %s: %s too much (weights %s, activations %s, kv cache %s, gradients %s, optimizer state %s)",
		e.Model, size(need), memoryNames[e.Memory], e.Chip, size(e.Have), size(need-e.Have),
		size(f.Weights+f.External), size(f.Activations), size(f.KV), size(f.Gradients), size(f.State))
	if params := e.DType.Bytes(e.Params); params > e.Have && e.Have > 0 {
		text += fmt.Sprintf("; its %d parameters in %v alone fill %d such chips", e.Params, e.DType, ceilDiv(params, e.Have))
	}
	text += "; allowed is a smaller batch, sequence or number format, or fewer layers"
	if e.Beyond {
		text += ", or weights in external memory"
	}
	return text
}

// BufferError says that the smallest tiling of an operator does not fit what
// one tile program may take of the scratchpad.
type BufferError struct {
	Buffer     string // what is to be held
	Need, Have int64  // bytes
}

// Error names the buffer and what is missing.
func (e *BufferError) Error() string {
	return fmt.Sprintf("no tiling fits the scratchpad: %s needs at least %d bytes, a tile program may take %d: %d too few",
		e.Buffer, e.Need, e.Have, e.Need-e.Have)
}

// FormatError says that a chip does not compute in a number format.
type FormatError struct {
	Chip   string
	Format dtype.Type
	Have   string // the formats in which it computes products
}

// Error names the formats that the chip has.
func (e *FormatError) Error() string {
	return fmt.Sprintf("%s does not compute in %s; allowed: %s", e.Chip, e.Format, e.Have)
}

func (t *target) formatError(dt dtype.Type) error {
	return &FormatError{Chip: t.chip.Name, Format: dt, Have: t.formats()}
}

func size(n int64) string { return unit.Short(unit.Bytes(n)) }
