package parallel

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"maru/arch/system"
	"maru/sim/event"
	"maru/sim/fabric"
	"maru/sim/fold"
	"maru/sim/result"
	"maru/workloads/parallel/collective"
)

// traffic times communication on the links of a system.
//
// Groups that communicate at the same time are a round. Those that are alike by the links between their chips have one job,
// mapped from chips to chips (fabric.Image). What is alike with the traffic of all others on its links, too, is found by
// refinement, of a graph of groups and links, and timed once. Unfolded, every group has a job of its own and is timed.
type traffic struct {
	net      *fabric.Net
	format   string
	unfolded bool
	image    *fabric.Image
	groups   int // of chips that communicate, in all rounds
	timed    int
}

// round is groups that communicate at the same time.
type round struct {
	times  []event.Time
	jobs   []job
	demand []float64 // bytes per second on each link while all are at it
	groups int       // that have something to do
	timed  int
}

// job is what a group does.
type job struct {
	stages []fabric.Stage
	shares []float64 // of the links' rates, by stage
	shape  int       // jobs of a shape are images of each other
	ranks  []int
	flows  []flow
}

// flow is bytes between places in the list of ranks, or the switch.
type flow struct {
	src, dst int32
	bytes    int64
}

// shape is a job that others may be images of.
type shape struct {
	pairs [][2]int32
	job   job
}

// message is what a group has to do: a collective among ranks, or messages from the first half of them to the second.
type message struct {
	kind  collective.Kind
	bytes int64
	ranks []int
}

// round works out what groups do at the same time. Groups of one chip, and those without bytes, have nothing to do.
//
// A library that takes what is fastest does so with all groups at it: where they slow each other, one algorithm for all of
// them may beat what each would choose alone.
func (t *traffic) round(list []message) (*round, error) {
	best, err := t.by(list, "")
	if err != nil {
		return nil, err
	}
	if lib := &t.net.Slice.System.Library; lib.Choice != system.ByTable && best.contended() && list[0].kind != collective.Send && list[0].kind != collective.AllToAll {
		for _, a := range lib.Algorithms {
			if r, err := t.by(list, a.String()); err == nil && slices.Max(r.times) < slices.Max(best.times) {
				best = r
			}
		}
	}
	t.groups, t.timed = t.groups+best.groups, t.timed+best.timed
	return best, nil
}

// contended reports whether groups slow each other.
func (r *round) contended() bool {
	for i := range r.jobs {
		var alone event.Time
		for k := range r.jobs[i].stages {
			alone += r.jobs[i].stages[k].Alone
		}
		if r.times[i] > alone {
			return true
		}
	}
	return false
}

// by is round with an algorithm, or with the library's choice for each group.
func (t *traffic) by(list []message, algorithm string) (*round, error) {
	r := &round{jobs: make([]job, len(list)), times: make([]event.Time, len(list))}
	known := map[string][]*shape{}
	shapes := 0
	for i, m := range list {
		if m.bytes == 0 || len(m.ranks) < 2 {
			continue
		}
		r.groups++
		key := ""
		if !t.unfolded {
			key = t.key(m)
			found := false
			for _, s := range known[key] {
				if found = t.image.Find(s.job.ranks, m.ranks, s.pairs); found {
					r.jobs[i] = s.job.mapped(t.image, m.ranks)
					break
				}
			}
			if found {
				continue
			}
		}
		s, err := t.shape(m, algorithm)
		if err != nil {
			return nil, err
		}
		s.job.shape = shapes
		shapes++
		r.jobs[i] = s.job
		if !t.unfolded && s.pairs != nil && len(known[key]) < mostShapes {
			known[key] = append(known[key], s)
		}
	}
	t.time(r)
	return r, nil
}

// key tells groups apart that cannot be alike.
func (t *traffic) key(m message) string {
	node := t.net.Node()
	key := fmt.Appendf(nil, "%d %d %d", m.kind, m.bytes, len(m.ranks))
	for _, r := range m.ranks {
		key = fmt.Append(key, r/node == m.ranks[0]/node)
	}
	return string(key)
}

// What bounds the search for images: pairs of chips that are compared, and shapes with which a group is.
const (
	mostPairs  = 1 << 12
	mostShapes = 16
)

