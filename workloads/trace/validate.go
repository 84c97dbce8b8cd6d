package trace

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"maru/workloads/graph"
)

// Validate reports what is wrong with t: names, indices and numbers out of
// their ranges, fields an instruction has no use for, tensors that are read
// before they are written or used after they are freed, and work beyond the
// limits of this package. It returns nil or an error of type Errors. The time
// it takes is proportional to the size of t.
//
// A valid trace has these properties, which a machine may rely on: all indices
// are in range; programs have at least one operator and one part, parts one
// step, steps one instruction; Eval cannot overflow over a part's grid and a
// loop's iterations; loops run 0 to MaxCount times; the sums over a trace that
// the limits name stay within 63 bits.
func (t *Trace) Validate() error { return validate(t, nil) }

func validate(t *Trace, src *source) error {
	v := validator{t: t, src: src}
	if v.sizes() {
		v.header()
		v.tensors()
		v.programs()
		if len(v.errs) == 0 { // launches are followed through sound programs
			v.launches()
		}
	}
	if len(v.errs) == 0 {
		return nil
	}
	return v.errs
}

// validator collects the errors of one trace.
type validator struct {
	t     *Trace
	src   *source // nil for a trace that is not from a file
	errs  Errors
	progs []summary
}

func (v *validator) full() bool { return len(v.errs) >= maxErrors }

func (v *validator) fail(p place, problem, allowed string) {
	if v.full() {
		return
	}
	e := &Error{Path: p.path(v.t), Problem: problem, Allowed: allowed}
	if v.src != nil {
		v.src.find(e, p)
	}
	v.errs = append(v.errs, e)
}

func (p place) with(key string) place { p.key = key; return p }
func (p place) nth(value int) place   { p.value = value; return p }

// within checks a number against an inclusive range.
func (v *validator) within(p place, what string, n, lo, hi int64) bool {
	if n >= lo && n <= hi {
		return true
	}
	v.fail(p, fmt.Sprintf("%s is %d", what, n), fmt.Sprintf("allowed are %s to %s", amount(lo), amount(hi)))
	return false
}

// key is within for a number that a key=value holds.
func (v *validator) key(p place, key string, n, lo, hi int64) bool {
	return v.within(p.with(key), key, n, lo, hi)
}

// name checks a text that people read.
func (v *validator) name(p place, what, s string) {
	switch {
	case len(s) > MaxName:
		v.fail(p, fmt.Sprintf("%s of %d bytes", what, len(s)), fmt.Sprintf("at most %d", MaxName))
	case !utf8.ValidString(s):
		v.fail(p, fmt.Sprintf("%s %s is not UTF-8", what, quote(s)), "")
	case strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
		v.fail(p, fmt.Sprintf("%s %s holds a character that cannot be printed", what, quote(s)), "allowed are printable characters and spaces")
	}
}

// named is name for a text that must not be empty.
func (v *validator) named(p place, what, s string) {
	if s == "" {
		v.fail(p, what+" is empty", "")
		return
	}
	v.name(p, what, s)
}

func (v *validator) word(p place, what, s string, words []string) {
	if !slices.Contains(words, s) {
		v.fail(p, fmt.Sprintf("unknown %s %s", what, quote(s)), "allowed are "+list(words))
	}
}

// sizes checks how much there is, before anything is allocated for it.
func (v *validator) sizes() bool {
	t := v.t
	code := 0
	for i := range t.Programs {
		p := &t.Programs[i]
		code += len(p.Ops) + len(p.Parts)
		for j := range p.Parts {
			code += len(p.Parts[j].Code)
			for k := range p.Parts[j].Code {
				code += len(p.Parts[j].Code[k].Body)
			}
		}
	}
	for _, c := range []struct {
		what   string
		n, max int
	}{
		{"tensors", len(t.Tensors), MaxTensors},
		{"programs", len(t.Programs), MaxPrograms},
		{"launches", len(t.Launches), MaxLaunches},
		{"operators, parts, steps and instructions", code, MaxCode},
	} {
		if c.n > c.max {
			v.fail(place{}, fmt.Sprintf("%d %s", c.n, c.what), "at most "+amount(int64(c.max)))
		}
	}
	return len(v.errs) == 0
}

