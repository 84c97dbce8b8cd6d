package run

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"maru/arch"
	"maru/arch/unit"
	"maru/internal/config"
	"maru/sim/machine"
	"maru/sim/result"
	"maru/workloads/compile"
	"maru/workloads/trace"
)

// larger scales a capacity, which is whole bytes.
func larger(f *config.Figure[unit.Bytes], by float64) {
	f.Value = unit.Bytes(math.Round(float64(f.Value) * by))
}

// whole lists what an architect can buy besides the resources of the critical
// path: things that several of them come with, or that time is attributed to
// only by way of others.
var whole = []resource{
	{"cores", "cores.count", func(c *arch.Chip, by float64) {
		pair := max(1, float64(c.Cores.Matrix.Pair.Value)) // cores that work in pairs come in pairs
		c.Cores.Count.Value = int64(math.Round(float64(c.Cores.Count.Value)*by/pair) * pair)
	}},
	{"clock", "clock.max", func(c *arch.Chip, by float64) {
		up(&c.Clock.Max, by)
		up(&c.Clock.Matrix, by)
	}},
	{"l2 capacity", "memory.l2.capacity", func(c *arch.Chip, by float64) {
		if c.Memory.L2 != nil {
			larger(&c.Memory.L2.Capacity, by)
		}
	}},
	{"shared capacity", "memory.shared.capacity", func(c *arch.Chip, by float64) {
		if c.Memory.Shared != nil {
			larger(&c.Memory.Shared.Capacity, by)
		}
	}},
	{"scratchpad capacity", "cores.scratchpad.capacity", func(c *arch.Chip, by float64) {
		larger(&c.Cores.Scratchpad.Capacity, by)
		larger(&c.Cores.Scratchpad.Group, by)
	}},
}

// Effect is what more and less of a resource does to a run. Shares are of the
// run's latency.
type Effect struct {
	Resource string `json:"resource"`
	Path     string `json:"path"` // of the chip's key that stands for it

	// Critical is the resource's share of the critical path, and Expected the
	// gain that follows if that time shrinks in proportion and nothing takes its
	// place: Critical x (1 - 1/(1+Step)). Both are 0 for a resource that time is
	// not attributed to.
	Critical float64 `json:"critical_path"`
	Expected float64 `json:"expected_gain"`

	// With more and with less of it, the same program.
	MoreUS float64 `json:"more_latency_us"`
	LessUS float64 `json:"less_latency_us"`
	Gain   float64 `json:"gain"`
	Loss   float64 `json:"loss"`
	// The same, of a program that is compiled anew for the changed chip.
	AnewMoreUS float64 `json:"recompiled_more_latency_us"`
	AnewLessUS float64 `json:"recompiled_less_latency_us"`
	AnewGain   float64 `json:"recompiled_gain"`
	AnewLoss   float64 `json:"recompiled_loss"`

	// Reason says why Gain is far from Expected, from how the critical path moved;
	// empty where the two are close.
	Reason string `json:"reason,omitempty"`
}

// Explanation says what more and less of each resource does to a run.
type Explanation struct {
	Version   int            `json:"explanation_version"`
	Step      float64        `json:"step"` // 0.1: 10 % more and 10 % less
	LatencyUS float64        `json:"latency_us"`
	Effects   []Effect       `json:"effects"` // the largest gain first
	Result    *result.Result `json:"-"`       // of the run itself, without timeline
}

// ExplanationVersion is the version of the JSON form of explanations.
const ExplanationVersion = 1

