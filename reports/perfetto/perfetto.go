// Package perfetto writes a run's timeline as Chrome trace events in JSON,
// which https://ui.perfetto.dev and chrome://tracing open: the kernels and the
// layers they belong to, the units of one core, and counters of each unit's
// utilization and of the power. Times are microseconds from the start of the
// run, exact to the picosecond in the file; viewers round to nanoseconds.
//
// It holds what the result's timeline holds and no more. Floor 2.
package perfetto

import (
	"bufio"
	"cmp"
	"encoding/json"
	"io"
	"math"
	"slices"
	"strconv"

	"maru/sim/result"
)

// Processes of the trace: the viewer groups tracks by them.
const (
	run = iota + 1
	core
	counters
)

// slice is one stretch of time on a track.
type slice struct {
	name       string
	start, end int64 // picoseconds
	kernel     *result.Kernel
	level      float64
}

// track is slices that do not overlap, so that viewers nest none in another.
type track struct {
	name   string
	slices []slice
}

// Write writes the timeline of a result.
func Write(w io.Writer, res *result.Result) error {
	t := &writer{out: bufio.NewWriterSize(w, 1<<16), units: res.Units}
	t.text(`{"displayTimeUnit":"ns","otherData":{"program":`)
	t.quoted(res.Program)
	t.text(`,"chip":`)
	t.quoted(res.Chip)
	t.text(`,"model":`)
	t.quoted(res.Model)
	t.text(`,"phase":`)
	t.quoted(res.Phase)
	t.text(`,"truncated":`)
	t.text(strconv.FormatBool(res.Timeline.Truncated))
	t.text("},\n\"traceEvents\":[")

	t.process(run, res.Model+" "+res.Phase)
	thread := 0
	for _, tr := range slices.Concat(tracks("layers", layers(res)), tracks("kernels", kernels(res))) {
		thread++
		t.track(run, thread, tr)
	}
	t.process(core, "core 0")
	thread = 0
	for _, tr := range units(res) {
		thread++
		t.track(core, thread, tr)
	}
	t.process(counters, "chip")
	t.utilization(res)
	t.power(res)
	t.text("\n]}\n")
	if t.err != nil {
		return t.err
	}
	return t.out.Flush()
}

// kernels are the launches that take time.
func kernels(res *result.Result) []slice {
	var list []slice
	for i := range res.Timeline.Kernels {
		k := &res.Timeline.Kernels[i]
		if k.EndPS > k.StartPS {
			list = append(list, slice{name: k.Op, start: k.StartPS, end: k.EndPS, kernel: k})
		}
	}
	return list
}

// layers are the stretches in which the kernels of one layer follow each other.
func layers(res *result.Result) []slice {
	var list []slice
	last := -1
	for _, k := range res.Timeline.Kernels {
		switch {
		case k.EndPS <= k.StartPS:
			continue
		case k.Layer < 0:
		case k.Layer == last:
			s := &list[len(list)-1]
			s.start, s.end = min(s.start, k.StartPS), max(s.end, k.EndPS)
		default:
			list = append(list, slice{name: "layer " + strconv.Itoa(k.Layer), start: k.StartPS, end: k.EndPS})
		}
		last = k.Layer
	}
	return list
}

// units are the tracks of the core, in the order of the result's units.
func units(res *result.Result) []track {
	byUnit := map[string][]slice{}
	var order []string
	for _, u := range res.Units {
		order = append(order, u.Name)
	}
	for _, s := range res.Timeline.Core {
		if s.EndPS <= s.StartPS {
			continue
		}
		if !slices.Contains(order, s.Unit) {
			order = append(order, s.Unit)
		}
		byUnit[s.Unit] = append(byUnit[s.Unit], slice{name: s.Op, start: s.StartPS, end: s.EndPS, level: s.Level})
	}
	var list []track
	for _, u := range order {
		list = append(list, tracks(u, byUnit[u])...)
		delete(byUnit, u)
	}
	return list
}

// tracks spreads slices over as many tracks as they need not to overlap.
func tracks(name string, list []slice) []track {
	slices.SortStableFunc(list, func(a, b slice) int { return cmp.Compare(a.start, b.start) })
	var found []track
next:
	for _, s := range list {
		for i := range found {
			if last := found[i].slices[len(found[i].slices)-1]; last.end <= s.start {
				found[i].slices = append(found[i].slices, s)
				continue next
			}
		}
		n := name
		if len(found) > 0 {
			n += " " + strconv.Itoa(len(found)+1)
		}
		found = append(found, track{n, []slice{s}})
	}
	return found
}

// writer writes events as they come. It keeps the first error.
type writer struct {
	out     *bufio.Writer
	err     error
	units   []result.Unit
	events  int
	scratch []byte
}

func (t *writer) text(s string) {
	if t.err == nil {
		_, t.err = t.out.WriteString(s)
	}
}