func (v *validator) header() {
	h, run := &v.t.Header, place{kind: atRun}
	v.name(run.with("model"), "model", h.Model)
	v.name(run.with("phase"), "phase", h.Phase)
	v.key(run, "batch", h.Batch, 0, MaxSize)
	v.key(run, "seq", h.Seq, 0, MaxSize)
	if !h.DType.Valid() {
		v.fail(run.with("dtype"), "no number format", "dtype names the format of weights and matrix arithmetic, such as bf16")
	}
	v.key(run, "layers", int64(h.Layers), 0, MaxLayers)
	v.key(run, "tokens", h.Tokens, 0, MaxSize)
	v.word(run.with("unit"), "unit", h.Unit, unitWords)
	v.key(run, "params", h.Params, 0, MaxSize)
	v.name(run.with("chip"), "chip", h.Chip)
	if !validCache(h.Cache) {
		v.fail(run.with("cache"), "unknown cache state "+quote(h.Cache), cacheRule)
	}
	v.word(run.with("launch"), "way to launch", h.Launch, launchWords)
	if h.Data != "" {
		v.word(run.with("data"), "sort of data", h.Data, dataWords)
	}
	v.name(run.with("profile"), "profile", h.Profile)
	m, memory := &h.Memory, place{kind: atMemory}
	v.key(memory, "weights", m.Weights, 0, MaxMemory)
	v.key(memory, "activations", m.Activations, 0, MaxMemory)
	v.key(memory, "kv", m.KV, 0, MaxMemory)
	v.key(memory, "gradients", m.Gradients, 0, MaxMemory)
	v.key(memory, "state", m.State, 0, MaxMemory)
	v.key(memory, "external", m.External, 0, MaxMemory)
}

// Places of the values in the lines of the text form, for place.nth.
const (
	tensorName = 2 + iota
	tensorShape
	tensorFormat
	tensorRole
)

const (
	programName  = 2
	opName       = 2
	loopCount    = 1
	accessShape  = 2
	matmulShape  = 1
	instrCount   = 1
	instrFormat  = 2
	launchTarget = 1
)

func (v *validator) tensors() {
	t := v.t
	names := make(map[string]int, len(t.Tensors))
	var total int64
	for i := range t.Tensors {
		if v.full() {
			return
		}
		x, p := &t.Tensors[i], place{kind: atTensor, index: i}
		v.named(p.nth(tensorName), "name", x.Name)
		if first, ok := names[x.Name]; ok {
			v.fail(p.nth(tensorName), "name "+quote(x.Name)+" is taken", fmt.Sprintf("tensor %d has it", first))
		} else {
			names[x.Name] = i
		}
		v.layer(p, x)
		if int(x.Home) >= len(homeWords) {
			v.fail(p.with("home"), "unknown home "+homeWord(x.Home), "allowed are "+list(homeWords[:]))
		}
		if int(x.Role) >= len(roleWords) {
			v.fail(p.nth(tensorRole), "unknown role "+roleWord(x.Role), "allowed are "+list(roleWords[:]))
		}
		sized := v.within(p.nth(tensorShape), "rows", x.Rows, 1, MaxSize)
		sized = v.within(p.nth(tensorShape), "cols", x.Cols, 1, MaxSize) && sized
		switch {
		case !x.DType.Valid():
			v.fail(p.nth(tensorFormat), "no number format", "a tensor has one, such as bf16")
		case !sized:
		case product(x.Rows, x.Cols) > 8*MaxTensorBytes || x.Bytes() > MaxTensorBytes:
			v.fail(p.nth(tensorShape), fmt.Sprintf("%d x %d elements are too large", x.Rows, x.Cols), "at most "+amount(MaxTensorBytes)+" bytes")
		default:
			before := total
			if total += x.Bytes(); total > MaxMemory && before <= MaxMemory {
				v.fail(p, "the tensors up to here are too large together", "at most "+amount(MaxMemory)+" bytes")
				return
			}
		}
	}
}

