package fabric

import (
	"math"
	"slices"

	"maru/sim/event"
)

// Flow is bytes from one chip to another; one of the two may be Switch.
type Flow struct {
	Src, Dst int
	Bytes    int64
}

// Phase is flows that start and end together.
type Phase struct {
	Name    string
	Flows   []Flow
	Latency event.Time // of the steps, besides their transfers
	Local   event.Time // work of the chips that no transfer hides
	Share   float64    // of the links' rates that data reaches; 0 is all
	Limit   float64    // bytes per second that a chip sends, and receives; 0 is no limit
}

// Job is phases one after the other.
type Job struct {
	Phases []Phase
}

// Program is a job with its loads on the links of a net worked out, so that it can be started often.
type Program struct {
	Stages []Stage
}

// Stage is a phase of a program.
type Stage struct {
	Name     string
	Alone    event.Time // how long it takes with nothing besides
	Transfer event.Time // the part of it in which the busiest link or chip works
	Loads    []Load     // in the order of links
	paced    float64    // rate of its fastest flow, in bytes of the link per second
}

// Load is what a stage has a link carry.
type Load struct {
	Link  int32
	Bytes int64
	rate  float64 // bytes of the link per second, at full speed
}

// sums are the bytes of links and chips while a phase is prepared, all zero in between.
type sums struct {
	link, sent, got []int64
	links, chips    []int32
}

// Prepare works out the loads of a job and the time that each phase takes alone: latency and local work, and the longest
// of the times of all links and chips for what they carry. The flows of a phase are paced so that all end with it.
func (n *Net) Prepare(job *Job) *Program {
	p := &Program{Stages: make([]Stage, 0, len(job.Phases))}
	w, _ := n.spare.Get().(*sums)
	if w == nil {
		w = &sums{link: make([]int64, len(n.links)), sent: make([]int64, n.Chips()), got: make([]int64, n.Chips())}
	}
	defer n.spare.Put(w)
	sum, sent, got := w.link, w.sent, w.got
	links, chips := w.links[:0], w.chips[:0] // that carry or move something
	var buf [64]int32
	for i := range job.Phases {
		ph := &job.Phases[i]
		share := ph.Share
		if share == 0 {
			share = 1
		}
		var largest int64
		for _, f := range ph.Flows {
			if f.Bytes == 0 || f.Src == f.Dst {
				continue
			}
			largest = max(largest, f.Bytes)
			for _, l := range n.Path(f.Src, f.Dst, buf[:0]) {
				if sum[l] == 0 {
					links = append(links, l)
				}
				sum[l] += f.Bytes
			}
			if f.Src != Switch {
				chips = append(chips, int32(f.Src))
				sent[f.Src] += f.Bytes
			}
			if f.Dst != Switch {
				chips = append(chips, int32(f.Dst))
				got[f.Dst] += f.Bytes
			}
		}
		slices.Sort(links)
		st := Stage{Name: ph.Name}
		longest := 0.0
		st.Loads = make([]Load, 0, len(links))
		for _, l := range links {
			longest = max(longest, float64(sum[l])/(n.links[l].Rate*share))
			st.Loads = append(st.Loads, Load{Link: l, Bytes: sum[l]})
			sum[l] = 0
		}
		for _, c := range chips {
			if ph.Limit > 0 {
				longest = max(longest, float64(max(sent[c], got[c]))/ph.Limit)
			}
			sent[c], got[c] = 0, 0
		}
		w.links, w.chips = links, chips
		links, chips = links[:0], chips[:0]
		st.Transfer = Picoseconds(longest)
		st.Alone = ph.Latency + ph.Local + st.Transfer
		if seconds := float64(st.Alone) / 1e12; seconds > 0 {
			for l := range st.Loads {
				st.Loads[l].rate = float64(st.Loads[l].Bytes) / share / seconds
			}
			st.paced = float64(largest) / share / seconds
		}
		p.Stages = append(p.Stages, st)
	}
	return p
}

// Alone is how long a program takes with nothing besides.
func (p *Program) Alone() event.Time {
	var t event.Time
	for i := range p.Stages {
		t += p.Stages[i].Alone
	}
	return t
}

// Picoseconds rounds a time in seconds up.
func Picoseconds(seconds float64) event.Time { return event.Time(math.Ceil(seconds * 1e12)) }
