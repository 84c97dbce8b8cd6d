package trace

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"maru/arch/dtype"
	"maru/internal/goldentest"

	"github.com/google/go-cmp/cmp"
)

// sound is a valid trace that the error tests break.
const sound = `maru-trace 1
run model=m dtype=bf16 layers=2 tokens=1
memory weights=131072
tensor 0 x 256x256 bf16 input
tensor 1 layer.0.w 256x256 bf16 weight layer=0
tensor 2 h 256x256 bf16 activation
tensor 3 y 256x256 bf16 output
program 0 gemm threads=128 scratch=1024 slots=a,b,c
  op 0 layer.*.gemm kind=matmul flops=33554432 read=262144 write=131072
  part grid=2,2
    loop 4 stages=2
      load a 128x64 row=128*x col=64*k
      load b 128x64 row=128*y col=64*k
      matmul 128x128x64 bf16
    end
    do
      vector 16384 fp32
      store c 128x128 row=128*x col=128*y
    end
  end
end
program 1 copy slots=from,to
  op 0 copy read=131072 write=131072
  part grid=1
    do
      load from 256x256
      store to 256x256
    end
  end
end
launch 0 layer=0 a=0 b=1 c=2
launch 1 from=2 to=3 free=2
end
`

// TestErrors compares the messages for broken files with testdata/errors.golden.
func TestErrors(t *testing.T) {
	if _, err := Parse("sound", strings.NewReader(sound)); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, c := range []struct{ name, old, new string }{
		// The first line and the frame.
		{"empty file", sound, ""},
		{"another file", sound, "chip: h100\n"},
		{"a binary file", sound, "\x7fELF\x02\x01\n"},
		{"version missing", "maru-trace 1\n", "maru-trace\n"},
		{"version newer", "maru-trace 1\n", "maru-trace 2\n"},
		{"version older", "maru-trace 1\n", "maru-trace 0\n"},
		{"version no number", "maru-trace 1\n", "maru-trace v1\n"},
		{"version and more", "maru-trace 1\n", "maru-trace 1 draft\n"},
		{"only the first line", sound, "maru-trace 1\n"},
		{"no run line", "run model=m dtype=bf16 layers=2 tokens=1\n", ""},
		{"second run line", "memory", "run dtype=bf16\nmemory"},
		{"cut off in a loop", sound[strings.Index(sound, "      matmul"):], ""},
		{"cut off in a program", sound[strings.Index(sound, "program 1"):], "program 1 copy slots=from,to\n"},
		{"cut off after a launch", "free=2\nend\n", "free=2\n"},
		{"one end too few", "bf16\n    end\n    do", "bf16\n    do"},
		{"one end too many", "  end\nend\nprogram 1", "  end\nend\nend\nprogram 1"},
		{"end of a part missing", "  end\nend\nprogram 1", "end\nprogram 1"},
		{"instruction outside a loop", "    do\n      load", "    load a 1x1\n    do\n      load"},
		{"unknown line", "memory", "memroy"},
		{"unknown instruction", "matmul 128", "mma 128"},
		{"unknown line in a part", "loop 4", "for 4"},
		{"key as a word", "memory", "memory=1"},

		// Words.
		{"quote in a word", "0 x 256", `0 x"y" 256`},
		{"quote not closed", "0 x 256", `0 "x 256`},
		{"no space after a quote", "0 x 256", `0 "x"256`},
		{"escape", "0 x 256", `0 "a\n" 256`},
		{"control character", "0 x 256", "0 x\x00 256"},
		{"control character in quotes", "0 x 256", "0 \"x\x1b[31m\" 256"},
		{"not UTF-8", "0 x 256", "0 x\xff 256"},
		{"not UTF-8 in quotes", "0 x 256", "0 \"x\xff\" 256"},
		{"invisible character", "0 x 256", "0 x\u202ey 256"},
		{"line separator", "0 x 256", "0 \"x\u2028y\" 256"},
		{"tabs and wide characters", "tensor 0 x 256x256 bf16 input", "\ttensor\t0 \"행렬 é\"\t256x256 bf17 input"},
		{"position in a long line", "0 x 256x256 bf16", "0 " + strings.Repeat("é", 60) + " 256x256 bf61" + strings.Repeat(" ", 200) + "layer=-1"},

		// The header.
		{"unknown key", "model=m", "modle=m"},
		{"key twice", "model=m", "model=m model=n"},
		{"value without a key", "model=m", "m"},
		{"format missing", " dtype=bf16", ""},
		{"format unknown", "dtype=bf16", "dtype=float16"},
		{"negative batch", "model=m", "batch=-1"},
		{"huge tokens", "tokens=1", "tokens=9223372036854775807"},
		{"too many digits", "tokens=1", "tokens=9223372036854775808"},
		{"no number", "tokens=1", "tokens=1e6"},
		{"negative layers", "layers=2", "layers=-2"},
		{"many layers", "layers=2", "layers=4294967296"},
		{"unit unknown", "model=m", "unit=tokens"},
		{"cache unknown", "model=m", "cache=rotate:0"},
		{"launch unknown", "model=m", "launch=graphs"},
		{"negative weights", "weights=131072", "weights=-1"},
		{"memory unknown", "weights=131072", "wieghts=131072"},

		// Tensors.
		{"tensor too short", "tensor 3 y 256x256 bf16 output", "tensor 3 y 256x256"},
		{"tensor too long", "256x256 bf16 output", "256x256 bf16 output input"},
		{"tensor out of order", "tensor 1 ", "tensor 2 "},
		{"tensor index no number", "tensor 1 ", "tensor one "},
		{"shape of one extent", "h 256x256", "h 256"},
		{"shape of three extents", "h 256x256", "h 2x128x256"},
		{"shape no number", "h 256x256", "h 256xN"},
		{"role unknown", "bf16 weight", "bf16 wieght"},
		{"zero rows", "h 256x256", "h 0x256"},
		{"negative columns", "h 256x256", "h 256x-256"},
		{"large tensor", "h 256x256", "h 1125899906842624x2"},
		{"overflowing tensor", "h 256x256", "h 1125899906842624x1125899906842624"},
		{"name taken", "tensor 3 y", "tensor 3 x"},
		{"name empty", "tensor 3 y", `tensor 3 ""`},
		{"name long", "tensor 3 y", "tensor 3 " + strings.Repeat("y", 300)},
		{"layer not in the name", "layer.0.w", "w"},
		{"layer not in the line", " weight layer=0", " weight"},
		{"layer differs", "weight layer=0", "weight layer=1"},
		{"layer beyond the run", "layer.0.w 256x256 bf16 weight layer=0", "layer.2.w 256x256 bf16 weight layer=2"},

		// Programs.
		{"program too short", "program 1 copy slots=from,to", "program slots=from,to"},
		{"program out of order", "program 1 ", "program 0 "},
		{"negative threads", "threads=128", "threads=-128"},
		{"huge scratch", "scratch=1024", "scratch=1125899906842625"},
		{"slot twice", "slots=from,to", "slots=to,to,from"},
		{"slot reserved", "slots=from,to", "slots=from,to,free"},
		{"slot no name", "slots=from,to", "slots=from,to,1"},
		{"slot empty", "slots=from,to", "slots=from,to,"},
		{"op out of order", "op 0 copy", "op 1 copy"},
		{"op with a layer", "op 0 layer.*.gemm", "op 0 layer.1.gemm"},
		{"op negative", "flops=33554432", "flops=-1"},
		{"no op", "  op 0 copy read=131072 write=131072\n", ""},
		{"no part", "  part grid=1\n    do\n      load from 256x256\n      store to 256x256\n    end\n  end\n", ""},
		{"no grid", "part grid=1\n", "part\n"},
		{"grid of zero", "grid=2,2", "grid=2,0"},
		{"grid negative", "grid=2,2", "grid=-2,-2"},
		{"grid of five", "grid=2,2", "grid=2,2,1,1,1"},
		{"grid empty", "grid=2,2", "grid=2,,2"},
		{"grid huge", "grid=2,2", "grid=67108864,2"},
		{"grid overflow", "grid=2,2", "grid=4294967296,4294967296,4294967296,4294967296"},
		{"grids huge together", "  part grid=1\n    do\n", "  part grid=67108864\n    do\n      barrier\n    end\n  end\n  part grid=1\n    do\n"},
		{"swizzle negative", "grid=2,2", "grid=2,2 swizzle=-1"},
		{"part with a word", "grid=2,2", "grid=2,2 backwards"},

		// Code.
		{"loop without count", "loop 4 stages=2", "loop stages=2"},
		{"loop with limits apart", "loop 4 stages=2", "loop 4 min=1 max=2"},
		{"loop of two counts", "loop 4 stages=2", "loop 4 5"},
		{"loop too often", "loop 4 stages=2", "loop 16777217"},
		{"loop negative", "loop 4 stages=2", "loop 4-8*x,min=-9"},
		{"loop by itself", "loop 4 stages=2", "loop k"},
		{"loop without stages", "loop 4 stages=2", "loop 4 stages=0 ways=0"},
		{"do with stages", "    do\n      vector", "    do stages=2\n      vector"},
		{"loop empty", "    do\n      vector 16384 fp32\n      store c 128x128 row=128*x col=128*y\n    end", "    do\n    end"},
		{"k outside a loop", "row=128*x col=128*y", "row=128*k col=128*y"},
		{"slot unknown", "load b 128", "load d 128"},
		{"slot misspelt", "load from", "load form"},
		{"expression with a gap", "row=128*x col=64*k\n      load b", "row=128 * x col=64*k\n      load b"},
		{"expression unknown", "row=128*x col=64*k\n      load b", "row=128*i col=64*k\n      load b"},
		{"expression overflow", "row=128*x col=64*k\n      load b", "row=9007199254740993*x col=64*k\n      load b"},
		{"expression limits", "row=128*x col=64*k\n      load b", "row=128*x,min=5,max=4 col=64*k\n      load b"},
		{"divisor huge", "row=128*x col=64*k\n      load b", "row=128*x/1125899906842625 col=64*k\n      load b"},
		{"load too short", "load a 128x64 row=128*x", "load a row=128*x"},
		{"load with a word", "load from 256x256", "load from 256x256 async"},
		{"load twice random", "load from 256x256", "load from 256x256 random random"},
		{"load atomic", "load from 256x256", "load from 256x256 atomic"},
		{"store shared", "store to 256x256", "store to 256x256 share=2"},
		{"load of nothing", "load from 256x256", "load from 0x256"},
		{"share of more than there are", "load from 256x256", "load from 256x256 share=2"},
		{"share negative", "load from 256x256", "load from 256x256 share=-2"},
		{"matmul of two extents", "matmul 128x128x64", "matmul 128x128"},
		{"matmul without format", "128x128x64 bf16", "128x128x64"},
		{"matmul huge", "128x128x64 bf16", "128x128x1048577 bf16"},
		{"matmul zero", "128x128x64 bf16", "0x128x64 bf16 count=-1"},
		{"vector of nothing", "vector 16384", "vector 0"},
		{"op beyond", "128x128x64 bf16", "128x128x64 bf16 op=1"},
		{"op below", "128x128x64 bf16", "128x128x64 bf16 op=-1"},
		{"barrier with a count", "vector 16384 fp32", "barrier 4"},

		// Launches.
		{"launch of nothing", "launch 0 ", "launch "},
		{"launch of an unknown program", "launch 0 ", "launch 2 "},
		{"launch before its program", "program 0", "launch 0 a=0\nprogram 0"},
		{"slot not bound", "a=0 b=1 c=2", "a=0 c=2"},
		{"slot bound twice", "a=0 b=1 c=2", "a=0 b=1 b=1 c=2"},
		{"slot of another program", "a=0 b=1 c=2", "a=0 b=1 c=2 to=3"},
		{"argument beyond", "a=0 b=1 c=2", "a=0 b=9 c=2"},
		{"argument no tensor", "a=0 b=1 c=2", "a=0 b=w c=2"},
		{"argument negative", "a=0 b=1 c=2", "a=0 b=-1 c=2"},
		{"argument without a slot", "a=0 b=1 c=2", "0 1 2"},
		{"layer twice", "layer=0 a=0", "layer=0 layer=0 a=0"},
		{"free twice in a line", "free=2", "free=2 free=3"},
		{"layer missing", "launch 0 layer=0 ", "launch 0 "},
		{"layer too high", "launch 0 layer=0 ", "launch 0 layer=2 "},
		{"freed twice", "free=2", "free=2,2"},
		{"freed beyond", "free=2", "free=2,4"},
		{"used after it was freed", "to=3 free=2\n", "to=3 free=2\nlaunch 1 from=2 to=3\n"},
		{"read before it is written", "launch 0 layer=0 a=0 b=1 c=2\n", ""},
		{"order of launches", "launch 0 layer=0 a=0 b=1 c=2\nlaunch 1 from=2 to=3 free=2\n", "launch 1 from=2 to=3\nlaunch 0 layer=0 a=0 b=1 c=2\n"},
		{"region outside rows", "load a 128x64 row=128*x", "load a 128x64 row=128*x+256"},
		{"region outside columns", "col=128*y", "col=128*y,min=256"},
		{"region before the tensor", "col=128*y", "col=128*y-384,min=-384"},

		// Work.
		{"tile programs of all launches", sound[strings.Index(sound, "program 1"):],
			"program 1 noop\n  op 0 noop\n  part grid=67108864\n    do\n      barrier\n    end\n  end\nend\n" + strings.Repeat("launch 1\n", 65) + "end\n"},
		{"iterations of all loops", "grid=1\n    do\n      load", "grid=67108864\n    loop 16777216\n      barrier\n    end\n    do\n      load"},
		{"flops of an operator", "flops=33554432", "flops=4611686018427387905"},
		{"bytes of all operators", "  op 0 copy read=131072", "  op 0 more read=4611686018427387904\n  op 1 copy read=1"},
		{"flops of instructions", "matmul 128x128x64 bf16", "matmul 1048576x1048576x1048576 bf16 count=1125899906842624"},
		{"bytes moved", "load from 256x256", "load from 1125899906842624x1125899906842624"},
		{"many errors", "launch 1 from=2 to=3 free=2\n", strings.Repeat("launch 1\n", 30)},
		{"many errors in a line", "from=2 to=3", strings.Repeat("q=1 ", 30)},
		{"many errors of order", "launch 1 from=2 to=3 free=2\n", strings.Repeat("launch 1 from=3 to=2 free=1\n", 30)},
	} {
		if !strings.Contains(sound, c.old) {
			t.Fatalf("%s: nothing to replace", c.name)
		}
		_, err := Parse("f.trace", strings.NewReader(strings.Replace(sound, c.old, c.new, 1)))
		if _, ok := err.(Errors); !ok && err != nil {
			t.Errorf("%s: error of type %T", c.name, err)
		}
		if err == nil {
			t.Errorf("%s: accepted", c.name)
		}
		fmt.Fprintf(&b, "== %s\n%v\n\n", c.name, err)
	}
	goldentest.Check(t, "errors.golden", b.String())
}