// shape plans what a group does.
func (t *traffic) shape(m message, algorithm string) (*shape, error) {
	s := &shape{job: job{ranks: m.ranks}}
	var work fabric.Job
	if m.kind == collective.Send {
		half := len(m.ranks) / 2
		for i := range half {
			p, err := collective.New(t.net, collective.Request{Kind: m.kind, Bytes: m.bytes, Ranks: []int{m.ranks[i], m.ranks[half+i]}, Format: t.format})
			if err != nil {
				return nil, err
			}
			s.pairs = append(s.pairs, [2]int32{int32(i), int32(half + i)})
			if i == 0 {
				work = p.Job
				continue
			}
			for k := range p.Job.Phases {
				ph := &work.Phases[k]
				ph.Flows = append(ph.Flows, p.Job.Phases[k].Flows...)
				ph.Latency = max(ph.Latency, p.Job.Phases[k].Latency)
			}
		}
	} else {
		p, err := collective.New(t.net, collective.Request{Kind: m.kind, Bytes: m.bytes, Ranks: m.ranks, Format: t.format, Algorithm: algorithm})
		if err != nil {
			return nil, err
		}
		work = p.Job
		s.pairs = t.pairs(m.ranks, &work)
	}
	program := t.net.Prepare(&work)
	s.job.stages = program.Stages
	for _, ph := range work.Phases {
		share := ph.Share
		if share == 0 {
			share = 1
		}
		s.job.shares = append(s.job.shares, share)
	}
	place := places(m.ranks)
	for _, ph := range work.Phases {
		for _, f := range ph.Flows {
			s.job.flows = append(s.job.flows, flow{place[f.Src], place[f.Dst], f.Bytes})
		}
	}
	return s, nil
}

// pairs are the places of the chips whose paths decide what the library does: those of its job's flows where it chooses by
// a table that knows sizes and numbers, all where it tries what is fastest. It is nil if they are too many to compare.
func (t *traffic) pairs(ranks []int, work *fabric.Job) [][2]int32 {
	lib := &t.net.Slice.System.Library
	place := places(ranks)
	var out [][2]int32
	if lib.Choice != system.ByTable {
		n := int32(len(ranks))
		if n*n > mostPairs {
			return nil
		}
		for a := range n {
			for b := range n {
				out = append(out, [2]int32{a, b})
			}
			if t.net.Slice.System.ScaleUp.Topology == system.Switch {
				out = append(out, [2]int32{a, fabric.Switch}, [2]int32{fabric.Switch, a})
			}
		}
		return out
	}
	seen := map[[2]int32]bool{}
	for _, ph := range work.Phases {
		for _, f := range ph.Flows {
			if p := [2]int32{place[f.Src], place[f.Dst]}; !seen[p] {
				seen[p] = true
				out = append(out, p)
			}
		}
	}
	if len(out) > mostPairs {
		return nil
	}
	return out
}

// places are those of chips in a list, and the switch's own.
func places(ranks []int) map[int]int32 {
	place := map[int]int32{fabric.Switch: fabric.Switch}
	for i, r := range ranks {
		place[r] = int32(i)
	}
	return place
}

// mapped is the job of other ranks, on the links that an image has for those of its own.
func (j *job) mapped(m *fabric.Image, ranks []int) job {
	out := job{stages: make([]fabric.Stage, len(j.stages)), shares: j.shares, shape: j.shape, ranks: ranks, flows: j.flows}
	for k := range j.stages {
		out.stages[k] = j.stages[k]
		loads := make([]fabric.Load, len(j.stages[k].Loads))
		for i, l := range j.stages[k].Loads {
			loads[i] = l
			loads[i].Link = m.Link(l.Link)
		}
		out.stages[k].Loads = loads
	}
	return out
}

// time works out how long the jobs of a round take at the same time, phase beside phase: where several load a link, each
// waits for the bytes of all. Jobs whose shapes, links and those who load them are alike are timed once.
func (t *traffic) time(r *round) {
	links := t.net.Links()
	var sums [][]int64 // by phase and link
	for i := range r.jobs {
		for k := range r.jobs[i].stages {
			if k == len(sums) {
				sums = append(sums, make([]int64, len(links)))
			}
			for _, l := range r.jobs[i].stages[k].Loads {
				sums[k][l.Link] += l.Bytes
			}
		}
	}
	first := t.alike(r)
	for i := range r.jobs {
		j := &r.jobs[i]
		if len(j.stages) == 0 {
			continue
		}
		if first[i] != i {
			r.times[i] = r.times[first[i]]
			continue
		}
		r.timed++
		for k := range j.stages {
			st := &j.stages[k]
			longest := st.Transfer
			for _, l := range st.Loads {
				if all := sums[k][l.Link]; all > l.Bytes {
					longest = max(longest, fabric.Picoseconds(float64(all)/(links[l.Link].Rate*j.shares[k])))
				}
			}
			r.times[i] += st.Alone - st.Transfer + longest
		}
	}
}

