package trace

import (
	"fmt"
	"slices"

	"maru/arch/dtype"
	"maru/workloads/graph"

	"pgregory.net/rapid"
)

// genTrace draws valid traces that use everything the types hold.
func genTrace() *rapid.Generator[*Trace] {
	return rapid.Custom(func(rt *rapid.T) *Trace {
		t := &Trace{Header: genHeader(rt)}
		n := rapid.IntRange(0, 8).Draw(rt, "tensors")
		for i := range n {
			t.Tensors = append(t.Tensors, genTensor(rt, i, t.Header.Layers))
		}
		for range rapid.IntRange(0, 3).Draw(rt, "programs") {
			t.Programs = append(t.Programs, genProgram(rt))
		}
		if len(t.Programs) > 0 {
			genLaunches(rt, t)
		}
		return t
	})
}

func genText(rt *rapid.T, label string) string {
	return rapid.OneOf(
		rapid.StringMatching(`[a-z][a-z0-9.*:-]{0,12}`),
		rapid.StringOfN(rapid.RuneFrom([]rune(` "\#=x,é루½0`)), 1, 8, MaxName),
	).Draw(rt, label)
}

func genHeader(rt *rapid.T) Header {
	size := func(label string) int64 { return rapid.Int64Range(0, MaxSize).Draw(rt, label) }
	text := func(label string) string {
		if rapid.Bool().Draw(rt, "empty "+label) {
			return ""
		}
		return genText(rt, label)
	}
	return Header{
		Model: text("model"), Phase: text("phase"), Batch: size("batch"), Seq: size("seq"),
		DType: genFormat(rt), Layers: rapid.IntRange(0, 12).Draw(rt, "layers"), Tokens: size("tokens"),
		Unit: rapid.SampledFrom(unitWords).Draw(rt, "unit"), Params: size("params"), Chip: text("chip"),
		Memory:  Footprint{size("weights"), size("activations"), size("kv"), size("gradients"), size("state"), size("external")},
		Cache:   rapid.SampledFrom([]string{"cold", "warm", "rotate:3"}).Draw(rt, "cache"),
		Launch:  rapid.SampledFrom(launchWords).Draw(rt, "launch"),
		Data:    rapid.SampledFrom([]string{"", "zero"}).Draw(rt, "data"),
		Profile: text("profile"),
	}
}

func genFormat(rt *rapid.T) dtype.Type { return rapid.SampledFrom(dtype.All()).Draw(rt, "format") }

func genTensor(rt *rapid.T, i, layers int) Tensor {
	x := Tensor{
		Name:  fmt.Sprintf("%d%s", i, genText(rt, "name")),
		Rows:  rapid.Int64Range(1, 1<<24).Draw(rt, "rows"),
		Cols:  rapid.Int64Range(1, 1<<23).Draw(rt, "cols"),
		DType: genFormat(rt),
		Role:  graph.Role(rapid.IntRange(0, len(roleWords)-1).Draw(rt, "role")),
		Layer: -1,
		Home:  Home(rapid.IntRange(0, len(homeWords)-1).Draw(rt, "home")),
	}
	if layers > 0 && rapid.Bool().Draw(rt, "layered") {
		x.Layer = rapid.IntRange(0, layers-1).Draw(rt, "layer")
		x.Name = fmt.Sprintf("layer.%d.%s", x.Layer, x.Name)
	}
	return x
}

func genProgram(rt *rapid.T) Program {
	p := Program{
		Name:      genText(rt, "program"),
		Threads:   rapid.IntRange(0, MaxThreads).Draw(rt, "threads"),
		Registers: rapid.IntRange(0, MaxThreads).Draw(rt, "registers"),
		Scratch:   rapid.Int64Range(0, MaxSize).Draw(rt, "scratch"),
		Setup:     rapid.Int64Range(0, MaxCount).Draw(rt, "setup"),

		Persistent: rapid.Bool().Draw(rt, "persistent"), Embedding: rapid.Bool().Draw(rt, "embedding"),
	}
	for i := range rapid.IntRange(0, 4).Draw(rt, "slots") {
		p.Slots = append(p.Slots, fmt.Sprintf("%s%d", rapid.StringMatching(`[a-zA-Z_][a-z.-]{0,3}`).Draw(rt, "slot"), i))
	}
	work := func(label string) int64 { return rapid.Int64Range(0, 1<<40).Draw(rt, label) }
	for i := range rapid.IntRange(1, 3).Draw(rt, "ops") {
		name := fmt.Sprintf("%d%s", i, genText(rt, "op"))
		if rapid.Bool().Draw(rt, "layered op") {
			name = "layer.*." + name
		}
		p.Ops = append(p.Ops, Op{
			Name: name, Kind: rapid.SampledFrom([]string{"", "matmul", "a kind"}).Draw(rt, "kind"), Flops: work("flops"), VectorOps: work("vector"),
			SpecialOps: work("special"), ReadBytes: work("read"), WriteBytes: work("write"),
		})
	}
	for range rapid.IntRange(1, 3).Draw(rt, "parts") {
		part := Part{
			Swizzle: rapid.Int64Range(0, 9).Draw(rt, "swizzle"),
			Reverse: rapid.Bool().Draw(rt, "reverse"),
			At:      rapid.Int64Range(0, 9).Draw(rt, "at"), Pitch: rapid.Int64Range(0, 9).Draw(rt, "pitch"),
		}
		for i := range part.Grid {
			part.Grid[i] = rapid.Int64Range(1, 6).Draw(rt, "extent")
		}
		for range rapid.IntRange(1, 3).Draw(rt, "steps") {
			part.Code = append(part.Code, genStep(rt, &p, &part))
		}
		p.Parts = append(p.Parts, part)
	}
	return p
}

