package validate

import (
	"fmt"
	"slices"
	"strings"

	"maru/arch"
	"maru/arch/system"
	"maru/arch/unit"
	"maru/configs"
	"maru/internal/config"
	"maru/workloads/compile"
)

// Harness describes how the numbers of a source were taken. It is one YAML
// file.
type Harness struct {
	Name string // of the file

	Title    string                               `yaml:"title" doc:"What was measured, with what."`
	Sources  map[string]string                    `yaml:"sources,optional" doc:"Where the description is from: a name and a text for each source."`
	Notes    []string                             `yaml:"notes,optional" doc:"What a reader should know."`
	Match    Match                                `yaml:"match" doc:"Rows that the file describes; of several files the one that says most about a row."`
	Launch   string                               `yaml:"launch" enum:"graph,none,eager,queued" doc:"graph: kernels of a captured graph, gaps between them included; none: the sum of kernel times, without gaps; eager: calls from the host, one by one, the first of them awaited; queued: calls from the host again and again, none of them awaited, so that of host and chip the slower counts."`
	Host     Host                                 `yaml:"host,optional" doc:"Time of the host in eager and queued calls."`
	Clock    Clock                                `yaml:"clock,optional" doc:"The clock that latencies were read from."`
	Cache    Cache                                `yaml:"cache" doc:"What the shared cache holds when the timed operation starts."`
	Load     Load                                 `yaml:"load,optional" doc:"How long the chip was under load. Missing: for so long that the power cap holds."`
	Data     string                               `yaml:"data,optional" enum:"random,zero" doc:"What the operands of products hold: random values, or zeros, which cost less energy; random if it is missing."`
	Code     int64                                `yaml:"code,optional" bound:"0..100" doc:"Code of a kernel that is not in any cache, as others ran since it ran last: how many fetches from main memory, one after the other, its warps wait for; one in later kernels of an operator, which are short."`
	Quantize map[string]string                    `yaml:"quantize,optional" enum:"inside,rows,net,before" doc:"By number format: inside: the timed operation converts its input; rows: so it does, but in a mixture of experts once for each choice of an expert, and so it does with the results of activations; net: it does, and quant_us, which is taken off, says how long that takes; before: the input comes in the narrow format. Missing: before."`
	Extra    []string                             `yaml:"extra,optional" enum:"rope,append,route,dispatch,combine" doc:"Work in the timed operation besides its own: rotary embedding and append to the key/value cache (attention); gate, moving rows to experts, and their weighted sum (mixtures of experts)."`
	Sort     int64                                `yaml:"sort,optional" bound:"0..20" doc:"Kernels that sort the chosen experts (mixtures of experts)."`
	Gate     Gate                                 `yaml:"gate,optional" doc:"How experts are chosen (mixtures of experts)."`
	Steps    map[string][]string                  `yaml:"steps,optional" doc:"By operator of a table: the operators, each a kernel of its own, that it is made of."`
	Setup    int64                                `yaml:"setup,optional" bound:"0..20" doc:"Kernels ahead that prepare little: lengths, offsets and counters (attention), scales (products)."`
	OneCache bool                                 `yaml:"one_cache,optional" doc:"Keys and values lie at the same addresses (attention)."`
	ByHead   bool                                 `yaml:"by_head,optional" doc:"The cache holds the keys of a head, then those of the next (attention); otherwise all heads of a token lie together."`
	Unfused  bool                                 `yaml:"unfused,optional" doc:"Every operator is a kernel of its own, as a framework without a compiler runs them, attention too."`
	Cap      config.Figure[unit.Power]            `yaml:"cap,optional" bound:">0" doc:"Power cap of the chips that were measured, where it is not that of the chip's file."`
	Least    config.Figure[unit.Bytes]            `yaml:"least,optional" bound:">0" doc:"Collectives of fewer bytes are predicted, but not counted: the source is noise there."`
	Systems  map[string]string                    `yaml:"systems,optional" doc:"By SYSTEM:TOPOLOGY of the table: the one of a system's file that is meant, where the source calls several alike."`
	Library  []string                             `yaml:"library,optional" doc:"Library profiles, the first of which the compiler knows is used; otherwise that of the chip."`
	Pad      map[string]int64                     `yaml:"pad,optional" doc:"By number format: rows of padding of each of the rank's experts (mixtures of experts), of scales or of buffers; kernels around the products pass over it, and look for the expert of a row."`
	Whole    bool                                 `yaml:"whole,optional" doc:"Activations and weighted sums pass over the choices of all ranks (mixtures of experts)."`
	OneShot  map[string]config.Figure[unit.Bytes] `yaml:"one_shot,optional" bound:">0" doc:"By number of ranks: the largest all-reduce for which the engine's own kernel is used, in which every rank reads the data of all others; larger ones are NCCL's."`
	Few      []string                             `yaml:"few,optional" doc:"Library profiles in place of those where a mixture of experts has no more tokens than experts on a rank."`
	Serving  *Serving                             `yaml:"serving,optional" doc:"How an engine fills its batches (published inference)."`
	Training *system.Training                     `yaml:"training,optional" doc:"What the framework did (training at scale), in place of what the system's file says."`
	Routing  Routing                              `yaml:"routing,optional" doc:"How rows were spread over experts."`
}

