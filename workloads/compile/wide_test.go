package compile

import "testing"

// Queries are padded to the matrix instruction before their tiles are fitted to
// the scratchpad: with instructions of 128 rows, one query takes as much as 128.
func TestPaddedQueriesFit(t *testing.T) {
	chip := asyncChip()
	chip.Cores.Matrix.Tile.Value = 128
	compileOp(t, chip, "attention:batch=1,heads=1,kv_heads=1,head_dim=256,seq_q=1,seq_kv=4096")
}