// layer checks a tensor's layer against its name and the header.
func (v *validator) layer(p place, x *Tensor) {
	named, _, _ := layerOf(x.Name)
	switch {
	case x.Layer == named && (named < 0 || named < v.t.Header.Layers):
	case x.Layer != named && named < 0:
		v.fail(p.with("layer"), fmt.Sprintf("layer is %d, but the name does not say so", x.Layer), fmt.Sprintf("names of tensors in this layer hold %q", fmt.Sprintf("layer.%d.", x.Layer)))
	case x.Layer == -1:
		v.fail(p.nth(tensorName), "the name holds a layer, but the tensor is of none", fmt.Sprintf("it needs layer=%d, or another name", named))
	case x.Layer != named:
		v.fail(p.with("layer"), fmt.Sprintf("layer is %d, but the name says %d", x.Layer, named), "")
	default:
		v.fail(p.with("layer"), fmt.Sprintf("layer is %d", x.Layer), fmt.Sprintf("the run has %d layers, counted from 0", v.t.Header.Layers))
	}
}

// summary is what launches need to know of a program.
type summary struct {
	tiles      int64
	code       int64    // instructions as written
	iterations int64    // of all loops, at most
	work       [9]int64 // of operators and instructions, as in workWords
	layered    bool     // an operator's name holds "layer.*."
	access     []access // first loads and stores of each slot, in order
	reach      []reach  // by slot
}

// access is the first load or the first store of a slot.
type access struct {
	slot  int
	store bool
}

// reach is where the regions lie that a program takes of a slot.
type reach struct {
	used       bool
	rows, cols int64 // greatest first row and column of any region
	atRows     place
	atCols     place
}

// Sorts of work that are summed.
const (
	opFlops = iota
	opVector
	opSpecial
	opRead
	opWrite
	instrFlops
	instrOps
	instrMoved
	instrScratch
)

var workWords = [...]string{
	"flops of operators", "vector operations of operators", "special operations of operators",
	"bytes read by operators", "bytes written by operators", "flops of matmul instructions",
	"operations of vector and special instructions", "bytes loaded and stored", "bytes of scratchpad traffic",
}

func (v *validator) programs() {
	v.progs = make([]summary, len(v.t.Programs))
	for i := range v.t.Programs {
		if v.full() {
			return
		}
		v.program(i)
	}
}

func (v *validator) program(i int) {
	prog, p, s := &v.t.Programs[i], place{kind: atProgram, index: i}, &v.progs[i]
	v.named(p.nth(programName), "name", prog.Name)
	v.key(p, "threads", int64(prog.Threads), 0, MaxThreads)
	v.key(p, "registers", int64(prog.Registers), 0, MaxThreads)
	v.key(p, "scratch", prog.Scratch, 0, MaxSize)
	v.key(p, "setup", prog.Setup, 0, MaxCount)
	if !v.slots(p.with("slots"), prog.Slots) {
		return
	}
	s.reach = make([]reach, len(prog.Slots))
	if len(prog.Ops) == 0 {
		v.fail(p, "no operators", "a program works for at least one")
	}
	for j := range prog.Ops {
		op, p := &prog.Ops[j], place{kind: atOp, index: i, op: j}
		v.named(p.nth(opName), "name", op.Name)
		if n, _, _ := layerOf(op.Name); n >= 0 {
			v.fail(p.nth(opName), fmt.Sprintf("the name holds layer %d", n), `launches say the layer, names of operators hold "layer.*."`)
		}
		s.layered = s.layered || hasAnyLayer(op.Name)
		v.name(p.with("kind"), "kind", op.Kind)
		for k, n := range [...]int64{opFlops: op.Flops, opVector: op.VectorOps, opSpecial: op.SpecialOps, opRead: op.ReadBytes, opWrite: op.WriteBytes} {
			if v.key(p, opKeys[k+1], n, 0, MaxWork) {
				s.work[k] = sum(s.work[k], n)
			}
		}
		if v.full() {
			return
		}
	}
	if len(prog.Parts) == 0 {
		v.fail(p, "no parts", "a program has at least one")
	}
	for j := range prog.Parts {
		v.part(prog, s, place{kind: atPart, index: i, part: j})
		if v.full() {
			return
		}
	}
	if s.tiles > MaxTiles {
		v.fail(p, fmt.Sprintf("more than %s tile programs", amount(MaxTiles)), "that is the most of one launch")
	}
}

func (v *validator) slots(p place, slots []string) bool {
	if len(slots) > MaxSlots {
		v.fail(p, fmt.Sprintf("%d slots", len(slots)), fmt.Sprintf("at most %d", MaxSlots))
		return false
	}
	before := len(v.errs)
	for i, s := range slots {
		if problem, allowed := slotProblem(s, slots[:i]); problem != "" {
			v.fail(p, problem, allowed)
		}
	}
	return len(v.errs) == before
}

