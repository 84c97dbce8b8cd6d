package trace

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"maru/arch/dtype"
	"maru/internal/config"
	"maru/workloads/graph"
)

// Words of the text form, by the block they stand in: the trace itself, a
// program, a part, and a loop or straight-line code.
var blockWords = [...][]string{
	{"run", "memory", "tensor", "program", "launch", "end"},
	{"op", "part", "end"},
	{"loop", "do", "end"},
	append(kindWords[:], "end"),
}

// Forms of the lines, for messages.
var forms = map[string]string{
	"run":     "run [model=NAME] [phase=NAME] [batch=N] [seq=N] dtype=FORMAT [layers=N] [tokens=N] [unit=UNIT] [params=N] [chip=NAME] [cache=CACHE] [launch=HOW] [data=DATA] [profile=NAME]",
	"memory":  "memory [weights=BYTES] [activations=BYTES] [kv=BYTES] [gradients=BYTES] [state=BYTES] [external=BYTES]",
	"tensor":  "tensor INDEX NAME ROWSxCOLS FORMAT ROLE [layer=N] [home=HOME]",
	"program": "program INDEX NAME [threads=N] [registers=N] [scratch=BYTES] [setup=CLOCKS] [slots=A,B,...] [persistent] [embedding]",
	"launch":  "launch PROGRAM [layer=N] [SLOT=TENSOR ...] [free=TENSOR,...] [at=CLOCKS]",
	"op":      "op INDEX NAME [kind=NAME] [flops=N] [vector=N] [special=N] [read=BYTES] [write=BYTES]",
	"part":    "part grid=X[,Y[,Z[,W]]] [swizzle=N] [reverse] [at=CLOCKS] [pitch=CLOCKS]",
	"loop":    "loop COUNT [stages=N] [ways=N] [groups=N] [at=CLOCKS] [interval=CLOCKS]",
	"do":      "do [at=CLOCKS]",
	"load":    "load SLOT ROWSxCOLS [row=EXPR] [col=EXPR] [share=N] [sync] [random] [local] [pair] [op=N] [at=CLOCKS]",
	"store":   "store SLOT ROWSxCOLS [row=EXPR] [col=EXPR] [sync] [random] [atomic] [local] [op=N] [at=CLOCKS]",
	"matmul":  "matmul MxNxK FORMAT [count=N] [steps=N] [registers=I,W,S] [network=I,W,S] [scratch=I,W,S] [fromreg] [sync] [pair] [op=N] [at=CLOCKS]",
	"vector":  "vector COUNT FORMAT [op=N] [at=CLOCKS]",
	"special": "special COUNT [op=N] [at=CLOCKS]",
	"scratch": "scratch BYTES [op=N] [at=CLOCKS]",
	"barrier": "barrier [op=N] [at=CLOCKS]",
	"end":     "end",
}

// Keys of the lines.
var (
	runKeys     = []string{"model", "phase", "batch", "seq", "dtype", "layers", "tokens", "unit", "params", "chip", "cache", "launch", "data", "profile"}
	memoryKeys  = []string{"weights", "activations", "kv", "gradients", "state", "external"}
	tensorKeys  = []string{"layer", "home"}
	programKeys = []string{"threads", "registers", "scratch", "setup", "slots"}
	opKeys      = []string{"kind", "flops", "vector", "special", "read", "write"}
	partKeys    = []string{"grid", "swizzle", "at", "pitch"}
	loopKeys    = []string{"stages", "ways", "groups", "at", "interval"}
	doKeys      = []string{"at"}
	loadKeys    = []string{"op", "row", "col", "share", "at"}
	storeKeys   = []string{"op", "row", "col", "at"}
	matmulKeys  = []string{"op", "count", "steps", "registers", "network", "scratch", "at"}
	instrKeys   = []string{"op", "at"}
)

// Parse reads the text form and validates the trace. Its errors are of type
// Errors, with positions in the file, called name; a failure of r itself is
// returned as it is. Lists without elements come back nil.
func Parse(name string, r io.Reader) (*Trace, error) { return parse(name, r, MaxFile) }

