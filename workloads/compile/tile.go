package compile

import (
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"maru/arch/dtype"
	"maru/workloads/graph"
	"maru/workloads/trace"
)

// view is where a tensor without storage of its own lies: in columns of the
// result of a merged product.
type view struct {
	name  string // of the storage
	col   int64  // first column
	width int64  // columns of the storage
}

// operand is a tensor as programs address it: rows x cols elements in columns
// col to col+cols of a storage width columns wide.
type operand struct {
	storage    int32
	rows, cols int64
	col, width int64
	dt         dtype.Type
	role       graph.Role
	home       trace.Home
}

func (o *operand) elements() int64 { return o.rows * o.cols }

// folded is the two-dimensional form of a tensor: leading dimensions become
// rows; a filter and what belongs to it is one row for each output channel.
func folded(t *graph.Tensor) (rows, cols int64) {
	if len(t.Shape) == 4 && (t.Role == graph.Weight || t.Role == graph.Gradient || t.Role == graph.State) {
		return t.Shape[0], t.Shape[1] * t.Shape[2] * t.Shape[3]
	}
	return t.Rows(), t.Cols()
}

// store gives every tensor that an operator touches its storage.
func (m *module) store() {
	g := m.g
	used := make([]bool, len(g.Tensors))
	for i := range g.Ops {
		for _, id := range g.Ops[i].In {
			used[id] = true
		}
		for _, id := range g.Ops[i].Out {
			used[id] = true
		}
	}
	m.where = make([]operand, len(g.Tensors))
	m.storage = make([]trace.Tensor, 0, len(g.Tensors))
	shared := map[string]int32{}
	for i := range g.Tensors {
		if !used[i] {
			continue
		}
		t := &g.Tensors[i]
		rows, cols := folded(t)
		o := operand{rows: rows, cols: cols, width: cols, dt: t.DType, role: t.Role}
		s := trace.Tensor{Name: t.Name, Rows: rows, Cols: cols, DType: t.DType, Role: t.Role, Layer: t.Layer}
		if v, ok := m.views[t.ID]; ok {
			o.col, o.width = v.col, v.width
			s.Name, s.Cols = v.name, v.width
			if at, ok := shared[v.name]; ok {
				o.storage = at
				m.where[i] = o
				continue
			}
			shared[v.name] = int32(len(m.storage))
		}
		o.storage = int32(len(m.storage))
		m.storage = append(m.storage, s)
		m.where[i] = o
	}
	m.settle()
	for i := range m.where {
		if used[i] {
			m.where[i].home = m.storage[m.where[i].storage].Home
		}
	}
}

// lowered is the programs that an operator became, for all operators that are
// alike but for their layer.
type lowered struct {
	launches []planned
	work     []trace.Tensor // buffers between its launches; named after the operator
}

// planned is a launch of a program; args index the operator's inputs, then its
// outputs, then the buffers.
type planned struct {
	program int
	args    []int
}

// tile chooses programs for every operator.
func tile(m *module) error {
	m.store()
	known := map[string]*lowered{}
	searched := &searches{gemm: map[string]gemmTile{}}
	var key []byte
	for i := range m.g.Ops {
		o := &m.g.Ops[i]
		key = m.signature(key[:0], o)
		l, ok := known[string(key)]
		if !ok {
			var err error
			if l, err = m.lower(o, searched); err != nil {
				return fmt.Errorf("%s: %w", o.Name, err)
			}
			known[string(key)] = l
		}
		m.launch(o, l)
	}
	return nil
}

// launch appends the launches of an operator.
func (m *module) launch(o *graph.Op, l *lowered) {
	first := int32(len(m.storage))
	for _, w := range l.work {
		w.Name = o.Name + w.Name
		w.Layer = o.Layer
		w.Home = m.target.home
		m.storage = append(m.storage, w)
	}
	for i := range l.launches {
		p := &l.launches[i]
		args := make([]int32, len(p.args))
		for j, a := range p.args {
			switch n := len(o.In); {
			case a < n:
				args[j] = m.where[o.In[a]].storage
			case a < n+len(o.Out):
				args[j] = m.where[o.Out[a-n]].storage
			default:
				args[j] = first + int32(a-n-len(o.Out))
			}
		}
		m.launches = append(m.launches, trace.Launch{Program: p.program, Layer: o.Layer, Args: args})
		m.origin = append(m.origin, o.ID)
	}
}