// Match chooses rows. Empty lists match all.
type Match struct {
	Source []string `yaml:"source" doc:"Patterns of the source column; * stands for any text."`
	File   []string `yaml:"file,optional" doc:"Tables."`
	DType  []string `yaml:"dtype,optional" doc:"Number formats, as in the table."`
	Op     []string `yaml:"op,optional" doc:"Operators, as in the table."`
	Kernel []string `yaml:"kernel,optional" doc:"Kernels, as in the table."`
	System []string `yaml:"system,optional" doc:"Patterns of the system column."`

	HeadDim []string `yaml:"head_dim,optional" doc:"Elements of a head, as in the table (attention)."`
	Window  []string `yaml:"window,optional" doc:"Windows, as in the table (attention)."`
}

// called reports whether the host starts kernels one by one.
func (h *Harness) called() bool { return h.Launch == "eager" || h.Launch == "queued" }

// Host is the time of the host in an eager or queued call.
type Host struct {
	Call  config.Figure[unit.Duration] `yaml:"call" bound:">=0" doc:"eager: from the start of the time to the start of the first kernel, and from the end of the last to the end of the time; queued: that of the first operator's call."`
	Issue config.Figure[unit.Duration] `yaml:"issue,optional" bound:">=0" doc:"From one call to the next while the chip is behind; that of a call if it is missing."`
	Whole config.Figure[unit.Duration] `yaml:"whole,optional" bound:">=0" doc:"From the start of the time to where the host asks for its end, of one call: the least that is read, however short the kernels; that of a call if it is missing."`
}

// Clock is what latencies were read from.
type Clock struct {
	Step   config.Figure[unit.Duration] `yaml:"step" bound:">0" doc:"Latencies are multiples of this; the nearest one is reported."`
	Kernel config.Figure[unit.Duration] `yaml:"kernel,optional" bound:">=0" doc:"Time before and after the work of a kernel that the clock counts to it (launch: none)."`
}

// Cache is the state of the shared cache.
type Cache struct {
	State  string `yaml:"state" enum:"cold,warm,rotate,produced" doc:"cold: nothing; warm: what the same call left; rotate: what calls with other copies of the weights left; produced: inputs that were just written, no weights."`
	Copies int64  `yaml:"copies,optional" bound:"1..64" doc:"rotate: most copies of the weights."`
	Cover  bool   `yaml:"cover,optional" doc:"rotate: no more copies than fill the shared cache, but one."`
}

// Load is what the chip did while a latency was taken.
type Load struct {
	Replays int64 `yaml:"replays" bound:"1..1000000" doc:"Runs of the timed operation, back to back, warm-up included, on a chip that was idle before; with rotated weights, of all copies."`
}

// Gate describes the choice of experts.
type Gate struct {
	Most   int64 `yaml:"most,optional" bound:"0..1000" doc:"Experts for each token, at most, that one kernel chooses; 0: any number."`
	Beyond int64 `yaml:"beyond,optional" bound:"0..50" doc:"Kernels besides for each further so many, or a part of them."`
}

// Serving is how an engine fills its batches when requests never run out.
type Serving struct {
	Memory config.Figure[unit.Ratio] `yaml:"memory" bound:">0,<=1" doc:"Share of the memory that weights leave which the key/value cache takes."`
	Batch  config.Figure[int64]      `yaml:"batch" bound:"1..1000000" doc:"Most requests at once."`
	Tokens config.Figure[int64]      `yaml:"tokens" bound:"1..10000000" doc:"Most tokens of prompts in a step; a prompt at least."`
	KV     string                    `yaml:"kv,optional" doc:"Number format of the key/value cache; that of activations unless given."`
}

// Routing describes how a harness draws the experts of tokens.
type Routing struct {
	Remainder string `yaml:"remainder,optional" enum:"least,most" doc:"Of a power law: the experts that get what rounding leaves, the least loaded (the default) or the most."`
	Choices   string `yaml:"choices,optional" enum:"local,all" doc:"Of the tokens that visit a rank, the choices that it computes: those of its own experts (the default), or all of them, on its own experts."`
}

// Harnesses reads the embedded harness files.
func Harnesses() ([]*Harness, error) {
	var all []*Harness
	var errs config.Errors
	for _, name := range configs.Names("harness") {
		file, data, err := configs.Read("harness", name)
		if err != nil {
			return nil, err
		}
		h, err := ParseHarness(file, data)
		if list, ok := err.(config.Errors); ok {
			errs = append(errs, list...)
			continue
		} else if err != nil {
			return nil, err
		}
		h.Name = name
		all = append(all, h)
	}
	return all, errs.Err()
}

