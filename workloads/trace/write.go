package trace

import (
	"crypto/sha256"
	"fmt"
	"io"
	"strconv"
)

// Write writes the canonical text form of t, which Parse turns back into an
// equal trace. Equal traces give equal bytes. It refuses what Validate refuses,
// with the same error and before anything is written, so that every file can
// be read again.
func Write(w io.Writer, t *Trace) error {
	if err := t.Validate(); err != nil {
		return err
	}
	return emit(w, t)
}

// Hash identifies t: the SHA-256 of its canonical text. It does not check t.
func Hash(t *Trace) [32]byte {
	h := sha256.New()
	_ = emit(h, t) // a hash takes every write
	return [32]byte(h.Sum(nil))
}

// emit writes any trace, valid or not.
func emit(w io.Writer, t *Trace) error {
	e := emitter{w: w}
	e.text("maru-trace ").int(Version).line()
	e.header(&t.Header)
	for i := range t.Tensors {
		x := &t.Tensors[i]
		e.text("tensor ").int(int64(i)).text(" ").name(x.Name).text(" ").shape(x.Rows, x.Cols)
		e.text(" ").text(x.DType.String()).text(" ").text(roleWord(x.Role)).layer(x.Layer)
		if x.Home != Main {
			e.text(" home=").text(homeWord(x.Home))
		}
		e.line()
	}
	for i := range t.Programs {
		e.program(i, &t.Programs[i])
	}
	for i := range t.Launches {
		e.launch(t, &t.Launches[i])
	}
	e.text("end").line()
	e.flush()
	return e.err
}

// emitter appends text to a buffer and passes it on in large pieces.
type emitter struct {
	w   io.Writer
	buf []byte
	err error
}

func (e *emitter) header(h *Header) {
	e.text("run").set("model", h.Model).set("phase", h.Phase).num("batch", h.Batch).num("seq", h.Seq)
	e.text(" dtype=").text(h.DType.String())
	e.num("layers", int64(h.Layers)).num("tokens", h.Tokens).text(" unit=").name(h.Unit).num("params", h.Params)
	e.set("chip", h.Chip).text(" cache=").name(h.Cache).text(" launch=").name(h.Launch).set("data", h.Data).set("profile", h.Profile).line()
	m := &h.Memory
	e.text("memory").num("weights", m.Weights).num("activations", m.Activations).num("kv", m.KV)
	e.num("gradients", m.Gradients).num("state", m.State).nonzero("external", m.External).line()
}

func (e *emitter) program(i int, p *Program) {
	e.text("program ").int(int64(i)).text(" ").name(p.Name)
	e.nonzero("threads", int64(p.Threads)).nonzero("registers", int64(p.Registers)).nonzero("scratch", p.Scratch).nonzero("setup", p.Setup)
	for i, s := range p.Slots {
		if i == 0 {
			e.text(" slots=").text(s)
		} else {
			e.text(",").text(s)
		}
	}
	e.flag("persistent", p.Persistent).flag("embedding", p.Embedding)
	e.line()
	for i := range p.Ops {
		op := &p.Ops[i]
		e.text("  op ").int(int64(i)).text(" ").name(op.Name).set("kind", op.Kind)
		e.nonzero("flops", op.Flops).nonzero("vector", op.VectorOps).nonzero("special", op.SpecialOps)
		e.nonzero("read", op.ReadBytes).nonzero("write", op.WriteBytes).line()
	}
	for i := range p.Parts {
		part := &p.Parts[i]
		e.text("  part grid=").int(part.Grid[0])
		last := 3
		for last > 0 && part.Grid[last] == 1 {
			last--
		}
		for _, n := range part.Grid[1 : last+1] {
			e.text(",").int(n)
		}
		e.nonzero("swizzle", part.Swizzle).flag("reverse", part.Reverse).nonzero("at", part.At).nonzero("pitch", part.Pitch).line()
		for i := range part.Code {
			s := &part.Code[i]
			if s.Count == nil {
				e.text("    do").nonzero("at", s.At).line()
			} else {
				e.text("    loop ").expr(s.Count).unlessOne("stages", int64(s.Stages)).unlessOne("ways", int64(s.Ways)).unlessOne("groups", int64(max(1, s.Groups))).nonzero("at", s.At).nonzero("interval", s.Interval).line()
			}
			for i := range s.Body {
				e.instr(p, &s.Body[i])
			}
			e.text("    end").line()
		}
		e.text("  end").line()
	}
	e.text("end").line()
}