func parse(name string, r io.Reader, most int64) (*Trace, error) {
	data, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if int64(len(data)) > most {
		return nil, Errors{{File: name, Problem: fmt.Sprintf("file of more than %s bytes", amount(most)), Allowed: "no trace needs as much"}}
	}
	p := parser{file: name, rest: data, t: new(Trace)}
	if err := p.read(); err != nil {
		return nil, err
	}
	if err := validate(p.t, &source{name: name, data: data}); err != nil {
		return nil, err
	}
	return p.t, nil
}

// block is a part of the file between an opening line and its "end".
type block struct {
	word   string
	line   int
	source []byte
}

// parser reads one file.
type parser struct {
	file    string
	rest    []byte // lines not yet read
	line    []byte
	lineNo  int
	toks    []token
	t       *Trace
	errs    Errors
	open    []block
	run     int // line of "run", 0 before it
	memory  int // line of "memory"
	tensors int // next index
	program int // next index
	op      int // next index
	code    int // operators, parts, steps and instructions so far
	ints    []int32
}

// errStop ends the reading at an error that would make the rest misread.
var errStop = errors.New("stop")

func (p *parser) read() error {
	err := p.first()
	for err == nil && len(p.open) > 0 && len(p.rest) > 0 && !p.full() {
		p.next()
		err = p.tokens()
		if err == nil && len(p.toks) > 0 {
			err = p.statement()
		}
	}
	switch {
	case err != nil || p.full():
	case len(p.open) > 0:
		b := p.open[len(p.open)-1]
		p.line, p.lineNo, p.toks = b.source, b.line, nil
		p.fail(len(b.source)-len(bytes.TrimLeft(b.source, " \t")),
			fmt.Sprintf("the %s that starts here is never closed", b.word),
			fmt.Sprintf(`the file is cut off, or an "end" is missing (%d open)`, len(p.open)), "")
	default:
		if p.run == 0 {
			p.toks = nil
			p.fail(0, "no run line", "the form is "+forms["run"], "")
		}
		p.trailing()
	}
	if len(p.errs) == 0 {
		return nil
	}
	return p.errs
}

// first reads "maru-trace 1".
func (p *parser) first() error {
	p.next()
	p.open = append(p.open, block{"trace", 1, p.line})
	const allowed = `a trace starts with the line "maru-trace 1"`
	if err := p.tokens(); err != nil || len(p.toks) == 0 || string(p.toks[0].val) != "maru-trace" || p.toks[0].key != nil {
		p.errs, p.toks = nil, nil
		problem := "not a trace"
		if len(p.line) == 0 && len(p.rest) == 0 {
			problem = "empty file"
		}
		p.fail(0, problem, allowed, "")
		return errStop
	}
	var version int64
	problem := "no version"
	at := len(p.line)
	if len(p.toks) > 1 {
		at = p.toks[1].at
		version, problem = number(p.toks[1].val)
		if problem != "" {
			problem = "version " + quote(p.toks[1].val) + " " + problem
		}
	}
	switch {
	case problem != "":
	case version > Version:
		p.fail(at, fmt.Sprintf("version %d of the format is newer than this program, which reads version %d", version, Version), "a newer release reads it", "")
		return errStop
	case version < 1:
		problem = fmt.Sprintf("there is no version %d", version)
	case len(p.toks) > 2:
		at, problem = p.toks[2].at, "text after the version"
	default:
		return nil
	}
	p.fail(at, problem, allowed, "")
	return errStop
}

// trailing refuses anything but comments after the last "end".
func (p *parser) trailing() {
	end := p.lineNo
	for len(p.rest) > 0 {
		p.next()
		if err := p.tokens(); err != nil {
			return
		}
		if len(p.toks) > 0 {
			at := p.toks[0].at
			p.toks = nil
			p.fail(at, "text after the end of the trace", fmt.Sprintf(`the "end" in line %d closed the trace, there may be one too many`, end), "")
			return
		}
	}
}

// next moves to the next line.
func (p *parser) next() {
	p.line, p.rest = nextLine(p.rest)
	p.lineNo++
}