// alike returns the first job that is like each job of a round.
func (t *traffic) alike(r *round) []int {
	first := make([]int, len(r.jobs))
	for i := range first {
		first[i] = i
	}
	if t.unfolded || len(r.jobs) == 1 {
		return first
	}
	var g fold.Graph
	for i := range r.jobs {
		g.Add(fmt.Sprint("job ", len(r.jobs[i].stages) == 0, r.jobs[i].shape))
	}
	links := t.net.Links()
	var vertex [][]int32 // of a link in a phase, one more than its number
	for i := range r.jobs {
		for k := range r.jobs[i].stages {
			if k == len(vertex) {
				vertex = append(vertex, make([]int32, len(links)))
			}
			for _, l := range r.jobs[i].stages[k].Loads {
				v := &vertex[k][l.Link]
				if *v == 0 {
					*v = 1 + g.Add(fmt.Sprint("link ", k, math.Float64bits(links[l.Link].Rate)))
				}
				g.Join(int32(i), *v-1, l.Bytes)
			}
		}
	}
	classes, count := g.Refine()
	of := make([]int, count) // one more than the first job
	for i := range r.jobs {
		c := classes[i]
		if of[c] == 0 {
			of[c] = i + 1
		}
		first[i] = of[c] - 1
	}
	return first
}

// load is the bytes per second that all jobs of a round ask of each link on average while they are at it.
func (t *traffic) load(r *round) []float64 {
	if r.demand != nil {
		return r.demand
	}
	r.demand = make([]float64, len(t.net.Links()))
	for i := range r.jobs {
		seconds := float64(r.times[i]) / 1e12
		for k := range r.jobs[i].stages {
			for _, l := range r.jobs[i].stages[k].Loads {
				r.demand[l.Link] += float64(l.Bytes) / r.jobs[i].shares[k] / seconds
			}
		}
	}
	return r.demand
}

// beside is the share of its speed that a job of one round keeps while those of another are on the links. The two rounds
// share each link max-min fairly: one has what it asks for, if that is no more than half of the link or what the other
// leaves of it, and otherwise the larger of these; the link that leaves a job least decides.
func (t *traffic) beside(r *round, i int, other *round) float64 {
	speed := 1.0
	if r == nil || other == nil || len(r.jobs[i].stages) == 0 {
		return speed
	}
	own, all := t.load(r), t.load(other)
	links := t.net.Links()
	for k := range r.jobs[i].stages {
		for _, l := range r.jobs[i].stages[k].Loads {
			mine, theirs, rate := own[l.Link], all[l.Link], links[l.Link].Rate
			if theirs > 0 && mine+theirs > rate {
				speed = min(speed, max(rate-theirs, rate/2)/mine)
			}
		}
	}
	return speed
}

// Bounds of what a result lists.
const (
	mostLinks = 256
	mostChips = 128
)

// carried sums up what links carry and chips send in an iteration of some length: the busiest links, bytes from chip to chip
// of not too many, and those to and from a switch that adds.
func (t *traffic) carried(uses []use, took event.Time) (loads []result.LinkLoad, matrix, adds [][]int64) {
	links := t.net.Links()
	sum := make([]int64, len(links))
	table := func(rows, columns int) (out [][]int64) {
		for range rows {
			out = append(out, make([]int64, columns))
		}
		return out
	}
	if t.net.Chips() <= mostChips {
		matrix = table(t.net.Chips(), t.net.Chips())
	}
	for _, u := range uses {
		for i := range u.jobs {
			j, n := &u.jobs[i], u.count(u.of[i][1])
			if n == 0 {
				continue
			}
			for k := range j.stages {
				for _, l := range j.stages[k].Loads {
					sum[l.Link] += n * l.Bytes
				}
			}
			if matrix == nil {
				continue
			}
			for _, f := range j.flows {
				if f.src != fabric.Switch && f.dst != fabric.Switch {
					matrix[j.ranks[f.src]][j.ranks[f.dst]] += n * f.bytes
					continue
				}
				if adds == nil {
					adds = table(t.net.Chips(), 2)
				}
				if f.dst == fabric.Switch {
					adds[j.ranks[f.src]][0] += n * f.bytes
				} else {
					adds[j.ranks[f.dst]][1] += n * f.bytes
				}
			}
		}
	}
	seconds := float64(took) / 1e12
	for i, l := range links {
		if sum[i] > 0 {
			loads = append(loads, result.LinkLoad{Name: l.Name, Tier: l.Tier, RateBps: l.Rate, Bytes: sum[i], Utilization: float64(sum[i]) / (l.Rate * seconds)})
		}
	}
	if len(loads) > mostLinks {
		slices.SortStableFunc(loads, func(a, b result.LinkLoad) int { return cmp.Compare(b.Utilization, a.Utilization) })
		loads = loads[:mostLinks]
	}
	return loads, matrix, adds
}
