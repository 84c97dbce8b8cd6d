package parallel

import (
	"fmt"
	"strings"

	"maru/sim/event"
	"maru/sim/fabric"
	"maru/workloads/parallel/collective"
	"maru/workloads/plan"
)

// layout says which chip of the system each rank of a plan is on.
type layout struct {
	t, c, d, p int
	inner      bool // replicas lie behind stages
	ranks      []int
}

func newLayout(p *plan.Parallel) layout {
	return layout{t: int(p.Tensor), c: int(p.Context), d: int(p.Data), p: int(p.Pipeline), inner: p.Order == plan.Orders()[1]}
}

func (l layout) chip(t, c, d, s int) int {
	rank := t + l.t*(c+l.c*(d+l.d*s))
	if l.inner {
		rank = t + l.t*(c+l.c*(s+l.p*d))
	}
	if l.ranks != nil {
		return l.ranks[rank]
	}
	return rank
}

// traffic times communication on the links of a system.
type traffic struct {
	net    *fabric.Net
	format string
}

// concurrent is how long each of some jobs takes when all run at the same time, phase beside phase: where several load a
// link, each waits for the bytes of all.
func (t *traffic) concurrent(jobs []fabric.Job) []event.Time {
	programs := make([]*fabric.Program, len(jobs))
	var sums []map[int32]int64
	for i := range jobs {
		programs[i] = t.net.Prepare(&jobs[i])
		for k := range programs[i].Stages {
			if k == len(sums) {
				sums = append(sums, map[int32]int64{})
			}
			for _, l := range programs[i].Stages[k].Loads {
				sums[k][l.Link] += l.Bytes
			}
		}
	}
	out := make([]event.Time, len(jobs))
	links := t.net.Links()
	for i := range jobs {
		for k := range programs[i].Stages {
			st := &programs[i].Stages[k]
			share := jobs[i].Phases[k].Share
			if share == 0 {
				share = 1
			}
			longest := st.Transfer
			for _, l := range st.Loads {
				if all := sums[k][l.Link]; all > l.Bytes {
					longest = max(longest, fabric.Picoseconds(float64(all)/(links[l.Link].Rate*share)))
				}
			}
			out[i] += st.Alone - st.Transfer + longest
		}
	}
	return out
}

// groups is how long a collective takes in each of several groups of chips that carry it out at the same time. Groups of
// one chip take no time.
//
// Nodes whose chips are grouped alike have equal links to themselves, so that of groups within nodes one node of each kind
// is worked out.
func (t *traffic) groups(kind collective.Kind, bytes int64, groups [][]int) ([]event.Time, error) {
	out := make([]event.Time, len(groups))
	if bytes == 0 || len(groups) == 0 || len(groups[0]) < 2 {
		return out, nil
	}
	node := t.net.Node()
	within := true
	for _, g := range groups {
		for _, r := range g {
			within = within && r/node == g[0]/node
		}
	}
	if !within {
		times, err := t.together(kind, bytes, groups)
		return times, err
	}
	byNode := map[int][]int{} // groups of each node
	var order []int
	for i, g := range groups {
		n := g[0] / node
		if byNode[n] == nil {
			order = append(order, n)
		}
		byNode[n] = append(byNode[n], i)
	}
	known := map[string][]event.Time{}
	for _, n := range order {
		var key strings.Builder
		var mine [][]int
		for _, i := range byNode[n] {
			var local []int
			for _, r := range groups[i] {
				local = append(local, r%node)
			}
			fmt.Fprint(&key, local)
			mine = append(mine, groups[i])
		}
		times, ok := known[key.String()]
		if !ok {
			var err error
			if times, err = t.together(kind, bytes, mine); err != nil {
				return nil, err
			}
			known[key.String()] = times
		}
		for k, i := range byNode[n] {
			out[i] = times[k]
		}
	}
	return out, nil
}

// together is groups without looking for nodes that are alike.
func (t *traffic) together(kind collective.Kind, bytes int64, groups [][]int) ([]event.Time, error) {
	jobs := make([]fabric.Job, len(groups))
	for i, g := range groups {
		p, err := collective.New(t.net, collective.Request{Kind: kind, Bytes: bytes, Ranks: g, Format: t.format})
		if err != nil {
			return nil, err
		}
		jobs[i] = p.Job
	}
	return t.concurrent(jobs), nil
}

// bundles is how long messages take that go between pairs of chips, several pairs at once in each bundle, all bundles at the
// same time.
func (t *traffic) bundles(bytes int64, bundles [][][2]int) ([]event.Time, error) {
	jobs := make([]fabric.Job, len(bundles))
	for i, pairs := range bundles {
		for _, pair := range pairs {
			p, err := collective.New(t.net, collective.Request{Kind: collective.Send, Bytes: bytes, Ranks: []int{pair[0], pair[1]}, Format: t.format})
			if err != nil {
				return nil, err
			}
			if len(jobs[i].Phases) == 0 {
				jobs[i] = p.Job
				continue
			}
			for k := range p.Job.Phases {
				ph := &jobs[i].Phases[k]
				ph.Flows = append(ph.Flows, p.Job.Phases[k].Flows...)
				ph.Latency = max(ph.Latency, p.Job.Phases[k].Latency)
			}
		}
	}
	return t.concurrent(jobs), nil
}