// tokens splits the line. Reading ends at one that cannot be split: it might
// have opened or closed a block.
func (p *parser) tokens() error {
	p.toks = p.toks[:0]
	if len(p.line) > MaxLine {
		p.fail(0, fmt.Sprintf("line of more than %d KiB", MaxLine>>10), "no line needs as much", "")
		return errStop
	}
	toks, f := lex(p.line, p.toks)
	p.toks = toks
	if f != nil {
		p.fail(f.at, f.problem, f.allowed, "")
		p.toks = p.toks[:0]
		return errStop
	}
	return nil
}

// full says that no more errors are collected.
func (p *parser) full() bool { return len(p.errs) >= maxErrors }

// fail records an error at an offset in the line.
func (p *parser) fail(at int, problem, allowed, hint string) {
	if p.full() {
		return
	}
	if n := len(p.errs); n > 0 && p.errs[n-1].Line == p.lineNo && p.errs[n-1].Problem == problem {
		return // the same once more in the line
	}
	path := ""
	if len(p.toks) > 0 {
		if word := string(p.toks[0].val); forms[word] != "" {
			path = word
		}
	}
	p.errs = append(p.errs, &Error{File: p.file, Line: p.lineNo, Col: at + 1, Path: path,
		Problem: problem, Allowed: allowed, Hint: hint, Source: string(p.line)})
}

// statement reads one line.
func (p *parser) statement() error {
	word := &p.toks[0]
	depth := len(p.open) - 1
	if word.key == nil {
		switch string(word.val) {
		case "launch":
			if depth == 0 {
				return p.launch()
			}
		case "tensor":
			if depth == 0 {
				return p.tensor()
			}
		case "end":
			p.form(0, len(p.toks)-1)
			p.open = p.open[:depth]
			return nil
		}
		for level, words := range blockWords {
			if i := slices.Index(words, string(word.val)); i < 0 {
				continue
			} else if level == depth {
				return p.inBlock(words[i], level, i)
			}
			return p.misplaced(level)
		}
	}
	text := p.line[word.at : word.valAt+len(word.val)]
	hint := config.Suggest(string(text), blockWords[depth])
	p.fail(word.at, "unknown word "+quote(text), "allowed here are "+list(blockWords[depth]), hint)
	return nil
}

// misplaced reports a known word in the wrong block.
func (p *parser) misplaced(level int) error {
	depth := len(p.open) - 1
	in := &p.open[depth]
	at, word := p.toks[0].at, p.toks[0].val
	p.toks = nil
	if level < depth {
		p.fail(at, fmt.Sprintf("%s inside the %s that starts in line %d", word, in.word, in.line), `an "end" is missing above`, "")
	} else {
		outside := [...]string{1: "a program", 2: "a part", 3: "a loop or do"}[level]
		p.fail(at, fmt.Sprintf("%s outside %s", word, outside), "allowed here are "+list(blockWords[depth]), "")
	}
	return errStop
}

// inBlock reads a line other than launch, tensor and end; index is that of its
// word in the words of its block.
func (p *parser) inBlock(word string, level, index int) error {
	if level > 0 {
		if p.code++; p.code > MaxCode {
			p.fail(0, "the programs are too long", "at most "+amount(MaxCode)+" operators, parts, steps and instructions in all", "")
			return errStop
		}
	}
	switch word {
	case "run":
		p.runLine()
	case "memory":
		p.memoryLine()
	case "program":
		return p.programLine()
	case "op":
		p.opLine()
	case "part":
		p.partLine()
	case "loop", "do":
		p.stepLine(word)
	default:
		p.instr(InstrKind(index))
	}
	return nil
}

// enter opens a block at this line.
func (p *parser) enter(word string) { p.open = append(p.open, block{word, p.lineNo, p.line}) }

// once reports a second line that may stand once.
func (p *parser) once(line *int) {
	if *line != 0 {
		p.fail(p.toks[0].at, fmt.Sprintf("second %s line", p.toks[0].val), fmt.Sprintf("the first is line %d", *line), "")
	}
	*line = p.lineNo
}

