// Package parallel runs a model on the chips of a system: in training or in inference, spread by a plan. A chip's share of
// a layer is compiled and replayed on the chip, communication is timed on the links, and the stages of the pipeline are
// simulated with both on one clock.
//
// Modelled: tensor, sequence, pipeline, data, expert and context parallelism, ZeRO, recomputation, accumulation of
// gradients, overlap of communication with computing and the cores that it takes meanwhile, links that several groups and
// kinds of communication share, uneven chips, the optimizer's step, memory with what an allocator loses. What is provably
// alike is simulated once. Not modelled: speeds that vary with time, input pipelines, checkpoints. Floor 4.
package parallel

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"

	"maru/arch"
	"maru/arch/dtype"
	"maru/arch/system"
	"maru/internal/config"
	"maru/sim/fabric"
	"maru/sim/result"
	"maru/studies/run"
	"maru/workloads/model"
	"maru/workloads/plan"
)

// Input says what to run.
type Input struct {
	System   string   // name or file
	Sets     []string // "PATH=VALUE" changes to the system
	ChipSets []string // and to its chips
	Chips    int      // 0: as many as the plan's degrees multiply to, or all
	Shape    []int    // of a torus or mesh; empty for the system's choice
	Ranks    []int    // chips, of these, that the ranks of a plan of part of them are on, in their order; empty for all
	Model    string   // name or file
	Phase    string   // default train
	Batch    int64    // sequences of all replicas; default one microbatch for each
	Seq      int64    // default 2048
	DType    string   // default: the chip's preferred format
	KVDType  string   // default: DType, or that of activations where it is narrower
	Unfolded bool     // simulate every replica
	Jobs     int      // of a search, plans at once; default 1
	Plan     plan.Parallel

	Cache     *Cache           // of others' runs; nil for a new one
	Described *model.Model     // in place of Model
	Training  *system.Training // in place of the system's section
}

// Session holds what runs of different plans have in common. It is not safe for concurrent use.
type Session struct {
	sys     *system.System
	sysDoc  *config.Doc
	chip    *arch.Chip
	chipDoc *config.Doc
	model   *model.Model
	dec     *model.Decoder // the model's, or a stand-in of one layer for a model that each chip runs whole
	in      Input
	nets    map[string]*fabric.Net
	cache   *Cache
}

// New loads system, chip and model. The error is the user's to mend.
func New(in Input) (*Session, error) {
	s := &Session{in: in, nets: map[string]*fabric.Net{}, cache: in.Cache}
	if s.cache == nil {
		s.cache = NewCache()
	}
	var err error
	if s.sys, s.sysDoc, err = system.Load(in.System, in.Sets); err != nil {
		return nil, err
	}
	if s.chip, s.chipDoc, err = arch.Load(s.sys.Chip, in.ChipSets); err != nil {
		return nil, err
	}
	if s.model = in.Described; s.model == nil {
		if s.model, err = model.Load(in.Model); err != nil {
			return nil, err
		}
	}
	if in.Training != nil {
		s.sys.Training = in.Training
	}
	if s.dec = s.model.Decoder; s.dec == nil {
		s.dec = &model.Decoder{Blocks: model.Blocks{Layers: 1, Heads: 1, Inter: 1}, MaxPositions: math.MaxInt64}
	}
	return s, nil
}

// whole tells whether each chip runs all of the model: decoders are spread in every way, other models share the batch.
func (s *Session) whole() bool { return s.model.Decoder == nil }

// checkWhole refuses plans that cut a model which is run whole.
func (s *Session) checkWhole(par *plan.Parallel) error {
	for _, x := range []struct {
		name string
		n    int64
	}{{"tp", par.Tensor}, {"pp", par.Pipeline}, {"cp", par.Context}, {"ep", par.Expert}, {"interleave", par.Interleave}} {
		if x.n > 1 {
			return fmt.Errorf("%s: %s %d; only decoders are cut into parts; allowed: dp, with zero up to 2", s.model.Name, x.name, x.n)
		}
	}
	if par.Zero > 2 || par.Sequence || par.Recompute != "" && par.Recompute != "none" {
		return fmt.Errorf("%s: zero 3, sp and recompute are of a decoder's layers; allowed: dp, with zero up to 2", s.model.Name)
	}
	return nil
}