// slotProblem says what is wrong with a slot that follows others.
func slotProblem(s string, before []string) (problem, allowed string) {
	switch {
	case len(s) > MaxName:
		return fmt.Sprintf("slot name of %d bytes", len(s)), fmt.Sprintf("at most %d", MaxName)
	case !isIdent(s):
		return quote(s) + " is no name for a slot", "a slot's name is a letter or _, then letters, digits, _, . and -"
	case slices.Contains(reservedSlots, s):
		return "slot " + quote(s) + " is a word of the launch line", "any other name"
	case slices.Contains(before, s):
		return "slot " + quote(s) + " is there twice", ""
	}
	return "", ""
}

// part checks a part and adds it to the summary.
func (v *validator) part(prog *Program, s *summary, p place) {
	part := &prog.Parts[p.part]
	tiles := int64(1)
	for _, n := range part.Grid {
		if n < 1 {
			v.fail(p.with("grid"), fmt.Sprintf("the grid has an extent of %d", n), "each is at least 1")
			return
		}
		tiles = product(tiles, n)
	}
	v.key(p, "swizzle", part.Swizzle, 0, MaxTiles)
	v.key(p, "at", part.At, 0, MaxClock)
	v.key(p, "pitch", part.Pitch, 0, MaxClock)
	if tiles > MaxTiles {
		v.fail(p.with("grid"), fmt.Sprintf("a grid of more than %s tile programs", amount(MaxTiles)), "that is the most of one launch")
		return
	}
	s.tiles = sum(s.tiles, tiles)
	if len(part.Code) == 0 {
		v.fail(p, "an empty part", "a part has at least one loop or do")
	}
	for i := range part.Code {
		p := p
		p.kind, p.step = atStep, i
		v.step(prog, s, p, tiles)
		if v.full() {
			return
		}
	}
}

func (v *validator) step(prog *Program, s *summary, p place, tiles int64) {
	part := &prog.Parts[p.part]
	step := &part.Code[p.step]
	trips := int64(1)
	if step.Count == nil {
		if step.Stages != 0 || step.Ways != 0 || step.Groups != 0 {
			v.fail(p, "stages, ways or groups of straight-line code", "only loops have them")
		}
	} else {
		v.key(p, "stages", int64(step.Stages), 1, MaxStages)
		v.key(p, "ways", int64(step.Ways), 1, MaxStages)
		v.key(p, "groups", int64(step.Groups), 0, MaxStages)
		least, most, ok := v.expr(p.nth(loopCount), "count", step.Count, part.Grid, nil)
		if !ok {
			return
		}
		if least < 0 || most > MaxCount {
			v.fail(p.nth(loopCount), fmt.Sprintf("the loop runs %d to %d times", least, most), "allowed are 0 to "+amount(MaxCount))
			return
		}
		trips = most
		s.iterations = sum(s.iterations, product(tiles, trips))
	}
	v.key(p, "at", step.At, 0, MaxClock)
	v.key(p, "interval", step.Interval, 0, MaxClock)
	if step.Count == nil && step.Interval != 0 {
		v.fail(p.with("interval"), "an interval of straight-line code", "only loops have one")
	}
	if len(step.Body) == 0 {
		v.fail(p, "an empty body", "a loop or do has at least one instruction")
	}
	s.code += int64(len(step.Body))
	for i := range step.Body {
		p := p
		p.kind, p.instr = atInstr, i
		v.instr(prog, s, p, &step.Body[i], tiles, trips)
		if v.full() {
			return
		}
	}
}

// expr checks an expression and returns its ends over a grid and the
// iterations of a loop, which is nil outside loops and in its own count.
func (v *validator) expr(p place, what string, e *Expr, grid [4]int64, trips *int64) (lo, hi int64, ok bool) {
	switch {
	case e.K != 0 && trips == nil:
		v.fail(p, what+" uses k outside a loop", "k is the iteration of the loop around it; a loop's count and straight-line code have none")
		return 0, 0, false
	case e.Div < 0 || e.Div > MaxSize:
		v.fail(p, fmt.Sprintf("%s has the divisor %d", what, e.Div), "allowed are 1 to "+amount(MaxSize))
		return 0, 0, false
	case e.Min < -MaxSize || e.Min > MaxSize || e.Max < 0 || e.Max > MaxSize || e.Max > 0 && e.Max < e.Min:
		v.fail(p, fmt.Sprintf("%s has the limits %d and %d", what, e.Min, e.Max), fmt.Sprintf("allowed are %s to %s, min up to max", amount(-MaxSize), amount(MaxSize)))
		return 0, 0, false
	}
	n := int64(1)
	if trips != nil {
		n = *trips
	}
	if lo, hi, ok = e.span(grid, n); !ok {
		v.fail(p, what+" becomes too large over the grid", "no term may leave +-"+amount(MaxValue))
	}
	return lo, hi, ok
}