func (p *parser) runLine() {
	p.once(&p.run)
	h := &p.t.Header
	h.Unit, h.Cache, h.Launch = "op", "cold", "stream"
	var seen uint
	for i := range p.args() {
		tok := &p.toks[i]
		switch p.key(tok, &seen, runKeys) {
		case "model":
			h.Model = string(tok.val)
		case "phase":
			h.Phase = string(tok.val)
		case "batch":
			h.Batch = p.number(tok)
		case "seq":
			h.Seq = p.number(tok)
		case "dtype":
			h.DType = p.dtype(tok)
		case "layers":
			h.Layers = p.small(tok)
		case "tokens":
			h.Tokens = p.number(tok)
		case "unit":
			h.Unit = string(tok.val)
		case "params":
			h.Params = p.number(tok)
		case "chip":
			h.Chip = string(tok.val)
		case "cache":
			h.Cache = string(tok.val)
		case "launch":
			h.Launch = string(tok.val)
		case "data":
			if h.Data = string(tok.val); h.Data == "random" {
				h.Data = ""
			}
		case "profile":
			h.Profile = string(tok.val)
		}
	}
}

func (p *parser) memoryLine() {
	p.once(&p.memory)
	m := &p.t.Header.Memory
	var seen uint
	for i := range p.args() {
		tok := &p.toks[i]
		switch p.key(tok, &seen, memoryKeys) {
		case "weights":
			m.Weights = p.number(tok)
		case "activations":
			m.Activations = p.number(tok)
		case "kv":
			m.KV = p.number(tok)
		case "gradients":
			m.Gradients = p.number(tok)
		case "state":
			m.State = p.number(tok)
		case "external":
			m.External = p.number(tok)
		}
	}
}

func (p *parser) tensor() error {
	if len(p.t.Tensors) == MaxTensors {
		p.fail(0, "too many tensors", fmt.Sprintf("at most %d", MaxTensors), "")
		return errStop
	}
	x := Tensor{Layer: -1}
	n := 0
	var seen uint
	for i := 1; i < len(p.toks); i++ {
		tok := &p.toks[i]
		if tok.key != nil {
			switch p.key(tok, &seen, tensorKeys) {
			case "layer":
				x.Layer = p.small(tok)
			case "home":
				x.Home = p.home(tok)
			}
			continue
		}
		switch n {
		case 0:
			p.index(tok, &p.tensors)
		case 1:
			x.Name = string(tok.val)
		case 2:
			d := p.dims(tok, 2)
			x.Rows, x.Cols = d[0], d[1]
		case 3:
			x.DType = p.dtype(tok)
		case 4:
			x.Role = p.role(tok)
		}
		n++
	}
	p.form(5, n)
	p.t.Tensors = append(p.t.Tensors, x)
	return nil
}

func (p *parser) programLine() error {
	if len(p.t.Programs) == MaxPrograms {
		p.fail(0, "too many programs", "at most "+amount(MaxPrograms), "")
		return errStop
	}
	var prog Program
	n := 0
	var seen uint
	for i := 1; i < len(p.toks); i++ {
		tok := &p.toks[i]
		if tok.key == nil {
			switch n {
			case 0:
				p.index(tok, &p.program)
			case 1:
				prog.Name = string(tok.val)
			case 2:
				if string(tok.val) == "persistent" && !prog.Persistent {
					prog.Persistent = true
					continue
				}
				if string(tok.val) == "embedding" && !prog.Embedding {
					prog.Embedding = true
					continue
				}
			}
			n++
			continue
		}
		switch p.key(tok, &seen, programKeys) {
		case "threads":
			prog.Threads = p.small(tok)
		case "registers":
			prog.Registers = p.small(tok)
		case "scratch":
			prog.Scratch = p.number(tok)
		case "setup":
			prog.Setup = p.number(tok)
		case "slots":
			prog.Slots = p.slots(tok)
		}
	}
	p.form(2, n)
	p.t.Programs = append(p.t.Programs, prog)
	p.op = 0
	p.enter("program")
	return nil
}

func (p *parser) slots(tok *token) []string {
	if bytes.Count(tok.val, []byte{','}) >= MaxSlots {
		p.fail(tok.valAt, "too many slots", fmt.Sprintf("at most %d", MaxSlots), "")
		return nil
	}
	var slots []string
	at := tok.valAt
	for s := range strings.SplitSeq(string(tok.val), ",") {
		if problem, allowed := slotProblem(s, slots); problem != "" {
			p.fail(at, problem, allowed, "")
		} else {
			slots = append(slots, s)
		}
		at += len(s) + 1
	}
	return slots
}

