// Package run is one run from names to result: it loads the chip, builds the
// model's graph, compiles it, replays the trace and sets the outcome against
// its bound. Sweeps, comparisons and the command line all go through it.
// Floor 4.
package run

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"maru/arch"
	"maru/arch/dtype"
	"maru/internal/config"
	"maru/sim/bound"
	"maru/sim/cycle"
	"maru/sim/machine"
	"maru/sim/result"
	"maru/workloads/compile"
	"maru/workloads/graph"
	"maru/workloads/model"
	"maru/workloads/plan"
	"maru/workloads/trace"
)

// Version of the program, as results carry it.
const Version = "0.1.0"

// Input names everything a run needs; zero values mean defaults.
type Input struct {
	Chip string   // name or file
	Sets []string // "PATH=VALUE" changes to the chip

	Partition string // run on an instance of this partition, or of that with so many; default: the whole chip
	Shared    bool   // the instance shares all but its cores with the tenants
	Tenants   int64  // instances at work; default: as many as there are

	Model     string   // name or file; exactly one of Model and Op
	ModelSets []string // "PATH=VALUE" changes to the model
	Op        string   // a single operator, "gemm:m=4096,n=4096,k=4096"

	Phase      string // default: prefill for decoders, forward otherwise
	Batch, Seq int64  // default 1; 2048, or what the model is built for
	DType      string // default: the chip's preferred format
	KVDType    string // default: DType, or 16 bits where that is narrower
	Layers     int    // 0: all
	NoFuse     bool
	Profile    string // default: the chip's
	Cache      string // default cold
	Launch     string // default graph
	Data       string // default random
	Weights    string // memory that weights lie in; default as [plan.Plan] has it

	PrintAfter []string  // passes whose outcome is printed
	PrintTo    io.Writer // where to
}

// Compiled is a program ready to run.
type Compiled struct {
	Chip     *arch.Chip
	Doc      *config.Doc
	Graph    *graph.Graph
	Plan     plan.Plan
	Trace    *trace.Trace
	Warnings []string

	Partition result.Partition // the instance that Chip is, if any; for Options
}

// defaultSeq is the length of a prompt, or of the context of a decode step,
// when none is given.
const defaultSeq = 2048

// Length is the sequence length when none is given: the default, or the
// longest that the model takes if that is less.
func Length(m *model.Model) int64 {
	switch {
	case m.Decoder != nil:
		return min(defaultSeq, m.Decoder.MaxPositions)
	case m.Encoder != nil:
		return min(defaultSeq, m.Encoder.MaxPositions)
	case m.Seq2Seq != nil:
		return min(defaultSeq, m.Seq2Seq.MaxPositions)
	case m.Speech != nil:
		return min(defaultSeq, m.Speech.MaxPositions)
	}
	return 1
}

// plan turns the input's words into a plan for a chip; the phase and lengths
// that depend on the model are left to it.
func (in *Input) plan(chip *arch.Chip) (p plan.Plan, err error) {
	p = plan.Plan{
		Batch: in.Batch, Seq: in.Seq, Layers: in.Layers, Fuse: !in.NoFuse,
		Profile: in.Profile, Cache: in.Cache, Launch: in.Launch, Data: in.Data, Weights: in.Weights, DType: chip.Preferred,
	}
	if in.Batch < 0 {
		return p, fmt.Errorf("batch %d: must be at least 1", in.Batch)
	}
	if in.Seq < 0 {
		return p, fmt.Errorf("seq %d: must be at least 1", in.Seq)
	}
	if in.Layers < 0 {
		return p, fmt.Errorf("layers %d: must be at least 1, or 0 for all", in.Layers)
	}
	if p.Batch == 0 {
		p.Batch = 1
	}
	if p.Profile == "" {
		p.Profile = chip.Profile
	}
	if p.Cache == "" {
		p.Cache = "cold"
	}
	if p.Launch == "" {
		p.Launch = "graph"
	}
	if p.Data == "" {
		p.Data = "random"
	}
	if !slices.Contains(plan.DataNames(), p.Data) {
		return p, fmt.Errorf("unknown data %q; allowed: %s", p.Data, strings.Join(plan.DataNames(), ", "))
	}
	if in.DType != "" {
		if p.DType, err = dtype.Parse(in.DType); err != nil {
			return p, err
		}
	}
	p.Wide = Wide(chip, p.DType)
	p.KVDType = p.DType
	if p.DType.Bits() < 16 && !p.DType.IsFloat() {
		p.KVDType = dtype.FP16
	} else if p.DType.Bits() < 8 {
		p.KVDType = dtype.FP8
	}
	if in.KVDType != "" {
		if p.KVDType, err = dtype.Parse(in.KVDType); err != nil {
			return p, err
		}
	}
	return p, nil
}