// uses says which fields a kind of instruction has: those of the others must be
// zero, as the text form has no place for them.
var uses = [...]struct{ region, share, atomic, products, format, count, pair bool }{
	Load:    {region: true, share: true, pair: true},
	Store:   {region: true, atomic: true},
	MatMul:  {products: true, format: true, count: true, pair: true},
	Vector:  {format: true, count: true},
	Special: {count: true},
	Scratch: {count: true},
	Barrier: {},
}

// stray names fields that are set though the instruction's kind has no use for
// them.
func (in *Instr) stray() (fields []string) {
	u := uses[in.Kind]
	for _, f := range []struct {
		name      string
		set, used bool
	}{
		{"slot", in.Slot != 0, u.region},
		{"row", in.Row != Expr{}, u.region},
		{"col", in.Col != Expr{}, u.region},
		{"rows", in.Rows != 0, u.region},
		{"cols", in.Cols != 0, u.region},
		{"share", in.Share != 0, u.share},
		{"sync", in.Sync, u.region || u.products},
		{"random", in.Random, u.region},
		{"atomic", in.Atomic, u.atomic},
		{"local", in.Local, u.region},
		{"pair", in.Pair, u.pair},
		{"m", in.M != 0, u.products},
		{"n", in.N != 0, u.products},
		{"k", in.K != 0, u.products},
		{"dtype", in.DType != 0, u.format},
		{"fromreg", in.FromReg, u.products},
		{"count", in.Count != 0, u.count},
		{"pass", in.Pass != nil, u.products},
	} {
		if f.set && !f.used {
			fields = append(fields, f.name)
		}
	}
	return fields
}

func (v *validator) instr(prog *Program, s *summary, p place, in *Instr, tiles, trips int64) {
	if int(in.Kind) >= len(kindWords) {
		v.fail(p, "unknown instruction", "allowed are "+list(kindWords[:]))
		return
	}
	if fields := in.stray(); len(fields) > 0 {
		v.fail(p, "sets "+list(fields), "a "+in.Kind.String()+" has no use for it")
	}
	v.key(p, "at", in.At, 0, MaxClock)
	if len(prog.Ops) > 0 && (in.Op < 0 || in.Op >= len(prog.Ops)) {
		v.fail(p.with("op"), fmt.Sprintf("there is no operator %d", in.Op), fmt.Sprintf("the program has %d, counted from 0", len(prog.Ops)))
	}
	u := &uses[in.Kind]
	if u.format && !in.DType.Valid() {
		v.fail(p.nth(instrFormat), "no number format", "the format of the arithmetic, such as bf16")
	}
	runs := product(tiles, trips)
	switch in.Kind {
	case Load, Store:
		v.access(prog, s, p, in, tiles, runs, trips)
	case MatMul:
		ok := v.within(p.nth(matmulShape), "m", in.M, 1, MaxMatMul)
		ok = v.within(p.nth(matmulShape), "n", in.N, 1, MaxMatMul) && ok
		ok = v.within(p.nth(matmulShape), "k", in.K, 1, MaxMatMul) && ok
		if x := in.Pass; x != nil {
			v.key(p, "steps", x.Steps, 1, MaxSize)
			for _, list := range []struct {
				key   string
				words [3]int64
			}{{"registers", x.Registers}, {"network", x.Network}, {"scratch", x.Scratch}} {
				for _, n := range list.words {
					if v.key(p, list.key, n, 0, MaxSize) {
						s.work[instrMoved] = sum(s.work[instrMoved], product(product(n, max(in.Count, 1)), runs))
					}
				}
			}
		}
		if v.key(p, "count", in.Count, 0, MaxSize) && ok {
			flops := product(2*in.M*in.N*in.K, max(in.Count, 1))
			s.work[instrFlops] = sum(s.work[instrFlops], product(flops, runs))
		}
	case Vector, Special, Scratch:
		if v.within(p.nth(instrCount), "count", in.Count, 1, MaxSize) {
			w := &s.work[instrOps]
			if in.Kind == Scratch {
				w = &s.work[instrScratch]
			}
			*w = sum(*w, product(in.Count, runs))
		}
	}
}