func (p *parser) opLine() {
	var op Op
	n := 0
	var seen uint
	for i := 1; i < len(p.toks); i++ {
		tok := &p.toks[i]
		if tok.key == nil {
			switch n {
			case 0:
				p.index(tok, &p.op)
			case 1:
				op.Name = string(tok.val)
			}
			n++
			continue
		}
		switch p.key(tok, &seen, opKeys) {
		case "kind":
			op.Kind = string(tok.val)
		case "flops":
			op.Flops = p.number(tok)
		case "vector":
			op.VectorOps = p.number(tok)
		case "special":
			op.SpecialOps = p.number(tok)
		case "read":
			op.ReadBytes = p.number(tok)
		case "write":
			op.WriteBytes = p.number(tok)
		}
	}
	p.form(2, n)
	prog := p.last()
	prog.Ops = append(prog.Ops, op)
}

func (p *parser) partLine() {
	var part Part
	n := 0
	var seen uint
	for i := 1; i < len(p.toks); i++ {
		tok := &p.toks[i]
		if tok.key == nil {
			if n == 0 && string(tok.val) == "reverse" {
				part.Reverse = true
			} else {
				p.unexpected(tok)
			}
			n++
			continue
		}
		switch p.key(tok, &seen, partKeys) {
		case "grid":
			part.Grid = p.grid(tok)
		case "swizzle":
			part.Swizzle = p.number(tok)
		case "at":
			part.At = p.number(tok)
		case "pitch":
			part.Pitch = p.number(tok)
		}
	}
	if part.Grid == [4]int64{} && seen&1 == 0 {
		p.fail(p.toks[0].at, "no grid", "the form is "+forms["part"], "")
	}
	prog := p.last()
	prog.Parts = append(prog.Parts, part)
	p.enter("part")
}

// grid reads "16,24"; extents that are left out are 1.
func (p *parser) grid(tok *token) [4]int64 {
	grid := [4]int64{1, 1, 1, 1}
	rest, at, more := tok.val, tok.valAt, true
	for i := 0; more; i++ {
		if i == len(grid) {
			p.fail(at, "too many extents", "a grid has at most four: x,y,z,w", "")
			break
		}
		var extent []byte
		extent, rest, more = bytes.Cut(rest, []byte{','})
		grid[i] = p.numberIn(extent, at)
		at += len(extent) + 1
	}
	return grid
}

func (p *parser) stepLine(word string) {
	var step Step
	n := 0
	var seen uint
	if word == "loop" {
		step.Stages, step.Ways, step.Groups = 1, 1, 1
	}
	for i := 1; i < len(p.toks); i++ {
		tok := &p.toks[i]
		switch {
		case word == "do" && tok.key == nil:
			p.unexpected(tok)
		case word == "do":
			if p.key(tok, &seen, doKeys) != "" {
				step.At = p.number(tok)
			}
		case tok.key == nil:
			if n == 0 {
				e := p.expr(tok)
				step.Count = &e
			}
			n++
		case string(tok.key) == "min" || string(tok.key) == "max":
			p.fail(tok.at, "limit apart from its expression", "it follows with a comma and no space: (128*x+191)/64,min=1,max=32", "")
		default:
			switch p.key(tok, &seen, loopKeys) {
			case "stages":
				step.Stages = p.small(tok)
			case "ways":
				step.Ways = p.small(tok)
			case "groups":
				step.Groups = p.small(tok)
			case "at":
				step.At = p.number(tok)
			case "interval":
				step.Interval = p.number(tok)
			}
		}
	}
	if word == "loop" {
		p.form(1, n)
	}
	prog := p.last()
	part := &prog.Parts[len(prog.Parts)-1]
	part.Code = append(part.Code, step)
	p.enter(word)
}