// Run runs the input's plan.
func Run(in Input) (*result.Parallel, error) {
	s, err := New(in)
	if err != nil {
		return nil, err
	}
	return s.Run(in)
}

// System, Chip and Model are what the session loaded; they must not be changed.
func (s *Session) System() *system.System { return s.sys }
func (s *Session) Chip() *arch.Chip       { return s.chip }
func (s *Session) Model() *model.Model    { return s.model }

// Net is the links of a part of the system. The error says which parts there are.
func (s *Session) Net(chips int, shape []int) (*fabric.Net, error) { return s.net(chips, 1, shape) }

// net is the links of as many chips. Of a torus whose shape is not given it is a block whose last axes the first chips fill,
// which share layers, if there is one.
func (s *Session) net(chips, inner int, shape []int) (*fabric.Net, error) {
	if len(shape) == 0 {
		shape = s.sys.Turned(chips, inner)
	}
	key := fmt.Sprint(chips, shape)
	if net, ok := s.nets[key]; ok {
		return net, nil
	}
	slice, err := s.sys.Slice(chips, shape)
	if err != nil {
		return nil, err
	}
	s.nets[key] = fabric.New(slice)
	return s.nets[key], nil
}

// resolve turns the input into a plan for one chip and one for all.
func (s *Session) resolve(in Input) (p plan.Plan, par plan.Parallel, z plan.Sizes, err error) {
	par = in.Plan
	if s.whole() {
		if err = s.checkWhole(&par); err != nil {
			return p, par, z, err
		}
		par.Tensor, par.Pipeline, par.Context, par.Recompute = 1, 1, 1, "none"
	}
	if p, err = s.pass(in); err != nil {
		return p, par, z, err
	}
	train := p.Phase == plan.Train
	each := max(1, par.Tensor) * max(1, par.Pipeline) * max(1, par.Context) // chips of a replica
	chips := s.chips(in, each)
	batch := in.Batch
	if batch == 0 {
		batch = max(1, cmp.Or(par.Data, chips/each)) * max(1, par.Microbatch)
	}
	z = s.sizes(chips, batch, p.Seq, train)
	t := s.sys.Training
	if t == nil || !train {
		t = &system.Training{Attention: "flash", Grads: "fp16", Overlap: []string{"none"}}
	}
	par.Attention, par.Grads = cmp.Or(par.Attention, t.Attention), cmp.Or(par.Grads, t.Grads)
	if len(par.Overlap) == 0 {
		par.Overlap = t.Overlap
	}
	if !train {
		par.Attention, par.Recompute, par.Interleave, par.Schedule = "flash", "none", 1, ""
	}
	if s.whole() && par.Microbatch == 0 {
		par.Microbatch = max(1, batch/max(1, par.Data, chips))
	}
	if err = par.Resolve(z); err != nil {
		return p, par, z, err
	}
	if !train && batch%par.Data == 0 && in.Plan.Microbatch == 0 {
		// As many microbatches as there are stages, if the batch is large enough.
		par.Microbatch = batch / par.Data
		if par.Microbatch%par.Pipeline == 0 {
			par.Microbatch /= par.Pipeline
		}
	}
	if batch%(par.Data*par.Microbatch) != 0 {
		return p, par, z, fmt.Errorf("a batch of %d cannot be divided by dp %d x microbatch %d; allowed: a multiple of %d", batch, par.Data, par.Microbatch, par.Data*par.Microbatch)
	}
	p.Batch = par.Microbatch
	if p.Phase == plan.Forward && !s.whole() {
		p.Phase = plan.Prefill
	}
	return p, par, z, nil
}

// sizes is what a plan has to divide.
func (s *Session) sizes(chips, batch, seq int64, train bool) plan.Sizes {
	d := s.dec
	return plan.Sizes{Model: s.model.Name, Chips: chips, Layers: int64(d.Layers), Heads: d.Heads, KVHeads: d.KeyHeads(), Inter: d.Inter, Experts: d.Experts,
		TopK: d.TopK, Batch: batch, Seq: seq, Train: train}
}