// access checks a load or store.
func (v *validator) access(prog *Program, s *summary, p place, in *Instr, tiles, runs, trips int64) {
	if in.Slot < 0 || in.Slot >= len(prog.Slots) {
		v.fail(p.nth(1), fmt.Sprintf("there is no slot %d", in.Slot), fmt.Sprintf("the program has %d, counted from 0", len(prog.Slots)))
		return
	}
	ok := v.within(p.nth(accessShape), "rows", in.Rows, 1, MaxSize)
	ok = v.within(p.nth(accessShape), "cols", in.Cols, 1, MaxSize) && ok
	if ok {
		const widest = 8 // bytes of an element
		s.work[instrMoved] = sum(s.work[instrMoved], product(product(product(in.Rows, in.Cols), widest), runs))
	}
	if in.Share < 0 || in.Share > tiles {
		v.fail(p.with("share"), fmt.Sprintf("share is %d", in.Share), fmt.Sprintf("allowed are 0 to %d, the tile programs of the part", tiles))
	}
	grid := prog.Parts[p.part].Grid
	loop := &trips
	if prog.Parts[p.part].Code[p.step].Count == nil {
		loop = nil
	}
	rows, lastRow, rowOK := v.expr(p.with("row"), "row", &in.Row, grid, loop)
	cols, lastCol, colOK := v.expr(p.with("col"), "col", &in.Col, grid, loop)
	if !ok || !rowOK || !colOK || runs == 0 {
		return
	}
	if lastRow <= -in.Rows || lastCol <= -in.Cols {
		v.fail(p, "every region ends before the tensor starts", "regions overlap their tensor and are clipped at its edge")
	}
	r := &s.reach[in.Slot]
	if !r.used || rows > r.rows {
		r.rows, r.atRows = rows, p.with("row")
	}
	if !r.used || cols > r.cols {
		r.cols, r.atCols = cols, p.with("col")
	}
	r.used = true
	a := access{in.Slot, in.Kind == Store}
	if !slices.Contains(s.access, a) {
		s.access = append(s.access, a)
	}
}

// launches follows the tensors through the run.
func (v *validator) launches() {
	t := v.t
	var (
		written = make([]bool, len(t.Tensors))
		freed   = make([]int32, len(t.Tensors)) // launch that frees it, plus 1
		tiles   int64
		code    int64
		loops   int64
		work    [len(workWords)]int64
	)
	limit := func(p place, what string, total *int64, n, most int64) {
		before := *total
		if *total = sum(before, n); *total > most && before <= most {
			v.fail(p, fmt.Sprintf("more than %s %s up to here", amount(most), what), "that is the most of one trace")
		}
	}
	for i := range t.Launches {
		if v.full() {
			return
		}
		l, p := &t.Launches[i], place{kind: atLaunch, index: i}
		if l.Program < 0 || l.Program >= len(t.Programs) {
			v.fail(p.nth(launchTarget), fmt.Sprintf("there is no program %d", l.Program), fmt.Sprintf("the trace has %d, counted from 0", len(t.Programs)))
			continue
		}
		v.key(p, "at", l.At, 0, MaxClock)
		s := &v.progs[l.Program]
		v.launchLayer(p, l, s)
		if v.args(p, l, freed) {
			v.order(p, l, s, written)
		} else { // no errors that follow from this one
			for _, arg := range l.Args {
				if arg >= 0 && int(arg) < len(written) {
					written[arg] = true
				}
			}
		}
		for _, f := range l.Free {
			switch {
			case f < 0 || int(f) >= len(t.Tensors):
				v.noTensor(p.with("free"), "free", f)
			case freed[f] != 0:
				v.fail(p.with("free"), fmt.Sprintf("%s is freed again", v.tensorName(f)), fmt.Sprintf("launch %d freed it", freed[f]-1))
			default:
				freed[f] = int32(i) + 1
			}
		}
		limit(p, "tile programs", &tiles, s.tiles, MaxAllTiles)
		limit(p, "instructions as written", &code, s.code, MaxAllCode)
		limit(p, "loop iterations", &loops, s.iterations, MaxIterations)
		for k := range work {
			limit(p, workWords[k], &work[k], s.work[k], MaxWork)
		}
	}
}