func (p *parser) instr(kind InstrKind) {
	in := Instr{Kind: kind}
	n := 0
	need := 0
	keys := instrKeys
	switch kind {
	case Load:
		keys, need = loadKeys, 2
	case Store:
		keys, need = storeKeys, 2
	case MatMul:
		keys, need = matmulKeys, 2
	case Vector:
		need = 2
	case Special, Scratch:
		need = 1
	}
	var seen uint
	for i := 1; i < len(p.toks); i++ {
		tok := &p.toks[i]
		if tok.key == nil {
			if n < need {
				p.operand(&in, n, tok)
			} else if flag := in.flag(tok.val); flag == nil {
				p.unexpected(tok)
			} else if *flag {
				p.fail(tok.at, "a second "+string(tok.val), "", "")
			} else {
				*flag = true
			}
			n++
			continue
		}
		switch p.key(tok, &seen, keys) {
		case "op":
			in.Op = p.small(tok)
		case "row":
			in.Row = p.expr(tok)
		case "col":
			in.Col = p.expr(tok)
		case "share":
			in.Share = p.number(tok)
		case "count":
			in.Count = p.number(tok)
		case "steps":
			in.pass().Steps = p.number(tok)
		case "registers":
			in.pass().Registers = p.triple(tok)
		case "network":
			in.pass().Network = p.triple(tok)
		case "scratch":
			in.pass().Scratch = p.triple(tok)
		case "at":
			in.At = p.number(tok)
		}
	}
	if n < need {
		p.form(need, n)
	}
	prog := p.last()
	part := &prog.Parts[len(prog.Parts)-1]
	step := &part.Code[len(part.Code)-1]
	step.Body = append(step.Body, in)
}

// pass is the instruction's mapping, a new one if it has none yet.
func (in *Instr) pass() *Pass {
	if in.Pass == nil {
		in.Pass = new(Pass)
	}
	return in.Pass
}

// triple reads a number for each operand.
func (p *parser) triple(tok *token) (n [3]int64) {
	parts := bytes.Split(tok.val, []byte(","))
	if len(parts) != len(n) {
		p.fail(tok.valAt, fmt.Sprintf("%d numbers", len(parts)), "the form is I,W,S: inputs, weights, sums", "")
		return n
	}
	at := tok.valAt
	for i, part := range parts {
		v, problem := number(part)
		if problem != "" {
			p.fail(at, quote(part)+" "+problem, "the form is I,W,S: inputs, weights, sums", "")
		}
		n[i] = v
		at += len(part) + 1
	}
	return n
}

// operand reads the n-th value of an instruction.
func (p *parser) operand(in *Instr, n int, tok *token) {
	switch {
	case in.Kind == Load || in.Kind == Store:
		if n == 0 {
			slots := p.last().Slots
			if in.Slot = slices.Index(slots, string(tok.val)); in.Slot < 0 {
				in.Slot = 0
				p.fail(tok.at, "unknown slot "+quote(tok.val), "the program's slots are "+list(slots), config.Suggest(string(tok.val), slots))
			}
			return
		}
		d := p.dims(tok, 2)
		in.Rows, in.Cols = d[0], d[1]
	case in.Kind == MatMul && n == 0:
		d := p.dims(tok, 3)
		in.M, in.N, in.K = d[0], d[1], d[2]
	case n == 0:
		in.Count = p.number(tok)
	default:
		in.DType = p.dtype(tok)
	}
}

// flag is the switch that a word of the instruction's line turns on, nil if
// the kind has none of that name.
func (in *Instr) flag(word []byte) *bool {
	switch string(word) {
	case "sync":
		if in.Kind == Load || in.Kind == Store || in.Kind == MatMul {
			return &in.Sync
		}
	case "random":
		if in.Kind == Load || in.Kind == Store {
			return &in.Random
		}
	case "atomic":
		if in.Kind == Store {
			return &in.Atomic
		}
	case "local":
		if in.Kind == Load || in.Kind == Store {
			return &in.Local
		}
	case "pair":
		if in.Kind == Load || in.Kind == MatMul {
			return &in.Pair
		}
	case "fromreg":
		if in.Kind == MatMul {
			return &in.FromReg
		}
	}
	return nil
}