func (t *writer) quoted(s string) {
	b, err := json.Marshal(s)
	if err != nil && t.err == nil {
		t.err = err
	}
	t.text(string(b))
}

// time writes picoseconds as microseconds, exactly.
func (t *writer) time(ps int64) {
	const million = 1_000_000
	b := t.scratch[:0]
	if ps < 0 {
		b = append(b, '-')
	}
	whole, rest := ps/million, ps%million
	b = strconv.AppendInt(b, max(whole, -whole), 10)
	if rest = max(rest, -rest); rest > 0 {
		frac := strconv.AppendInt(nil, rest+million, 10)
		frac[0] = '.'
		for frac[len(frac)-1] == '0' {
			frac = frac[:len(frac)-1]
		}
		b = append(b, frac...)
	}
	t.scratch = b
	t.text(string(b))
}

// number writes a figure; JSON has none that is not finite.
func (t *writer) number(v float64) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		v = 0
	}
	t.scratch = strconv.AppendFloat(t.scratch[:0], v, 'g', 6, 64)
	t.text(string(t.scratch))
}

// event opens an event up to its arguments, which the caller writes.
func (t *writer) event(phase string, process, thread int, name string) {
	if t.events++; t.events > 1 {
		t.text(",")
	}
	t.text("\n{\"ph\":\"" + phase + "\",\"pid\":" + strconv.Itoa(process) + ",\"tid\":" + strconv.Itoa(thread) + ",\"name\":")
	t.quoted(name)
}

func (t *writer) meta(process, thread int, kind, name string, order int) {
	t.event("M", process, thread, kind+"_name")
	t.text(`,"args":{"name":`)
	t.quoted(name)
	t.text("}}")
	t.event("M", process, thread, kind+"_sort_index")
	t.text(`,"args":{"sort_index":` + strconv.Itoa(order) + "}}")
}

func (t *writer) process(id int, name string) { t.meta(id, 0, "process", name, id) }

func (t *writer) track(process, thread int, tr track) {
	t.meta(process, thread, "thread", tr.name, thread)
	for _, s := range tr.slices {
		t.event("X", process, thread, s.name)
		t.text(`,"ts":`)
		t.time(s.start)
		t.text(`,"dur":`)
		t.time(s.end - s.start)
		switch {
		case s.kernel != nil:
			t.text(`,"args":{"kernel":`)
			t.quoted(s.kernel.Kernel)
			t.text(`,"limited by":`)
			t.quoted(s.kernel.Limit)
			for i, u := range s.kernel.Util {
				if i < len(t.units) {
					t.text(",")
					t.quoted(t.units[i].Name + " %")
					t.text(":")
					t.number(100 * u)
				}
			}
			t.text("}")
		case process == core:
			t.text(`,"args":{"level %":`)
			t.number(100 * s.level)
			t.text("}")
		}
		t.text("}")
	}
}

// counter writes one value of a counter track.
func (t *writer) counter(name, series string, at int64, v float64) {
	t.event("C", counters, 0, name)
	t.text(`,"ts":`)
	t.time(at)
	t.text(`,"args":{`)
	t.quoted(series)
	t.text(":")
	t.number(v)
	t.text("}}")
}

// steps writes a counter that has a value during each kernel and none between
// them. Equal neighbours are written once.
func (t *writer) steps(name, series string, list []slice, value func(slice) float64) {
	last, end := math.NaN(), int64(0)
	set := func(at int64, v float64) {
		if v != last {
			t.counter(name, series, at, v)
			last = v
		}
	}
	for _, s := range list {
		if s.start > end {
			set(end, 0)
		}
		if s.start >= end { // of kernels at the same time, the first counts
			set(s.start, value(s))
			end = s.end
		}
	}
	if len(list) > 0 {
		set(end, 0)
	}
}

func (t *writer) utilization(res *result.Result) {
	list := kernels(res)
	slices.SortStableFunc(list, func(a, b slice) int { return cmp.Compare(a.start, b.start) })
	for i, u := range res.Units {
		t.steps(u.Name+" utilization", "%", list, func(s slice) float64 {
			if i >= len(s.kernel.Util) {
				return 0
			}
			return 100 * s.kernel.Util[i]
		})
	}
}

// power is the mean power of each kernel's operator, where the result has
// energies.
func (t *writer) power(res *result.Result) {
	watts := make([]float64, len(res.Ops))
	known := false
	for i, op := range res.Ops {
		if op.LatencyPS > 0 && op.EnergyPJ > 0 {
			watts[i] = op.EnergyPJ / float64(op.LatencyPS) // pJ per ps
			known = true
		}
	}
	if !known {
		return
	}
	list := kernels(res)
	slices.SortStableFunc(list, func(a, b slice) int { return cmp.Compare(a.start, b.start) })
	ix := res.Index()
	t.steps("power", "W", list, func(s slice) float64 {
		if row := ix.Row(s.kernel.Op); row >= 0 {
			return watts[row]
		}
		return 0
	})
}