func (v *validator) tensorName(tensor int32) string {
	return fmt.Sprintf("tensor %d (%s)", tensor, crop(v.t.Tensors[tensor].Name))
}

func (v *validator) noTensor(p place, key string, tensor int32) {
	v.fail(p, fmt.Sprintf("%s names tensor %d, which there is not", key, tensor), fmt.Sprintf("the trace has %d, counted from 0", len(v.t.Tensors)))
}

func (v *validator) launchLayer(p place, l *Launch, s *summary) {
	switch {
	case l.Layer < -1 || l.Layer >= v.t.Header.Layers && l.Layer != -1:
		v.fail(p.with("layer"), fmt.Sprintf("layer is %d", l.Layer), fmt.Sprintf("the run has %d layers, counted from 0", v.t.Header.Layers))
	case l.Layer == -1 && s.layered:
		v.fail(p, "no layer", `names of the program's operators hold "layer.*."`)
	}
}

// args checks the tensors of a launch.
func (v *validator) args(p place, l *Launch, freed []int32) bool {
	slots := v.t.Programs[l.Program].Slots
	if len(l.Args) != len(slots) {
		v.fail(p, fmt.Sprintf("%d tensors for %d slots", len(l.Args), len(slots)), "a launch names a tensor for each of "+list(slots))
		return false
	}
	ok := true
	for i, arg := range l.Args {
		switch {
		case arg < 0 || int(arg) >= len(v.t.Tensors):
			v.noTensor(p.with(slots[i]), "slot "+slots[i], arg)
			ok = false
		case freed[arg] != 0:
			v.fail(p.with(slots[i]), fmt.Sprintf("%s is used after it was freed", v.tensorName(arg)), fmt.Sprintf("launch %d freed it", freed[arg]-1))
			ok = false
		}
	}
	return ok
}

// order checks that what a launch reads was written, and that its regions
// start within their tensors.
func (v *validator) order(p place, l *Launch, s *summary, written []bool) {
	slots := v.t.Programs[l.Program].Slots
	for _, a := range s.access {
		arg := l.Args[a.slot]
		if a.store {
			written[arg] = true
			continue
		}
		if written[arg] || !producedInside[v.t.Tensors[arg].Role] {
			continue
		}
		written[arg] = true // one error is enough
		allowed := "no launch writes it"
		if later := v.writer(p.index, arg); later >= 0 {
			allowed = fmt.Sprintf("launch %d is the first to write it: the order of launches is wrong, or the dependencies form a cycle", later)
		}
		v.fail(p.with(slots[a.slot]), fmt.Sprintf("reads %s before it is written", v.tensorName(arg)), allowed)
	}
	for i := range s.reach {
		r, x := &s.reach[i], &v.t.Tensors[l.Args[i]]
		if !r.used {
			continue
		}
		if r.rows >= x.Rows {
			v.outside(p.with(slots[i]), l.Args[i], r.atRows, "row", r.rows, x.Rows)
		}
		if r.cols >= x.Cols {
			v.outside(p.with(slots[i]), l.Args[i], r.atCols, "column", r.cols, x.Cols)
		}
	}
}

// producedInside are the roles that only launches give contents to.
var producedInside = [len(roleWords)]bool{graph.Activation: true, graph.Output: true}

// writer finds the first launch from launch from on that stores to a tensor.
func (v *validator) writer(from int, tensor int32) int {
	for i := from; i < len(v.t.Launches); i++ {
		l := &v.t.Launches[i]
		if l.Program < 0 || l.Program >= len(v.progs) {
			continue
		}
		for _, a := range v.progs[l.Program].access {
			if a.store && a.slot < len(l.Args) && l.Args[a.slot] == tensor {
				return i
			}
		}
	}
	return -1
}

// outside reports a region that never touches its tensor.
func (v *validator) outside(p place, tensor int32, at place, what string, start, extent int64) {
	v.fail(p, fmt.Sprintf("every region of instruction %d in step %d of part %d starts at %s %d or beyond, but %s has %d",
		at.instr, at.step, at.part, what, start, v.tensorName(tensor), extent), "regions start within their tensor and are clipped at its edge")
}
