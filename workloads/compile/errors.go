package compile

import (
	"fmt"

	"maru/arch/dtype"
	"maru/arch/unit"
	"maru/workloads/trace"
)

// CapacityError says that a run needs more main memory than the chip has.
type CapacityError struct {
	Chip  string
	Model string
	Need  trace.Footprint
	Have  int64 // bytes
}

// Error names the parts of the footprint and what is missing.
func (e *CapacityError) Error() string {
	f := &e.Need
	return fmt.Sprintf("%s needs %s of main memory, %s has %s: %s too much (weights %s, activations %s, kv cache %s, gradients %s, optimizer state %s); "+
		"allowed is a smaller batch, sequence or number format, or fewer layers",
		e.Model, size(f.Total()), e.Chip, size(e.Have), size(f.Total()-e.Have),
		size(f.Weights), size(f.Activations), size(f.KV), size(f.Gradients), size(f.State))
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
