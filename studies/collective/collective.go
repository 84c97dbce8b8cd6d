// Package collective runs collectives on a system, alone or at the same time: it reads what they are, has the system's
// library choose how they are carried out, simulates them on the links, and gives a result. Floor 4.
package collective

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"maru/arch/dtype"
	"maru/arch/system"
	"maru/arch/unit"
	"maru/internal/config"
	"maru/sim/event"
	"maru/sim/fabric"
	"maru/sim/result"
	"maru/studies/run"
	"maru/workloads/parallel/collective"
)

// Input says what to run.
type Input struct {
	System    string // name or file
	Sets      []string
	Chips     int
	Shape     []int  // of a torus or mesh; empty for the library's choice
	Op        string // "allreduce:bytes=512MiB"; several at once are joined by "+"
	DType     string // number format of what is reduced; empty for fp16
	Algorithm string // empty for the library's choice
	Protocol  string // the same
}

// IsOp reports whether the description of an operator is one of a collective.
func IsOp(text string) bool {
	name, _, _ := strings.Cut(text, ":")
	return slices.Contains(collective.Kinds(), strings.TrimSpace(name))
}

// Parse reads the description of a collective: its name, and behind a colon keys with values, joined by commas. bytes is
// its size (see collective.Request), ranks the chips that take part: numbers and ranges "0-7", with "/2" for every second
// of them, joined by "&". The error says what is wrong and what is allowed.
func Parse(text string) (collective.Request, error) {
	var req collective.Request
	name, rest, _ := strings.Cut(text, ":")
	kind, err := collective.ParseKind(strings.TrimSpace(name))
	if err != nil {
		return req, fmt.Errorf("op: %w", err)
	}
	req.Kind = kind
	for _, item := range strings.Split(rest, ",") {
		key, value, ok := strings.Cut(item, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		switch {
		case strings.TrimSpace(item) == "":
		case !ok:
			return req, fmt.Errorf("op: %v: no value for %q; allowed: KEY=VALUE", kind, key)
		case key == "bytes":
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				size, err := unit.ParseBytes(value)
				if err != nil {
					return req, fmt.Errorf("op: %v.bytes: %w", kind, err)
				}
				n = int64(size)
			}
			req.Bytes = n
		case key == "ranks":
			if req.Ranks, err = ranks(value); err != nil {
				return req, fmt.Errorf("op: %v.ranks: %w", kind, err)
			}
		default:
			text := fmt.Sprintf("op: %v: unknown key %q; allowed: bytes, ranks", kind, key)
			if hint := config.Suggest(key, []string{"bytes", "ranks"}); hint != "" {
				text += "; did you mean " + hint
			}
			return req, errors.New(text)
		}
	}
	if req.Bytes < 1 {
		return req, fmt.Errorf("op: %v.bytes: %d; allowed: a size such as 512MiB", kind, req.Bytes)
	}
	return req, nil
}

// maxRanks bounds what a range may stand for.
const maxRanks = 1 << 20

func ranks(text string) ([]int, error) {
	var out []int
	for _, part := range strings.Split(text, "&") {
		span, stride, stepped := strings.Cut(part, "/")
		first, last, isRange := strings.Cut(span, "-")
		if !isRange {
			last = first
		}
		a, errA := strconv.Atoi(strings.TrimSpace(first))
		b, errB := strconv.Atoi(strings.TrimSpace(last))
		step := 1
		var errS error
		if stepped {
			step, errS = strconv.Atoi(strings.TrimSpace(stride))
		}
		if errA != nil || errB != nil || errS != nil || a < 0 || b < a || step < 1 || b-a > maxRanks {
			return nil, fmt.Errorf("%q; allowed: numbers and ranges such as 0-7 or 0-14/2, joined by &", part)
		}
		for r := a; r <= b; r += step {
			out = append(out, r)
		}
	}
	return out, nil
}

// Run simulates the collectives, all of which start at time 0, as described and with all estimates of the system at their
// fast and at their slow end. The error is the user's to mend.
func Run(in Input) (*result.Collective, error) {
	res, estimates, err := simulate(in)
	if err != nil {
		return nil, err
	}
	res.Estimated = len(estimates)
	res.LowUS, res.HighUS = res.LatencyUS, res.LatencyUS
	for _, fast := range []bool{true, false} {
		end := in
		end.Sets = slices.Clone(in.Sets)
		for _, f := range estimates {
			end.Sets = append(end.Sets, f.Path+"="+extreme(f, fast))
		}
		if len(estimates) == 0 {
			break
		}
		other, _, err := simulate(end)
		if err != nil {
			return nil, fmt.Errorf("with estimates at the ends of their ranges: %w", err)
		}
		res.LowUS, res.HighUS = min(res.LowUS, other.LatencyUS), max(res.HighUS, other.LatencyUS)
	}
	return res, res.Validate()
}

// extreme is the fast or slow end of an estimate's range. Less is faster of times and oversubscription, more of all others.
func extreme(f config.NamedFigure, fast bool) string {
	key := f.Path[strings.LastIndexByte(f.Path, '.')+1:]
	if slices.Contains([]string{"latency", "message", "launch", "hop", "network", "oversubscription"}, key) == fast {
		return f.Low
	}
	return f.High
}