// ParseHarness reads a harness file. The error is of type [config.Errors].
func ParseHarness(file string, data []byte) (*Harness, error) {
	doc, err := config.Load(config.Source{Name: file, Data: data}, nil)
	if err != nil {
		return nil, err
	}
	h := &Harness{}
	if err := doc.Decode(h); err != nil {
		return nil, err
	}
	var errs config.Errors
	bad := func(path, problem, allowed string) { errs = append(errs, doc.Error(path, problem, allowed, "")) }
	switch {
	case h.called() && !h.Host.Call.IsSet():
		bad("launch", h.Launch+" calls without the time of the host", "allowed: host besides")
	case !h.called() && h.Host.Call.IsSet():
		bad("host", "the host takes no part in launch: "+h.Launch, "allowed: with launch: eager, launch: queued")
	}
	if w := &h.Host.Whole; w.IsSet() && w.Value < h.Host.Call.Value {
		bad("host.whole", "the host ends before it has called", "allowed: host.call and more")
	}
	if (h.Cache.State == "rotate") != (h.Cache.Copies > 0) {
		bad("cache", "copies go with state: rotate, and only with it", "")
	}
	for _, f := range h.Match.File {
		if !slices.Contains(Files(), f) {
			bad("match.file", "unknown table "+f, "allowed: "+strings.Join(Files(), ", "))
		}
	}
	if err := errs.Err(); err != nil {
		return nil, err
	}
	return h, nil
}

// harness finds the description of a row; nil if there is none.
func (v *validation) harness(file string, r *record) *Harness {
	var best *Harness
	most := -1
	for _, h := range v.harnesses {
		if n := h.Match.score(file, r); n > most {
			best, most = h, n
		}
	}
	return best
}

// score says how closely a match describes a row: the letters of its patterns
// that are no stars, and more for each list that names the row; -1 if it does
// not match.
func (m *Match) score(file string, r *record) int {
	const list = 1000
	longest := func(patterns []string, text string) int {
		best := -1
		for _, p := range patterns {
			if glob(p, text) {
				best = max(best, len(p)-strings.Count(p, "*"))
			}
		}
		return best
	}
	n := longest(m.Source, r.optional("source"))
	if n < 0 {
		return -1
	}
	if len(m.System) > 0 {
		s := longest(m.System, r.optional("system"))
		if s < 0 {
			return -1
		}
		n += list
	}
	for _, c := range []struct {
		allowed []string
		value   string
	}{{m.File, file}, {m.DType, r.optional("dtype")}, {m.Op, r.optional("op")}, {m.Kernel, r.optional("kernel")}, {m.HeadDim, r.optional("head_dim")}, {m.Window, r.optional("window")}} {
		if len(c.allowed) == 0 {
			continue
		}
		if !slices.Contains(c.allowed, c.value) {
			return -1
		}
		n += list
	}
	return n
}

// glob matches a text against a pattern in which * stands for any text.
func glob(pattern, text string) bool {
	head, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == text
	}
	if !strings.HasPrefix(text, head) {
		return false
	}
	for text = text[len(head):]; ; text = text[1:] {
		if glob(rest, text) {
			return true
		}
		if text == "" {
			return false
		}
	}
}

// profile is the library that runs on a chip: the first of the harness that the
// compiler has for machines of its discipline, or the chip's own.
func (h *Harness) profile(c *arch.Chip) string {
	known := compile.ProfilesOf(c.Discipline)
	for _, name := range h.Library {
		if slices.Contains(known, name) {
			return name
		}
	}
	return c.Profile
}

// extra tells whether the timed operation does some work besides its own.
func (h *Harness) extra(what string) bool { return slices.Contains(h.Extra, what) }

// replays is how often an operation with weights of some bytes runs back to
// back, as a plan has it.
func (h *Harness) replays(c *arch.Chip, weights int64) int64 {
	if h.Cache.State == "rotate" {
		return h.Load.Replays * h.copies(c, weights)
	}
	return h.Load.Replays
}

// copies is how many copies of weights of some bytes take turns.
func (h *Harness) copies(c *arch.Chip, weights int64) int64 {
	l2 := c.Memory.L2
	if l2 == nil || weights <= 0 {
		return 1
	}
	n := h.Cache.Copies
	if h.Cache.Cover {
		n = min(n, (int64(l2.Capacity.Value)+weights-1)/weights)
	}
	return max(1, n)
}

// fillings is how often an operation must fill the shared cache for nothing of
// the call before to matter.
const fillings = 16

// residency is the state of the cache, as a plan has it, for an operation on
// tensors of some bytes, so many of them weights.
func (h *Harness) residency(c *arch.Chip, weights, footprint int64) string {
	switch h.Cache.State {
	case "warm":
		if l2 := c.Memory.L2; l2 == nil || footprint >= fillings*int64(l2.Capacity.Value) {
			return "cold"
		}
		return "warm"
	case "rotate":
		n := h.copies(c, weights)
		l2 := c.Memory.L2
		if l2 == nil || weights <= 0 {
			return "rotate:1"
		}
		size := int64(l2.Capacity.Value)
		if footprint >= fillings*size {
			return "cold" // nothing of the call before is left, nor of its copies
		}
		// Copies that together are several times the cache leave nothing of
		// each other in it; more of them change nothing but the time to simulate.
		const several = 4
		n = min(n, max(1, (several*size+weights-1)/weights))
		return fmt.Sprintf("rotate:%d", max(1, n))
	}
	return "cold"
}