// Instance is the part of a loaded chip that the input asks for: all of it, or an
// instance of a partition.
func (in *Input) Instance(chip *arch.Chip, doc *config.Doc) (*arch.Chip, *config.Doc, result.Partition, error) {
	if in.Partition == "" {
		if in.Shared || in.Tenants > 0 {
			return nil, nil, result.Partition{}, fmt.Errorf("neighbours, but no partition: the whole chip has none; give a partition")
		}
		return chip, doc, result.Partition{}, nil
	}
	p, err := chip.Partition(in.Partition)
	if err != nil {
		return nil, nil, result.Partition{}, err
	}
	tenants := in.Tenants
	if tenants == 0 {
		tenants = p.Instances
	}
	if tenants > p.Instances {
		return nil, nil, result.Partition{}, fmt.Errorf("%d neighbours: %s has %d instances of %s, so at most %d", tenants-1, chip.Name, p.Instances, p.Name, p.Instances-1)
	}
	n, d, err := arch.Instance(chip, doc, p, in.Shared, tenants)
	if err != nil {
		return nil, nil, result.Partition{}, err
	}
	return n, d, result.Partition{Name: p.Name, Instances: p.Instances, Tenants: tenants, Shared: in.Shared, Cores: p.Cores}, nil
}

// Compile loads, builds and compiles. Errors are the user's to mend: bad
// files and names, a model that does not fit, an operator that no tile fits.
func Compile(in Input) (*Compiled, error) {
	if (in.Model == "") == (in.Op == "") {
		return nil, fmt.Errorf("give a model or an operator, and not both")
	}
	chip, doc, err := arch.Load(in.Chip, in.Sets)
	if err != nil {
		return nil, err
	}
	return (*Session)(nil).compile(chip, doc, in)
}

// compile is Compile for a chip that is loaded already.
func (s *Session) compile(chip *arch.Chip, doc *config.Doc, in Input) (*Compiled, error) {
	chip, doc, part, err := in.Instance(chip, doc)
	if err != nil {
		return nil, err
	}
	p, err := in.plan(chip)
	if err != nil {
		return nil, err
	}
	c := &Compiled{Chip: chip, Doc: doc, Partition: part}
	if in.Op != "" {
		p.Phase = plan.Forward
		if in.Phase != "" {
			if p.Phase, err = plan.ParsePhase(in.Phase); err != nil {
				return nil, err
			}
		}
		if p.Seq == 0 {
			p.Seq = 1
		}
		if c.Graph, err = s.graph(in, p, func() (*graph.Graph, error) { return model.ParseOp(in.Op, p) }); err != nil {
			return nil, err
		}
	} else {
		m, err := s.model(in)
		if err != nil {
			return nil, err
		}
		p.Phase = plan.Forward
		if m.Decoder != nil {
			p.Phase = plan.Prefill
		}
		if in.Phase != "" {
			if p.Phase, err = plan.ParsePhase(in.Phase); err != nil {
				return nil, err
			}
		}
		if p.Seq == 0 {
			p.Seq = Length(m)
		}
		if c.Graph, err = s.graph(in, p, func() (*graph.Graph, error) { return model.Build(m, p) }); err != nil {
			return nil, err
		}
	}
	c.Plan = p
	c.Warnings = append(c.Warnings, c.Graph.Warnings...)
	tr, warnings, err := compile.Compile(c.Graph, p, chip, compile.Options{PrintAfter: in.PrintAfter, Out: in.PrintTo, Shared: s.shared(c.Graph)})
	if err != nil {
		return nil, err
	}
	for _, w := range warnings {
		c.Warnings = append(c.Warnings, w.String())
	}
	c.Trace = tr
	return c, nil
}