// simulate runs the collectives once. It returns the estimates of the system.
func simulate(in Input) (*result.Collective, []config.NamedFigure, error) {
	sys, doc, err := system.Load(in.System, in.Sets)
	if err != nil {
		return nil, nil, err
	}
	slice, err := sys.Slice(in.Chips, in.Shape)
	if err != nil {
		return nil, nil, err
	}
	if in.DType == "" {
		in.DType = dtype.FP16.String()
	}
	net := fabric.New(slice)
	sim := event.New()
	eng := fabric.NewEngine(net, sim)
	res := &result.Collective{
		Version: result.Version, Kind: "collective", Program: "maru " + run.Version,
		System: sys.Name, SystemTitle: sys.Title, Shape: slice.String(), Chip: sys.Chip, Chips: slice.Chips, Library: sys.Library.Name,
	}
	done := sim.Register(func(now event.Time, i, _ int32) error {
		op := &res.Ops[i]
		op.LatencyPS = int64(now)
		return nil
	})
	hash := sha256.New()
	hash.Write(doc.YAML())
	var jobs []*fabric.Job
	for i, text := range strings.Split(in.Op, "+") {
		req, err := Parse(text)
		if err != nil {
			return nil, nil, err
		}
		req.Format, req.Algorithm, req.Protocol = in.DType, in.Algorithm, in.Protocol
		plan, err := collective.New(net, req)
		if err != nil {
			return nil, nil, err
		}
		bound, err := collective.Bound(net, req)
		if err != nil {
			return nil, nil, err
		}
		program := net.Prepare(&plan.Job)
		op := result.CollectiveOp{
			Op: req.Kind.String(), Bytes: req.Bytes, DType: in.DType, Ranks: len(plan.Ranks), Algorithm: plan.Algorithm.String(),
			Protocol: plan.Protocol, Channels: plan.Channels, AloneUS: micro(program.Alone()), BoundUS: micro(bound), SentBytes: plan.Sent(), CostUS: micro(plan.Cost),
		}
		for _, o := range plan.Others {
			op.Others = append(op.Others, result.Way{Algorithm: o.Algorithm.String(), Protocol: o.Protocol, CostUS: micro(o.Cost)})
		}
		for k := range program.Stages {
			st := &program.Stages[k]
			ph := result.CollectivePhase{Name: st.Name, TimePS: int64(st.Alone), TransferPS: int64(st.Transfer)}
			for _, f := range plan.Job.Phases[k].Flows {
				ph.Bytes += f.Bytes
			}
			op.Phases = append(op.Phases, ph)
		}
		res.Ops = append(res.Ops, op)
		jobs = append(jobs, &plan.Job)
		fmt.Fprintf(hash, "%v %d %v %d %v %s\n", req.Kind, req.Bytes, plan.Ranks, plan.Algorithm, plan.Protocol, slice)
		eng.Start(program, done, int32(i), 0)
	}
	if err := sim.Run(); err != nil {
		return nil, nil, err
	}
	res.Hash = hex.EncodeToString(hash.Sum(nil))
	for i := range res.Ops {
		op := &res.Ops[i]
		op.LatencyUS = micro(event.Time(op.LatencyPS))
		res.LatencyPS = max(res.LatencyPS, op.LatencyPS)
		seconds := float64(op.LatencyPS) / 1e12
		op.AlgBps = float64(op.Bytes) / seconds
		kind, err := collective.ParseKind(op.Op)
		if err != nil {
			return nil, nil, err
		}
		op.BusBps = op.AlgBps * kind.BusFactor(op.Ranks)
	}
	res.LatencyUS = micro(event.Time(res.LatencyPS))
	res.Events = int64(sim.Handled())
	loads(res, net, eng.Carried())
	matrix(res, jobs)
	var estimates []config.NamedFigure
	for _, f := range sys.Figures() {
		res.Figures++
		if f.Estimate {
			estimates = append(estimates, f)
		}
	}
	return res, estimates, nil
}

func micro(t event.Time) float64 { return float64(t) / 1e6 }

// mostLinks is how many links a result lists.
const mostLinks = 2048

// loads lists what links carried.
func loads(res *result.Collective, net *fabric.Net, carried []int64) {
	seconds := float64(res.LatencyPS) / 1e12
	for i, l := range net.Links() {
		if carried[i] > 0 {
			res.Links = append(res.Links, result.LinkLoad{Name: l.Name, Tier: l.Tier, RateBps: l.Rate, Bytes: carried[i],
				Utilization: float64(carried[i]) / (l.Rate * seconds)})
		}
	}
	if len(res.Links) > mostLinks {
		slices.SortStableFunc(res.Links, func(a, b result.LinkLoad) int { return cmp.Compare(b.Utilization, a.Utilization) })
		res.Links = res.Links[:mostLinks]
	}
}

// mostChips is the number of chips up to which a result has a matrix.
const mostChips = 128

// matrix sums the flows from chip to chip.
func matrix(res *result.Collective, jobs []*fabric.Job) {
	if res.Chips > mostChips {
		return
	}
	for range res.Chips {
		res.Matrix = append(res.Matrix, make([]int64, res.Chips))
	}
	for _, job := range jobs {
		for _, ph := range job.Phases {
			for _, f := range ph.Flows {
				if f.Src != fabric.Switch && f.Dst != fabric.Switch {
					res.Matrix[f.Src][f.Dst] += f.Bytes
					continue
				}
				if res.Switch == nil {
					for range res.Chips {
						res.Switch = append(res.Switch, make([]int64, 2))
					}
				}
				if f.Dst == fabric.Switch {
					res.Switch[f.Src][0] += f.Bytes
				} else {
					res.Switch[f.Dst][1] += f.Bytes
				}
			}
		}
	}
}