func (e *emitter) instr(p *Program, in *Instr) {
	e.text("      ").text(in.Kind.String())
	switch in.Kind {
	case Load, Store:
		if in.Slot >= 0 && in.Slot < len(p.Slots) {
			e.text(" ").text(p.Slots[in.Slot])
		} else {
			e.text(" ").int(int64(in.Slot))
		}
		e.text(" ").shape(in.Rows, in.Cols)
		if in.Row != (Expr{}) {
			e.text(" row=").expr(&in.Row)
		}
		if in.Col != (Expr{}) {
			e.text(" col=").expr(&in.Col)
		}
		e.nonzero("share", in.Share).flag("sync", in.Sync).flag("random", in.Random).flag("atomic", in.Atomic).flag("local", in.Local).flag("pair", in.Pair)
	case MatMul:
		e.text(" ").shape(in.M, in.N).text("x").int(in.K).text(" ").text(in.DType.String())
		e.nonzero("count", in.Count)
		if x := in.Pass; x != nil {
			e.num("steps", x.Steps).triple("registers", x.Registers).triple("network", x.Network).triple("scratch", x.Scratch)
		}
		e.flag("fromreg", in.FromReg).flag("sync", in.Sync).flag("pair", in.Pair)
	case Vector:
		e.text(" ").int(in.Count).text(" ").text(in.DType.String())
	case Special, Scratch:
		e.text(" ").int(in.Count)
	}
	e.nonzero("op", int64(in.Op)).nonzero("at", in.At).line()
}

func (e *emitter) launch(t *Trace, l *Launch) {
	e.text("launch ").int(int64(l.Program)).layer(l.Layer)
	var slots []string
	if l.Program >= 0 && l.Program < len(t.Programs) {
		slots = t.Programs[l.Program].Slots
	}
	for i, arg := range l.Args {
		e.text(" ")
		if i < len(slots) {
			e.text(slots[i])
		}
		e.text("=").int(int64(arg))
	}
	for i, f := range l.Free {
		if i == 0 {
			e.text(" free=").int(int64(f))
		} else {
			e.text(",").int(int64(f))
		}
	}
	e.nonzero("at", l.At).line()
}

func (e *emitter) text(s string) *emitter { e.buf = append(e.buf, s...); return e }
func (e *emitter) int(n int64) *emitter   { e.buf = strconv.AppendInt(e.buf, n, 10); return e }
func (e *emitter) expr(x *Expr) *emitter  { e.buf = x.append(e.buf); return e }

// name writes a name, quoted where it could be taken for something else.
func (e *emitter) name(s string) *emitter {
	bare := len(s) > 0
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '#' || c == '=' || c == '\\' {
			bare = false
		}
	}
	if bare {
		return e.text(s)
	}
	e.buf = append(e.buf, '"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			e.buf = append(e.buf, '\\')
		}
		e.buf = append(e.buf, s[i])
	}
	e.buf = append(e.buf, '"')
	return e
}

func (e *emitter) num(key string, n int64) *emitter { return e.text(" ").text(key).text("=").int(n) }

func (e *emitter) set(key, value string) *emitter {
	if value == "" {
		return e
	}
	return e.text(" ").text(key).text("=").name(value)
}

func (e *emitter) nonzero(key string, n int64) *emitter {
	if n == 0 {
		return e
	}
	return e.num(key, n)
}

// triple writes a number for each operand.
func (e *emitter) triple(key string, n [3]int64) *emitter {
	return e.num(key, n[0]).text(",").int(n[1]).text(",").int(n[2])
}

func (e *emitter) unlessOne(key string, n int64) *emitter {
	if n == 1 {
		return e
	}
	return e.num(key, n)
}

func (e *emitter) flag(word string, on bool) *emitter {
	if !on {
		return e
	}
	return e.text(" ").text(word)
}

func (e *emitter) layer(n int) *emitter {
	if n == -1 {
		return e
	}
	return e.num("layer", int64(n))
}

func (e *emitter) shape(rows, cols int64) *emitter { return e.int(rows).text("x").int(cols) }

// line ends a line.
func (e *emitter) line() {
	e.buf = append(e.buf, '\n')
	if len(e.buf) >= 1<<16 {
		e.flush()
	}
}

func (e *emitter) flush() {
	if e.err == nil && len(e.buf) > 0 {
		if _, err := e.w.Write(e.buf); err != nil {
			e.err = fmt.Errorf("writing a trace: %w", err)
		}
	}
	e.buf = e.buf[:0]
}