// pass is what a chip does in a pass, but for its sequences: phase, formats, library.
func (s *Session) pass(in Input) (p plan.Plan, err error) {
	p = plan.Plan{Phase: plan.Train, Seq: in.Seq, Fuse: true, Profile: s.chip.Profile, Cache: "cold", Launch: "graph", Data: "random", DType: s.chip.Preferred}
	if in.Phase != "" {
		if p.Phase, err = plan.ParsePhase(in.Phase); err != nil {
			return p, err
		}
	}
	if in.DType != "" {
		if p.DType, err = dtype.Parse(in.DType); err != nil {
			return p, err
		}
	}
	if s.sys.Training != nil && p.Phase == plan.Train {
		if s.sys.Training.Profile != "" && !s.whole() {
			p.Profile = s.sys.Training.Profile
		}
		if s.chip.Discipline == arch.Dispatch { // elsewhere a pass is one program
			p.Launch = "stream"
		}
	}
	p.Wide = run.Wide(s.chip, p.DType)
	p.KVDType = p.Wide
	if p.DType.Bits() >= 16 {
		p.KVDType = p.DType
	}
	if in.KVDType != "" {
		if p.KVDType, err = dtype.Parse(in.KVDType); err != nil {
			return p, err
		}
	}
	if p.Seq == 0 {
		p.Seq = run.Length(s.model)
	}
	return p, nil
}

// chips is how many chips a plan is for, whose replicas take as many each: those given, or of its replicas, or of the system.
func (s *Session) chips(in Input, each int64) int64 {
	chips := in.Chips
	if in.Ranks != nil {
		chips = len(in.Ranks)
	}
	switch {
	case chips != 0:
		return int64(chips)
	case each*in.Plan.Data > 0:
		return each * in.Plan.Data
	case len(in.Shape) > 0:
		return int64(s.sys.Shaped(in.Shape))
	}
	return s.sys.Chips()
}

// parts returns what the shares of a model's layers take on one chip.
func (s *Session) parts(p plan.Plan, par *plan.Parallel, chips int64, train bool) *parts {
	slower := 1.0
	if s.sys.Training != nil && train {
		slower = slowest(chips, float64(s.sys.Training.Spread.Value))
	}
	dropout := train && s.sys.Training != nil && s.sys.Training.Dropout && s.dec.Positions == "learned"
	split := model.Split{Tensor: par.Tensor, Context: par.Context, Expert: par.Expert, Sequence: par.Sequence}
	p.Fuse = !par.Unfused
	out := &parts{chip: s.chip, model: s.model, plan: p, split: split, par: par, dropout: dropout, slower: slower, cache: s.cache}
	if t := s.sys.Training; t != nil && train {
		out.framework, out.loss, out.update = true, t.Loss, t.Update
		if !t.Apart && par.Zero < 3 {
			out.sums = out.wide()
			if par.Grads == "fp32" {
				out.sums = dtype.FP32
			}
		}
	} else {
		out.framework = par.Attention == "standard" || par.Unfused
	}
	out.key = fmt.Sprintf("%s %s %+v %+v %+v %v %v %v %v %v %v %v %v", s.chipDoc.YAML(), s.kind(), *s.dec, p, split, par.Attention, par.Unfused, dropout, out.framework, out.loss, out.sums, out.update, par.Grads)
	return out
}

// kind describes a model that is run whole: its sizes, whatever it is called.
func (s *Session) kind() string {
	if !s.whole() {
		return ""
	}
	m := *s.model
	m.Name, m.File, m.Title, m.Sources = "", "", "", nil
	text, err := json.Marshal(m)
	if err != nil {
		panic(err) // numbers and words only
	}
	return string(text)
}

// hash names the input.
func (s *Session) hash(p plan.Plan, par *plan.Parallel, z plan.Sizes) string {
	h := sha256.New()
	h.Write(s.sysDoc.YAML())
	h.Write(s.chipDoc.YAML())
	fmt.Fprintf(h, "%s%+v\n%+v\n%+v\n%+v\n", s.kind(), *s.dec, p, *par, z)
	return hex.EncodeToString(h.Sum(nil)[:16])
}