// TestErrorsAs: single errors can be taken out of the list.
func TestErrorsAs(t *testing.T) {
	_, err := Parse("f.trace", strings.NewReader(strings.Replace(sound, "bf16 input", "bf17 input", 1)))
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("no *Error in %v", err)
	}
	want := &Error{
		File: "f.trace", Line: 4, Col: 20, Path: "tensor", Problem: `unknown number format "bf17"`,
		Allowed: e.Allowed, Source: "tensor 0 x 256x256 bf17 input",
	}
	if diff := cmp.Diff(want, e); diff != "" {
		t.Error(diff)
	}
}

// TestValidate breaks traces in memory in the ways that no file can, and in
// some that a file can, for the path in the message.
func TestValidate(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(t *Trace)
		want string
	}{
		{"argument missing", func(t *Trace) { t.Launches[0].Args = t.Launches[0].Args[:2] },
			"launch 0: 2 tensors for 3 slots; a launch names a tensor for each of a, b, c"},
		{"argument negative", func(t *Trace) { t.Launches[0].Args[1] = -1 },
			"launch 0: slot b names tensor -1, which there is not; the trace has 4, counted from 0"},
		{"program beyond", func(t *Trace) { t.Launches[1].Program = 2 },
			"launch 1: there is no program 2; the trace has 2, counted from 0"},
		{"free negative", func(t *Trace) { t.Launches[1].Free[0] = -2 },
			"launch 1: free names tensor -2, which there is not; the trace has 4, counted from 0"},
		{"slot beyond", func(t *Trace) { t.Programs[0].Parts[0].Code[0].Body[1].Slot = 3 },
			"program 0 (gemm): part 0: step 0: instruction 1 (load): there is no slot 3; the program has 3, counted from 0"},
		{"instruction unknown", func(t *Trace) { t.Programs[0].Parts[0].Code[0].Body[1].Kind = 99 },
			"program 0 (gemm): part 0: step 0: instruction 1 (instruction(99)): unknown instruction; allowed are load, store, matmul, vector, special, scratch, barrier"},
		{"role unknown", func(t *Trace) { t.Tensors[0].Role = 99 },
			"tensor 0 (x): unknown role role(99); allowed are activation, weight, input, output, kv, gradient, state"},
		{"format missing", func(t *Trace) { t.Tensors[0].DType = 0 },
			"tensor 0 (x): no number format; a tensor has one, such as bf16"},
		{"grid not filled", func(t *Trace) { t.Programs[0].Parts[0].Grid[3] = 0 },
			"program 0 (gemm): part 0: the grid has an extent of 0; each is at least 1"},
		{"stages of straight-line code", func(t *Trace) { t.Programs[0].Parts[0].Code[1].Stages = 1 },
			"program 0 (gemm): part 0: step 1: stages, ways or groups of straight-line code; only loops have them"},
		{"part empty", func(t *Trace) { t.Programs[0].Parts[0].Code = nil },
			"program 0 (gemm): part 0: an empty part; a part has at least one loop or do"},
		{"fields of no use", func(t *Trace) {
			in := &t.Programs[0].Parts[0].Code[1].Body[0]
			in.Share, in.M, in.FromReg = 2, 3, true
		}, "program 0 (gemm): part 0: step 1: instruction 0 (vector): sets share, m, fromreg; a vector has no use for it"},
		{"name with a line end", func(t *Trace) { t.Programs[1].Name = "a\nb" },
			`program 1 (a` + "\uFFFD" + `b): name "a\nb" holds a character that cannot be printed; allowed are printable characters and spaces`},
		{"name not UTF-8", func(t *Trace) { t.Header.Chip = "h\xff" },
			`run: chip "h\xff" is not UTF-8`},
		{"no layer and a negative one", func(t *Trace) { t.Launches[0].Layer = -2 },
			"launch 0: layer is -2; the run has 2 layers, counted from 0"},
		{"many slots", func(t *Trace) { t.Programs[0].Slots = make([]string, 300) },
			"program 0 (gemm): 300 slots; at most 256"},
		{"many tensors", func(t *Trace) { t.Tensors = make([]Tensor, MaxTensors+1) },
			"1000001 tensors; at most 1000000"},
		{"much code", func(t *Trace) { t.Programs[0].Parts[0].Code = make([]Step, MaxCode) },
			"1048583 operators, parts, steps and instructions; at most 2^20"},
		{"tensors large together", func(t *Trace) {
			for i := range 2000 {
				t.Tensors = append(t.Tensors, Tensor{Name: fmt.Sprint("big", i), Rows: MaxTensorBytes, Cols: 1, DType: dtype.Int8, Layer: -1})
			}
		}, "tensor 1027 (big1023): the tensors up to here are too large together; at most 2^60 bytes"},
		{"expression out of bounds", func(t *Trace) { t.Programs[0].Parts[0].Code[0].Body[0].Row.X = math.MinInt64 },
			"program 0 (gemm): part 0: step 0: instruction 0 (load): row becomes too large over the grid; no term may leave +-2^53"},
	} {
		tr, err := Parse("sound", strings.NewReader(sound))
		if err != nil {
			t.Fatal(err)
		}
		c.edit(tr)
		err = tr.Validate()
		if err == nil {
			t.Errorf("%s: accepted", c.name)
			continue
		}
		first, _, _ := strings.Cut(err.Error(), "\n")
		if first != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, first, c.want)
		}
		Hash(tr)
	}
}