// Explain simulates a program again on chips with more and with less of each
// resource, by a step between 0 and 1: the program as it is, and compiled anew
// for the changed chip. What a chip does not have is left out, and so is what
// changes nothing. The time that a resource has on the critical path is not
// always what more of it saves; where it is not, the effect says why.
func Explain(c *Compiled, step float64, opt Options) (*Explanation, error) {
	clocks := make([]float64, len(c.Trace.Launches))
	records := &machine.Records{}
	res, err := machine.Replay(c.Chip, c.Trace, machine.Options{Exact: opt.Exact, NoCap: opt.NoCap, Clocks: clocks, Records: records})
	if err != nil {
		return nil, err
	}
	list := slices.Concat(resources, whole)
	const ways = 4 // more and less, the same program and compiled anew
	results := make([]*result.Result, ways*len(list))
	// A chip may be too small for the program, or for any; its result stays nil.
	err = Parallel(len(results), opt.Jobs, func(i int) error {
		by := 1 + step
		if i%2 == 1 {
			by = 1 - step
		}
		chip := c.Chip.Copy()
		list[i/ways].scale(chip, by)
		again := machine.Options{Exact: opt.Exact, NoCap: opt.NoCap}
		var tr *trace.Trace
		var err error
		if i%ways < 2 {
			again.Clocks, again.Records = slices.Clone(clocks), records
			tr, err = fitting(chip, c.Trace)
		} else {
			tr, _, err = compile.Compile(c.Graph, c.Plan, chip, compile.Options{})
		}
		if err == nil {
			results[i], _ = machine.Replay(chip, tr, again)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := &Explanation{Version: ExplanationVersion, Step: step, LatencyUS: res.LatencyUS, Result: res}
	share := map[string]float64{}
	for _, s := range res.Critical {
		share[s.Resource] = s.Share
	}
	for i, r := range list {
		of := results[ways*i : ways*i+ways]
		for j := range of { // the one that runs stands for the one that does not
			if of[j] == nil {
				of[j] = of[(j+2)%ways]
			}
		}
		if slices.Contains(of, nil) {
			continue
		}
		e := Effect{Resource: r.name, Path: r.path, Critical: share[r.name],
			MoreUS: of[0].LatencyUS, LessUS: of[1].LatencyUS, AnewMoreUS: of[2].LatencyUS, AnewLessUS: of[3].LatencyUS}
		e.Expected = e.Critical * (1 - 1/(1+step))
		e.Gain, e.Loss = 1-e.MoreUS/res.LatencyUS, e.LessUS/res.LatencyUS-1
		e.AnewGain, e.AnewLoss = 1-e.AnewMoreUS/res.LatencyUS, e.AnewLessUS/res.LatencyUS-1
		if e.Critical == 0 && e.Gain == 0 && e.Loss == 0 && e.AnewGain == 0 && e.AnewLoss == 0 {
			continue
		}
		e.reason(res, of[0])
		out.Effects = append(out.Effects, e)
	}
	slices.SortStableFunc(out.Effects, func(a, b Effect) int {
		return cmp.Compare(b.AnewGain, a.AnewGain)
	})
	return out, nil
}

// Bounds of what counts as far from what is expected: by a third of it, and by
// two thousandths of the latency.
const (
	farShare = 1.0 / 3
	farLeast = 0.002
)

// reason finds why a gain is far from what the critical path promises. The
// changes of all resources on the path add up to the gain, so it is one of
// these: another resource takes its place, another shrinks along with it, or
// its own time follows the figure less or more than in proportion.
func (e *Effect) reason(before, after *result.Result) {
	miss := e.Gain - e.Expected
	if e.Critical == 0 || math.Abs(miss) < max(farLeast, farShare*e.Expected) {
		return
	}
	own, other, by := 0.0, "", 0.0
	for _, m := range result.Moves(before.Critical, after.Critical) {
		share := float64(-m.Delta()) / float64(before.LatencyPS) // what it contributes to the gain
		switch {
		case m.Resource == e.Resource:
			own = share
		case share*miss > 0 && math.Abs(share) > math.Abs(by):
			other, by = m.Resource, share
		}
	}
	ownMiss := own - e.Expected
	switch {
	case ownMiss*miss > 0 && math.Abs(ownMiss) >= math.Abs(by):
		part := own / e.Expected
		if miss < 0 {
			e.Reason = fmt.Sprintf("its time shrinks by %.0f %% of what is in proportion: the rest of it is hidden, or of other figures", 100*max(part, 0))
		} else {
			e.Reason = fmt.Sprintf("its time shrinks %.1f times as much as in proportion", part)
			if e.Resource == "power" { // which has the time by which clocked work is longer than at the highest clock
				e.Reason += ", as the clock of all work on the cores rises"
			}
		}
	case other != "" && miss < 0:
		e.Reason = other + " takes its place"
	case other != "":
		e.Reason = other + " shrinks along with it"
	}
}

// Notable tells whether a change of the resource changes the latency by a
// thousandth or more.
func (e *Effect) Notable() bool {
	const least = 0.001
	for _, v := range []float64{e.Gain, e.Loss, e.AnewGain, e.AnewLoss, e.Expected} {
		if math.Abs(v) >= least {
			return true
		}
	}
	return false
}
