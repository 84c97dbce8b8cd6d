package compile

import (
	"fmt"
	"testing"

	"maru/arch/dtype"
	"maru/workloads/model"
	"maru/workloads/plan"
	"maru/workloads/trace"
)

// TestCutAmongTiles holds operators of few rows to work for most cores of a
// machine in supersteps.
func TestCutAmongTiles(t *testing.T) {
	p := plan.Plan{Batch: 1, Seq: 1, DType: dtype.BF16, Fuse: true}
	for _, c := range []struct {
		spec     string
		launches int
		busy     int64 // tile programs of each launch, at least
	}{
		{"layernorm:rows=1,cols=4096", 2, 200},
		{"softmax:rows=4,cols=4096", 2, 500},
		{"layernorm:rows=2000,cols=512", 1, 900},
		{"gelu:rows=2000,cols=512", 1, 950},
		{"embedding:rows=64,cols=768,vocab=50000", 1, 700},
		{"add:rows=1,cols=4000", 1, 1000},
		{"conv:n=1,c=512,h=7,w=7,k=512,r=3,pad=1", 2, 700}, // cut along its taps
		{"attention:batch=1,heads=8,seq_q=1,seq_kv=4000,head_dim=64", 2, 900},
		{"attention:batch=1,heads=8,seq=512,head_dim=64", 1, 500},
	} {
		tr, _, err := Compile(op(t, c.spec, dtype.BF16), p, tileChip(), Options{})
		if err != nil {
			t.Errorf("%s: %v", c.spec, err)
			continue
		}
		if len(tr.Launches) != c.launches {
			t.Errorf("%s: %d launches, want %d", c.spec, len(tr.Launches), c.launches)
		}
		var tiles int64
		for i := range tr.Programs[0].Parts {
			tiles += tr.Programs[0].Parts[i].Tiles()
		}
		if tiles < c.busy {
			t.Errorf("%s: %d tile programs, want %d", c.spec, tiles, c.busy)
		}
	}
}

// TestKeysStay finds the keys and values of decode in the cores that multiply
// them, and weights of one row too.
func TestKeysStay(t *testing.T) {
	m, err := model.Load("gpt2")
	if err != nil {
		t.Fatal(err)
	}
	p := plan.Plan{Phase: plan.Decode, Batch: 1, Seq: 512, DType: dtype.BF16, Layers: 1, Fuse: true}
	g, err := model.Build(m, p)
	if err != nil {
		t.Fatal(err)
	}
	tr, _, err := Compile(g, p, tileChip(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	loads := map[string]int{}
	for _, l := range tr.Launches {
		prog := &tr.Programs[l.Program]
		if k := prog.Ops[0].Kind; k != "matmul" && k != "attention" {
			continue
		}
		for i := range prog.Parts {
			for j := range prog.Parts[i].Code {
				for _, in := range prog.Parts[i].Code[j].Body {
					if tensor := &tr.Tensors[l.Args[in.Slot]]; in.Kind == trace.Load && tensor.Rows > 1 {
						switch tensor.Role.String() {
						case "weight", "kv":
							loads[tensor.Role.String()]++
							if !in.Local {
								t.Errorf("%s fetches %s", prog.Name, tensor.Name)
							}
						}
					}
				}
			}
		}
	}
	if loads["weight"] < 5 || loads["kv"] < 2 {
		t.Errorf("loads %v of weights and of keys and values", loads)
	}
}

// TestTableOnTiles stores every row that is looked up once, whichever way the table
// is cut.
func TestTableOnTiles(t *testing.T) {
	p := plan.Plan{Batch: 1, Seq: 1, DType: dtype.BF16, Fuse: true}
	for _, c := range []struct{ rows, cols, vocab, parts, steps int64 }{
		{300, 768, 5000, 1, 1},        // in columns
		{3000, 2, 1000, 1, 1},         // in copies
		{70000, 2, 100000000, 300, 3}, // in rows, in several chunks
		{77, 4, 30000000, 100, 2},     // in rows, at once
	} {
		tr, _, err := Compile(op(t, fmt.Sprintf("embedding:rows=%d,cols=%d,vocab=%d", c.rows, c.cols, c.vocab), dtype.BF16), p, tileChip(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		stored := make([]int, c.rows*c.cols)
		prog := &tr.Programs[0]
		part := &prog.Parts[0]
		if z := part.Grid[2]; z < c.parts || c.parts == 1 && z > 1 || int64(len(part.Code)) != c.steps {
			t.Errorf("%+v: grid %v, %d steps", c, part.Grid, len(part.Code))
		}
		for i := range part.Tiles() {
			g := [4]int64{i % part.Grid[0], i / part.Grid[0] % part.Grid[1], i / part.Grid[0] / part.Grid[1]}
			for _, s := range part.Code {
				n := int64(1)
				if s.Count != nil {
					n = s.Count.Eval(g, 0)
				}
				for k := range n {
					for _, in := range s.Body {
						if in.Kind != trace.Store || prog.Slots[in.Slot] != "out" {
							continue
						}
						row, col := in.Row.Eval(g, k), in.Col.Eval(g, k)
						for r := row; r < min(c.rows, row+in.Rows); r++ {
							for x := col; x < col+in.Cols; x++ {
								stored[r*c.cols+x]++
							}
						}
					}
				}
			}
		}
		for i, n := range stored {
			if n != 1 {
				t.Fatalf("%+v: element %d is stored %d times", c, i, n)
			}
		}
	}
}