func (p *parser) launch() error {
	if len(p.t.Launches) == MaxLaunches {
		p.fail(0, "too many launches", fmt.Sprintf("at most %d", MaxLaunches), "")
		return errStop
	}
	if len(p.toks) < 2 || p.toks[1].key != nil {
		p.form(1, 0)
		return nil
	}
	n := p.number(&p.toks[1])
	if n < 0 || n >= int64(len(p.t.Programs)) {
		p.fail(p.toks[1].at, fmt.Sprintf("there is no program %d above", n), p.known("program", len(p.t.Programs)), "")
		return nil
	}
	l := Launch{Program: int(n), Layer: -1}
	slots := p.t.Programs[n].Slots
	if len(slots) > 0 {
		l.Args = p.int32s(len(slots))
		for i := range l.Args {
			l.Args[i] = -1
		}
	}
	next := 0 // slots mostly stand in order
	var seenLayer, seenFree, seenAt bool
	for i := 2; i < len(p.toks); i++ {
		tok := &p.toks[i]
		if tok.key == nil {
			p.unexpected(tok)
			continue
		}
		slot := next
		if slot >= len(slots) || slots[slot] != string(tok.key) {
			slot = slices.Index(slots, string(tok.key))
		}
		switch {
		case slot >= 0:
			if l.Args[slot] >= 0 {
				p.fail(tok.at, "slot "+string(tok.key)+" is bound twice", "", "")
			}
			l.Args[slot] = p.tensorIndex(tok.val, tok.valAt)
			next = slot + 1
		case string(tok.key) == "layer":
			if seenLayer {
				p.fail(tok.at, "a second layer", "", "")
			}
			l.Layer, seenLayer = p.small(tok), true
		case string(tok.key) == "at":
			if seenAt {
				p.fail(tok.at, "a second clock", "", "")
			}
			l.At, seenAt = p.number(tok), true
		case string(tok.key) == "free":
			if seenFree {
				p.fail(tok.at, "a second free", "all tensors stand in one list: free=3,4", "")
			}
			l.Free, seenFree = p.tensorList(tok), true
		case !p.full():
			words := append(slices.Clone(slots), reservedSlots...)
			p.fail(tok.at, "unknown slot "+quote(tok.key), "allowed are "+list(words), config.Suggest(string(tok.key), words))
		}
	}
	for i, arg := range l.Args {
		if arg < 0 {
			p.fail(p.toks[0].at, "slot "+slots[i]+" is not bound", "a launch names a tensor for each of "+list(slots), "")
			break
		}
	}
	p.t.Launches = append(p.t.Launches, l)
	return nil
}

// known says which indices there are.
func (p *parser) known(what string, n int) string {
	if n == 0 {
		return "there are no " + what + "s yet"
	}
	return fmt.Sprintf("the last %s above is %d", what, n-1)
}

// tensorList reads "3,4".
func (p *parser) tensorList(tok *token) []int32 {
	ints := p.int32s(bytes.Count(tok.val, []byte{','}) + 1)
	rest, at := tok.val, tok.valAt
	for i := range ints {
		var index []byte
		index, rest, _ = bytes.Cut(rest, []byte{','})
		ints[i] = p.tensorIndex(index, at)
		at += len(index) + 1
	}
	return ints
}

func (p *parser) tensorIndex(s []byte, at int) int32 {
	n, problem := number(s)
	if problem == "" && (n < 0 || n >= MaxTensors) {
		problem = "is not the index of a tensor"
	}
	if problem != "" {
		p.fail(at, quote(s)+" "+problem, "allowed are 0 and up, as in the tensor lines", "")
		return 0
	}
	return int32(n)
}

// int32s cuts n numbers from a large piece of memory.
func (p *parser) int32s(n int) []int32 {
	if n > len(p.ints) {
		p.ints = make([]int32, max(n, 1<<12))
	}
	ints := p.ints[:n:n]
	p.ints = p.ints[n:]
	return ints
}

func (p *parser) last() *Program { return &p.t.Programs[len(p.t.Programs)-1] }

// args yields the indices of the line's key=value tokens, and reports others.
func (p *parser) args() func(func(int) bool) {
	return func(yield func(int) bool) {
		for i := 1; i < len(p.toks); i++ {
			if p.toks[i].key == nil {
				p.unexpected(&p.toks[i])
			} else if !yield(i) {
				return
			}
		}
	}
}

