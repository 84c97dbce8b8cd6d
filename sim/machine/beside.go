package machine

import (
	"slices"

	"maru/workloads/trace"
)

// beside is a launch on the embedding units, which run while the cores go on
// with the launches after it. Its measured time is what the cores wait for it.
type beside struct {
	start, end int64   // ps, in the run
	join       int     // the launch that waits for it; the number of launches if none does
	dram       float64 // ps that main memory alone needs for it
}

// together puts the launches on the embedding units beside those of the cores.
// A launch starts once those before it in the trace are done and the units are
// free, and the cores wait for it ahead of the first launch that takes what it
// stores. Main memory is shared: what both ask for until then takes as long as
// it takes one after the other at full rate, at least.
func (r *replay) together(runs []*measured) {
	var now, free int64
	var open []int
	join := func(i int) {
		for _, s := range open {
			now += r.wait(runs, s, i, now)
		}
	}
	for i := range runs {
		l := &r.tr.Launches[i]
		var due, later []int
		for _, s := range open {
			if r.takes(l, &r.tr.Launches[s]) {
				due = append(due, s)
			} else {
				later = append(later, s)
			}
		}
		open = due
		join(i)
		open = later
		if !r.tr.Programs[l.Program].Embedding {
			now += runs[i].dur
			continue
		}
		d := *runs[i]
		start := max(now, free)
		d.beside = &beside{start: start, end: start + d.dur, join: len(runs), dram: d.busy[onDRAM]}
		free = d.beside.end
		runs[i] = &d
		open = append(open, i)
	}
	join(len(runs))
}

// takes reports whether a launch reads or overwrites what another one stores.
func (r *replay) takes(l, from *trace.Launch) bool {
	prog := &r.tr.Programs[from.Program]
	for i := range prog.Parts {
		for j := range prog.Parts[i].Code {
			for k := range prog.Parts[i].Code[j].Body {
				if in := &prog.Parts[i].Code[j].Body[k]; in.Kind == trace.Store && slices.Contains(l.Args, from.Args[in.Slot]) {
					return true
				}
			}
		}
	}
	return false
}

// wait ends launch s on the embedding units ahead of launch i and returns for
// how long the cores wait. What main memory does for it meanwhile comes off the
// time in which it has nothing to do.
func (r *replay) wait(runs []*measured, s, i int, now int64) int64 {
	d := runs[s]
	b := d.beside
	need := b.dram
	for k := s + 1; k < i; k++ {
		if runs[k].beside == nil { // the units do one launch after the other
			need += runs[k].busy[onDRAM]
		}
	}
	b.end = max(b.end, b.start+int64(need))
	b.join = i
	shown := max(0, b.end-now)
	var total float64
	for c := range d.path {
		total += d.path[c]
	}
	for c := range d.path {
		part := 0.0
		if total > 0 {
			part = d.path[c] / total * float64(shown)
		}
		d.path[c] = part
		for u := range d.stall {
			d.stall[u][c] = part
		}
	}
	d.busy = [engines]float64{}
	d.busy[onDRAM] = min(b.dram, float64(shown))
	r.idle(&d.stall[onDRAM], d.busy[onDRAM])
	hidden := b.dram - d.busy[onDRAM]
	for k := s + 1; k < i && hidden > 0; k++ {
		if runs[k].beside != nil {
			continue
		}
		n := *runs[k]
		took := r.idle(&n.stall[onDRAM], hidden)
		n.busy[onDRAM] += took
		hidden -= took
		runs[k] = &n
	}
	if p := r.chip.Power; p != nil {
		d.energy.static = float64(p.Static.Value) * float64(shown)
	}
	d.cycles = int64(float64(d.cycles) * float64(shown) / float64(max(1, d.dur)))
	d.gap, d.dur = 0, shown
	d.spans = nil
	return shown
}

// idle takes up to ps off an engine's waits, in proportion, and returns how
// much it took.
func (r *replay) idle(stall *[limits]float64, ps float64) float64 {
	var sum float64
	for _, v := range stall {
		sum += v
	}
	took := min(sum, ps)
	if sum > 0 {
		for c := range stall {
			stall[c] -= float64(stall[c] * (took / sum))
		}
	}
	return took
}

// waited is how long the cores wait ahead of launch i for embedding units.
func waited(runs []*measured, i int) (ps int64) {
	for _, d := range runs {
		if d.beside != nil && d.beside.join == i {
			ps += d.dur
		}
	}
	return ps
}