// Options of a simulation.
type Options struct {
	Exact bool // simulate every repeated layer
	NoCap bool // ignore the power cap
	Brief bool // leave out elasticity and the spread of estimates
	Plain bool // leave out elasticity alone
	Jobs  int  // simulations at once; 0 is 1

	Partition result.Partition // the instance that the chip is, as Compile says
	Jitter    *machine.Jitter  // what differs from run to run; nil for nothing
}

// Wide is the format of what stays wide in a run in a narrow format: one of 16
// bits in which the chip multiplies, or, if there is none, the narrow one.
func Wide(chip *arch.Chip, dt dtype.Type) dtype.Type {
	for _, w := range [...]dtype.Type{dtype.BF16, dtype.FP16} {
		if chip.Supports(w) {
			return w
		}
	}
	if len(chip.MatrixTypes()) == 0 {
		return dtype.BF16
	}
	return dt
}

// Simulate replays a trace on a chip described by doc and completes the
// result. Equal chips and traces give equal results.
func Simulate(chip *arch.Chip, doc *config.Doc, tr *trace.Trace, opt Options) (*result.Result, error) {
	if err := tr.Validate(); err != nil {
		return nil, err
	}
	if err := scheduled(chip, tr); err != nil {
		return nil, err
	}
	clocks := make([]float64, len(tr.Launches))
	records := &machine.Records{}
	mo := machine.Options{Exact: opt.Exact, NoCap: opt.NoCap, Timeline: true, Clocks: clocks, Jitter: opt.Jitter}
	if !opt.Brief {
		mo.Records = records
	}
	res, b, err := replay(chip, tr, mo, opt.Jobs)
	if err != nil {
		return nil, err
	}
	res.Hash = hash(doc, tr)
	set(res, b, chip, tr, opt.Partition)
	res.Roofline = roofline(chip, tr)
	for _, f := range chip.Figures() {
		if !arch.RestsOn(f.Path, opt.Jitter != nil, tr.Header.Memory.External > 0) {
			continue
		}
		res.Estimate.Figures++
		if f.Estimate {
			res.Estimate.Estimated++
			res.Estimate.Names = append(res.Estimate.Names, f.Path)
		}
	}
	if res.Estimate.Figures > 0 {
		res.Estimate.Share = float64(res.Estimate.Estimated) / float64(res.Estimate.Figures)
	}
	res.Estimate.Mostly = 2*res.Estimate.Estimated > res.Estimate.Figures
	res.Estimate.LowUS, res.Estimate.HighUS = res.LatencyUS, res.LatencyUS
	if opt.Brief {
		return res, nil
	}
	if err := variants(res, clocks, records, chip, doc, tr, opt); err != nil {
		return nil, err
	}
	return res, nil
}

// scheduled checks the clocks of a trace whose every instruction has one.
func scheduled(chip *arch.Chip, tr *trace.Trace) error {
	if chip.Discipline != arch.Static {
		return nil
	}
	wrong, _, err := cycle.Check(chip, tr)
	if err == nil && len(wrong) > 0 {
		err = fmt.Errorf("the schedule of the trace does not hold on %s: %w; compile the model for this chip", chip.Name, wrong[0])
	}
	return err
}