// signature appends what the programs of an operator depend on: everything but
// its layer.
func (m *module) signature(b []byte, o *graph.Op) []byte {
	num := func(v ...int64) {
		for _, x := range v {
			b = binary.AppendVarint(b, x)
		}
	}
	text := func(s string) {
		num(int64(len(s)))
		b = append(b, s...)
	}
	text(general(o.Name, o.Layer))
	text(o.Fn)
	layered := int64(0)
	if o.Layer >= 0 {
		layered = 1
	}
	num(layered, int64(o.Kind), int64(o.DType), o.Rows, o.Cols, o.Window)
	if d := o.MatMul; d != nil {
		num(d.Batch, d.M, d.N, d.K, d.Groups)
		num(d.GroupRows...)
	}
	if d := o.Attention; d != nil {
		num(d.Batch, d.Heads, d.KVHeads, d.HeadDim, d.ValueDim, d.SeqQ, d.SeqKV, d.Window, bit(d.Causal), bit(d.Backward))
	}
	if d := o.Conv; d != nil {
		num(d.N, d.C, d.H, d.W, d.K, d.R, d.S, d.StrideH, d.StrideW, d.PadH, d.PadW, d.Groups)
	}
	num(int64(len(o.Fused)))
	for i := range o.Fused {
		f := &o.Fused[i]
		text(general(f.Name, o.Layer))
		text(f.Fn)
		num(int64(f.Kind), f.Rows, f.Cols, bit(f.Pre))
	}
	num(int64(len(o.In)), int64(len(o.Out)))
	n := len(o.In) + len(o.Out)
	for i := range n {
		w := m.operandOf(o, i)
		same := i // the first operand in the same storage
		for j := range i {
			if m.operandOf(o, j).storage == w.storage {
				same = j
				break
			}
		}
		num(w.rows, w.cols, w.col, w.width, int64(w.dt), int64(w.role), int64(w.home), int64(same))
	}
	return b
}

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// operandOf is input i, or output i less the inputs.
func (m *module) operandOf(o *graph.Op, i int) *operand {
	if i < len(o.In) {
		return &m.where[o.In[i]]
	}
	return &m.where[o.Out[i-len(o.In)]]
}

// general replaces the layer in a name by "*". An operator outside the layers
// that took in one from a layer names it without.
func general(name string, layer int) string {
	rest, ok := strings.CutPrefix(name, "layer.")
	if !ok {
		return name
	}
	dot := strings.IndexByte(rest, '.')
	switch {
	case dot < 0:
		return name
	case layer < 0:
		return rest[dot+1:]
	}
	return "layer.*" + rest[dot:]
}

// lower makes the programs of one operator.
func (m *module) lower(o *graph.Op, s *searches) (*lowered, error) {
	c := &coder{m: m, t: m.target, o: o, out: &lowered{}, searches: s}
	for _, id := range o.In {
		c.operands = append(c.operands, m.where[id])
	}
	for _, id := range o.Out {
		c.operands = append(c.operands, m.where[id])
	}
	var err error
	switch {
	case o.Kind == graph.MatMul:
		err = c.matmul()
	case o.Kind == graph.Attention:
		err = c.attention()
	case o.Kind == graph.Conv:
		err = c.conv()
	default:
		err = c.pointwise()
	}
	return c.out, err
}

// verifyTiles holds programs to the capacities of a core.
func verifyTiles(m *module) error {
	for i := range m.programs {
		p, t := &m.programs[i], m.target
		if p.Embedding {
			t = t.gatherer
		}
		if p.Scratch > t.scratchGroup {
			return fmt.Errorf("program %s takes %d bytes of scratchpad, a tile program may have %d", p.Name, p.Scratch, t.scratchGroup)
		}
		if t.resident(p.Threads, p.Registers, p.Scratch) < 1 {
			return fmt.Errorf("program %s does not fit a core: %d threads, %d registers, %d bytes", p.Name, p.Threads, p.Registers, p.Scratch)
		}
	}
	return nil
}

func printTiles(m *module, w io.Writer) error {
	for i := range m.programs {
		p := &m.programs[i]
		tiles := int64(0)
		for j := range p.Parts {
			tiles += p.Parts[j].Tiles()
		}
		expected := ""
		if clocks, ok := m.estimates[i]; ok {
			expected = fmt.Sprintf("; about %.2f us", clocks/m.target.hertz*1e6)
		}
		if _, err := fmt.Fprintf(w, "program %d %s for %s: %d tile programs, %d threads, %d registers, %d B scratch, %d on a core%s\n",
			i, p.Name, p.Ops[0].Name, tiles, p.Threads, p.Registers, p.Scratch, m.target.resident(p.Threads, p.Registers, p.Scratch), expected); err != nil {
			return err
		}
	}
	return nil
}