// key finds a token's key among keys; "" if it is unknown or given twice, which
// is reported.
func (p *parser) key(tok *token, seen *uint, keys []string) string {
	for i, k := range keys {
		if string(tok.key) != k {
			continue
		}
		if *seen&(1<<i) != 0 {
			p.fail(tok.at, "a second "+k, "", "")
			return ""
		}
		*seen |= 1 << i
		return k
	}
	if p.full() {
		return ""
	}
	p.fail(tok.at, "unknown key "+quote(tok.key), "allowed are "+list(keys), config.Suggest(string(tok.key), keys))
	return ""
}

// form reports a line that has not the number of values its form has.
func (p *parser) form(want, got int) {
	form := forms[string(p.toks[0].val)]
	switch last := &p.toks[len(p.toks)-1]; {
	case got < want:
		missing := strings.Fields(form)[got+1]
		p.fail(last.valAt+len(last.val), missing+" is missing", "the form is "+form, "")
	case got > want:
		p.fail(p.toks[0].at, fmt.Sprintf("%d values instead of %d", got, want), "the form is "+form, "")
	}
}

func (p *parser) unexpected(tok *token) {
	p.fail(tok.at, "unexpected "+quote(p.line[tok.at:tok.valAt+len(tok.val)]), "the form is "+forms[string(p.toks[0].val)], "")
}

// index checks that lines count up from 0. After a gap, it counts on from there.
func (p *parser) index(tok *token, next *int) {
	n, problem := number(tok.val)
	if problem != "" || n != int64(*next) {
		p.fail(tok.at, fmt.Sprintf("index %s where %d follows", quote(tok.val), *next), "indices count up from 0, without gaps", "")
	}
	if problem != "" {
		*next++
	} else if n >= 0 && n < math.MaxInt32 {
		*next = int(n) + 1
	}
}

func (p *parser) number(tok *token) int64 { return p.numberIn(tok.val, tok.valAt) }

func (p *parser) numberIn(s []byte, at int) int64 {
	n, problem := number(s)
	if problem != "" {
		p.fail(at, quote(s)+" "+problem, "", "")
	}
	return n
}

// small reads a number that is kept in an int.
func (p *parser) small(tok *token) int {
	n := p.number(tok)
	if n < math.MinInt32 || n > math.MaxInt32 {
		p.fail(tok.valAt, quote(tok.val)+" does not fit in 32 bits", "", "")
		return 0
	}
	return int(n)
}

// dims reads "128x256", or with three extents "128x256x64".
func (p *parser) dims(tok *token, extents int) (d [3]int64) {
	rest, at := tok.val, tok.valAt
	if bytes.Count(rest, []byte{'x'}) != extents-1 {
		what := [...]string{2: "ROWSxCOLS", 3: "MxNxK"}[extents]
		p.fail(tok.at, quote(rest)+" is not "+what, "the form is "+forms[string(p.toks[0].val)], "")
		return d
	}
	for i := range extents {
		var extent []byte
		extent, rest, _ = bytes.Cut(rest, []byte{'x'})
		d[i] = p.numberIn(extent, at)
		at += len(extent) + 1
	}
	return d
}

func (p *parser) expr(tok *token) Expr {
	e, f := parseExpr(tok.val)
	if f != nil {
		p.fail(tok.valAt+f.at, f.problem, f.allowed, "")
	}
	return e
}

func (p *parser) dtype(tok *token) dtype.Type {
	t, err := dtype.Parse(string(tok.val))
	if err != nil {
		hint := ""
		if e := (*dtype.Error)(nil); errors.As(err, &e) {
			hint = e.Hint
		}
		p.fail(tok.valAt, "unknown number format "+quote(tok.val), "allowed are "+list(dtype.Type(0).Enum()), hint)
	}
	return t
}

func (p *parser) home(tok *token) Home {
	i := slices.Index(homeWords[:], string(tok.val))
	if i < 0 {
		p.fail(tok.at, "unknown home "+quote(tok.val), "allowed are "+list(homeWords[:]), config.Suggest(string(tok.val), homeWords[:]))
		return 0
	}
	return Home(i)
}

func (p *parser) role(tok *token) graph.Role {
	i := slices.Index(roleWords[:], string(tok.val))
	if i < 0 {
		p.fail(tok.at, "unknown role "+quote(tok.val), "allowed are "+list(roleWords[:]), config.Suggest(string(tok.val), roleWords[:]))
		return 0
	}
	return graph.Role(i)
}