// replay replays a trace and bounds it.
func replay(chip *arch.Chip, tr *trace.Trace, mo machine.Options, jobs int) (res *result.Result, b *bound.Bounds, err error) {
	err = Parallel(2, jobs, func(i int) (err error) {
		if i == 0 {
			res, err = machine.Replay(chip, tr, mo)
			return err
		}
		b = bound.Of(chip, tr)
		return nil
	})
	return res, b, err
}

// set completes a result with what does not follow from the replay alone: the
// program, the instance, and how it stands against its bounds and the chip's peak.
func set(res *result.Result, b *bound.Bounds, chip *arch.Chip, tr *trace.Trace, part result.Partition) {
	res.Program = "maru " + Version
	if res.Partition = part; res.Partition.Tenants > 0 {
		res.Partition.TokensPerS = float64(float64(res.Partition.Tenants) * res.TokensPerS)
	}
	res.BoundUS, res.BoundBy = b.Total.PS/1e6, b.Total.By
	peak := float64(chip.PeakAtSpec(tr.Header.DType))
	if peak > 0 && res.LatencyPS > 0 {
		res.MFU = float64(res.Flops) / (float64(res.LatencyPS) / 1e12) / peak
	}
	for i := range res.Ops {
		o := &res.Ops[i]
		ob := b.Ops[o.Name]
		o.BoundUS, o.BoundBy = ob.PS/1e6, ob.By
		if peak > 0 && o.LatencyPS > 0 {
			o.MatrixUtil = float64(o.Flops) / (float64(o.LatencyPS) / 1e12) / peak
		}
	}
}

// hash names the input: the resolved chip and the canonical trace.
func hash(doc *config.Doc, tr *trace.Trace) string {
	h := sha256.New()
	h.Write(doc.YAML())
	t := trace.Hash(tr)
	h.Write(t[:])
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// roofline is what the operators are drawn against: the peaks at the
// specified clock.
func roofline(chip *arch.Chip, tr *trace.Trace) result.Roofline {
	hz := chip.Clock.Spec.Value
	var out result.Roofline
	d := tr.Header.DType
	if chip.Supports(d) {
		out.Ceilings = append(out.Ceilings, result.Ceiling{Name: "matrix " + d.String(), FlopsPerS: float64(chip.PeakFlops(d, hz))})
	}
	out.Ceilings = append(out.Ceilings, result.Ceiling{Name: "vector fp32", FlopsPerS: float64(chip.VectorPeak(dtype.FP32, hz))})
	if chip.HasDRAM() {
		out.Slopes = append(out.Slopes, result.Slope{Name: "dram", BytesPerS: float64(chip.Memory.DRAM.Bandwidth.Value)})
	}
	if chip.Memory.Shared != nil {
		out.Slopes = append(out.Slopes, result.Slope{Name: "shared", BytesPerS: float64(chip.SharedBandwidth(hz))})
	}
	if chip.Memory.L2 != nil {
		out.Slopes = append(out.Slopes, result.Slope{Name: "l2", BytesPerS: float64(chip.L2Bandwidth(hz))})
	}
	out.Slopes = append(out.Slopes, result.Slope{Name: "scratchpad", BytesPerS: float64(chip.ScratchpadBandwidth(hz))})
	return out
}

// Parallel runs n tasks, jobs at a time; each writes its own place, so the
// outcome does not depend on their order. A panic in a task becomes one of the
// caller, who may be prepared for it.
func Parallel(n, jobs int, task func(i int) error) error {
	errs := make([]error, n)
	panics := make([]any, n)
	sem := make(chan struct{}, max(1, jobs))
	var wg sync.WaitGroup
	for i := range n {
		wg.Add(1)
		sem <- struct{}{}
		go func() {
			defer wg.Done()
			defer func() {
				panics[i] = recover()
				<-sem
			}()
			errs[i] = task(i)
		}()
	}
	wg.Wait()
	for _, p := range panics {
		if p != nil {
			panic(p)
		}
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
