package validate

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"maru/arch"
	"maru/arch/dtype"
	"maru/studies/run"
	"maru/workloads/graph"
	"maru/workloads/plan"
)

// draft is the graph of a timed operation being built. Operators whose names
// start with "before." run ahead of it and are not measured.
type draft struct {
	g       *graph.Graph
	weights int64 // bytes of weights
	apart   bool  // no operators are fused
}

const before = "before."

func newDraft() *draft {
	return &draft{g: &graph.Graph{Name: "op", Tokens: 1, Unit: "op", Origin: "measurement"}}
}

func (d *draft) tensor(name string, dt dtype.Type, role graph.Role, shape ...int64) graph.TensorID {
	id := d.g.AddTensor(name, dt, role, -1, shape...)
	if role == graph.Weight {
		d.weights += d.g.Tensor(id).Bytes()
	}
	return id
}

func (d *draft) op(op graph.Op) {
	op.Layer, op.Origin = -1, "measurement"
	d.g.AddOp(op)
}

func ids(t ...graph.TensorID) []graph.TensorID { return t }

// input adds an operand. Where the harness says so, a kernel ahead of the
// measured ones has just written it.
func (d *draft) input(h *Harness, name string, dt dtype.Type, rows, cols int64) graph.TensorID {
	if h.Cache.State != "produced" {
		return d.tensor(name, dt, graph.Input, rows, cols)
	}
	from := d.tensor(before+name, dt, graph.Input, rows, cols)
	to := d.tensor(name, dt, graph.Activation, rows, cols)
	arith := dt
	if arith.Bits() < 16 {
		arith = dtype.FP32
	}
	d.op(graph.Op{Name: before + name, Kind: graph.Elementwise, Fn: "scale", Rows: rows, Cols: cols, In: ids(from), Out: ids(to), DType: arith})
	return to
}

// setup adds the kernels ahead of an operation that prepare little for it: n
// rows of four numbers.
func (d *draft) setup(h *Harness, n int64) {
	if h.Setup == 0 {
		return
	}
	lengths := d.tensor("lengths", dtype.Int32, graph.Input, n, 4)
	for i := range h.Setup {
		name := fmt.Sprintf("setup.%d", i)
		next := d.tensor(name+".out", dtype.Int32, graph.Output, n, 4)
		d.op(graph.Op{Name: name, Kind: graph.Permute, Fn: "transpose", Rows: n, Cols: 4, DType: dtype.Int32, In: ids(lengths), Out: ids(next)})
	}
}

// quantized adds the conversion of an operand to a narrow format.
func (d *draft) quantized(name string, x graph.TensorID, to dtype.Type) graph.TensorID {
	t := d.g.Tensor(x)
	rows, cols, from := t.Rows(), t.Cols(), t.DType
	y := d.tensor(name+".out", to, graph.Activation, rows, cols)
	d.op(graph.Op{Name: name, Kind: graph.Quantize, Fn: "dynamic", Rows: rows, Cols: cols, In: ids(x), Out: ids(y), DType: from})
	return y
}

// operation makes a job of a single operation.
func (v *validation) operation(h *Harness, c *chip, d *draft, p plan.Plan) job {
	p.Phase, p.Batch, p.Seq = plan.Forward, 1, 1
	p.Fuse = !h.Unfused && !d.apart
	if p.KVDType == 0 {
		p.KVDType = p.DType
	}
	return v.timed(h, c, d, p, func(op string) bool { return !strings.HasPrefix(op, before) })
}

// timed makes a job of a graph, some of whose operators are measured.
// Simulations are equal if their graphs print the same.
func (v *validation) timed(h *Harness, c *chip, d *draft, p plan.Plan, timed func(op string) bool) job {
	on := h.capped(c.Chip)
	p.Profile = h.profile(on)
	if v.opt.Library != "" {
		p.Profile = v.opt.Library
	}
	p.Cache = h.residency(on, d.weights, d.g.Footprint().Total())
	p.Launch, p.Data = h.launch(), h.Data
	p.Replays = h.replays(on, d.weights)
	var key strings.Builder
	fmt.Fprintf(&key, "%s %s %+v\n", c.Name, h.Name, p)
	if err := d.g.Print(&key); err != nil {
		panic(err) // a builder takes every byte
	}
	hash := sha256.Sum256([]byte(key.String()))
	return job{
		key:      string(hash[:]),
		weight:   float64(d.g.Flops()) + float64(d.g.ReadBytes()),
		simulate: func() (*run.Brief, error) { return run.Short(on, d.g, p) },
		read:     func(b *run.Brief) prediction { return h.read(b, d.g, on, timed) },
	}
}

// capped is a chip under the power cap of the board that was measured.
func (h *Harness) capped(c *arch.Chip) *arch.Chip {
	if !h.Cap.IsSet() || c.Power == nil {
		return c
	}
	own, power := *c, *c.Power
	power.Cap = h.Cap
	own.Power = &power
	return &own
}

// launch is how a plan launches kernels.
func (h *Harness) launch() string {
	if h.called() {
		return "stream"
	}
	return "graph"
}

// read is what the harness would read from its clock of a run, in us, and the
// bound and the work of what it measures.
func (h *Harness) read(b *run.Brief, g *graph.Graph, c *arch.Chip, timed func(op string) bool) prediction {
	var p prediction
	all := true
	for i := range g.Ops {
		o := &g.Ops[i]
		if !timed(o.Name) {
			all = false
			continue
		}
		p.flops += float64(o.Flops())
		p.bytes += float64(o.ReadBytes(g) + o.WriteBytes(g))
	}
	p.bound = b.Bounds.Total.PS / 1e6
	if !all {
		p.bound = 0
		for name, o := range b.Bounds.Ops {
			if timed(name) {
				p.bound += o.PS / 1e6
			}
		}
	}
	var host, chip float64 // ps: when the host issues the next call, when the chip is free
	call := float64(h.Host.Call.Value)
	issue := call
	if h.Host.Issue.IsSet() {
		issue = float64(h.Host.Issue.Value)
	}
	last, loaded, end := "", "", int64(0)
	for i := range b.Result.Timeline.Kernels {
		k := &b.Result.Timeline.Kernels[i]
		gap := float64(k.StartPS - end)
		code := h.Code
		if k.Op == loaded { // adds partial sums, in a few instructions
			code = min(code, 1)
		}
		work := float64(k.EndPS-k.StartPS) + float64(float64(code)*float64(c.Memory.DRAM.Latency.Value))
		loaded, end = k.Op, k.EndPS
		if !timed(k.Op) {
			continue
		}
		switch h.Launch {
		case "graph":
			chip += gap + work
		case "none":
			chip += work + float64(h.Clock.Kernel.Value)
		case "eager":
			// The kernels of one operator are issued by one call, one behind
			// the other.
			switch {
			case last == "":
				host = call
			case k.Op != last:
				host += issue
			}
			chip = max(chip+gap, host)
			if last == "" {
				chip = host
			}
			chip += work
			last = k.Op
		case "queued":
			if last == "" {
				host = call
			} else if k.Op != last {
				host += issue
			}
			chip += gap + work
			last = k.Op
		}
	}
	if h.Launch == "queued" {
		chip = max(chip, host)
	}
	if h.Host.Whole.IsSet() {
		// The host asks for the time at the end after it has issued the last call.
		chip = max(chip, host+float64(h.Host.Whole.Value)-call)
	}
	p.us = chip / 1e6
	if h.Clock.Step.IsSet() {
		step := float64(h.Clock.Step.Value) / 1e6
		n := float64(int64(p.us/step + 0.5))
		p.us = max(n, 1) * step
	}
	return p
}