func genStep(rt *rapid.T, p *Program, part *Part) Step {
	var s Step
	trips := int64(1)
	if rapid.Bool().Draw(rt, "loop") {
		e := genExpr().Draw(rt, "count")
		e.K = 0
		if lo, hi, ok := e.span(part.Grid, 1); !ok || lo < 0 || hi > 1000 {
			e = Expr{C: rapid.Int64Range(0, 1000).Draw(rt, "constant count")}
		}
		_, trips, _ = e.span(part.Grid, 1)
		s.Count = &e
		s.Stages = rapid.IntRange(1, MaxStages).Draw(rt, "stages")
		s.Ways = rapid.IntRange(1, 3).Draw(rt, "ways")
		s.Groups = rapid.IntRange(1, 3).Draw(rt, "groups")
		s.Interval = rapid.Int64Range(0, 9).Draw(rt, "interval")
	}
	s.At = rapid.Int64Range(0, 9).Draw(rt, "at")
	for range rapid.IntRange(1, 4).Draw(rt, "body") {
		s.Body = append(s.Body, genInstr(rt, p, part, s.Count != nil, trips))
	}
	return s
}

func genInstr(rt *rapid.T, p *Program, part *Part, loop bool, trips int64) Instr {
	in := Instr{Op: rapid.IntRange(0, len(p.Ops)-1).Draw(rt, "op"), At: rapid.Int64Range(0, 9).Draw(rt, "at")}
	first := MatMul
	if len(p.Slots) > 0 {
		first = Load
	}
	in.Kind = InstrKind(rapid.IntRange(int(first), len(kindWords)-1).Draw(rt, "kind"))
	flag := func(label string) bool { return rapid.Bool().Draw(rt, label) }
	count := func(least int64) int64 { return rapid.Int64Range(least, 1<<12).Draw(rt, "count") }
	switch in.Kind {
	case Load, Store:
		in.Slot = rapid.IntRange(0, len(p.Slots)-1).Draw(rt, "slot")
		in.Rows, in.Cols = count(1), count(1)
		in.Row, in.Col = genStart(rt, part, loop, trips, in.Rows), genStart(rt, part, loop, trips, in.Cols)
		in.Sync, in.Random, in.Local = flag("sync"), flag("random"), flag("local")
		if in.Kind == Load {
			in.Share = rapid.Int64Range(0, part.Tiles()).Draw(rt, "share")
			in.Pair = flag("pair")
		} else {
			in.Atomic = flag("atomic")
		}
	case MatMul:
		in.M, in.N, in.K = count(1)%64+1, count(1)%64+1, count(1)%64+1
		in.Count, in.FromReg, in.Sync, in.Pair, in.DType = count(0), flag("fromreg"), flag("sync"), flag("pair"), genFormat(rt)
		if flag("pass") {
			three := func() (n [3]int64) {
				for i := range n {
					n[i] = count(0)
				}
				return n
			}
			in.Pass = &Pass{count(1), three(), three(), three()}
		}
	case Vector:
		in.Count, in.DType = count(1), genFormat(rt)
	case Special, Scratch:
		in.Count = count(1)
	}
	return in
}

// genStart draws an expression whose least value lies in any tensor.
func genStart(rt *rapid.T, part *Part, loop bool, trips, extent int64) Expr {
	e := genExpr().Draw(rt, "start")
	if !loop {
		e.K = 0
	}
	if lo, hi, ok := e.span(part.Grid, trips); !ok || lo > 0 || hi <= -extent {
		return Expr{}
	}
	return e
}

// genExpr draws any expression within the limits on single fields.
func genExpr() *rapid.Generator[Expr] {
	return rapid.Custom(func(rt *rapid.T) Expr {
		coef := func(label string) int64 {
			return rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(-2, 2), rapid.Int64Range(-300, 300), rapid.Int64Range(-MaxSize, MaxSize)).Draw(rt, label)
		}
		e := Expr{
			C: coef("C"), X: coef("X"), Y: coef("Y"), Z: coef("Z"), W: coef("W"), K: coef("K"),
			Div: max(coef("Div"), 0), Min: coef("Min"), Max: max(coef("Max"), 0),
		}
		if e.Max > 0 {
			e.Min = min(e.Min, e.Max)
		}
		return e
	})
}

// genLaunches adds launches that keep the order of reads, writes and frees.
func genLaunches(rt *rapid.T, t *Trace) {
	written, freed := make([]bool, len(t.Tensors)), make([]bool, len(t.Tensors))
	var live []int32
	for range rapid.IntRange(0, 6).Draw(rt, "launches") {
		live = live[:0]
		for i := range t.Tensors {
			if role := t.Tensors[i].Role; !freed[i] && (written[i] || role != graph.Activation && role != graph.Output) {
				live = append(live, int32(i))
			}
		}
		l := Launch{Program: rapid.IntRange(0, len(t.Programs)-1).Draw(rt, "program"), Layer: -1}
		p := &t.Programs[l.Program]
		layered := slices.ContainsFunc(p.Ops, func(op Op) bool { return hasAnyLayer(op.Name) })
		if len(p.Slots) > 0 && len(live) == 0 || layered && t.Header.Layers == 0 {
			continue
		}
		if layered {
			l.Layer = rapid.IntRange(0, t.Header.Layers-1).Draw(rt, "layer")
		}
		for range p.Slots {
			l.Args = append(l.Args, rapid.SampledFrom(live).Draw(rt, "arg"))
		}
		if len(live) > 0 && rapid.Bool().Draw(rt, "free") {
			l.Free = append(l.Free, rapid.SampledFrom(live).Draw(rt, "freed"))
			freed[l.Free[0]] = true
		}
		t.Launches = append(t.Launches, l)
	}
}
