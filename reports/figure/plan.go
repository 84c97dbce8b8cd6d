package figure

import (
	"fmt"
	"image/color"
	"slices"
	"strconv"

	"maru/reports/human"
	"maru/sim/result"
)

// Plan makes every figure of a run of a model on many chips.
func Plan(res *result.Parallel) []*Figure {
	list := []*Figure{Pipeline(res), PlanMemory(res)}
	if len(res.Links) > 0 {
		list = append(list, linksFigure(res.Links, func(width, height float64) *Figure {
			return planFigure(res, "links", "how busy links are", width, height)
		}))
	}
	if len(res.Matrix) > 0 {
		list = append(list, matrixFigure(res.Matrix, res.Switch, func(width, height float64) *Figure {
			return planFigure(res, "matrix", "bytes from chip to chip", width, height)
		}))
	}
	return list
}

func planFigure(res *result.Parallel, name, title string, width, height float64) *Figure {
	p := res.Plan
	f := &Figure{Name: name, width: width, height: height}
	f.Title = fmt.Sprintf("%s on %d chips of %s: %s", res.Model, res.Chips, res.SystemTitle, title)
	if textWidth(f.Title, titleSize) > width-2*margin {
		f.Title = fitText(fmt.Sprintf("%s on %d chips: %s", res.Model, res.Chips, title), titleSize, width-2*margin)
	}
	f.subtitle = fitText(fmt.Sprintf("tp %d · pp %d · dp %d · %d microbatches of %d · %s · %s · bubble %s", p.TP, p.PP, p.DP, p.Microbatches, p.Microbatch,
		p.Schedule, human.Time(res.LatencyPS), human.Percent(res.Bubble)), subtitleSize, width-2*margin)
	return f
}

// passColour is what a stage does, in the order of the legend.
var passColour = []struct {
	kind, name string
	col        color.RGBA
}{
	{"forward", "forward", blue}, {"backward", "backward", green}, {"weight", "gradients of weights", skyBlue}, {"send", "transfer", orange},
	{"reduce", "sum over replicas", purple}, {"optimizer", "optimizer", darkGrey},
}

// Pipeline draws what the stages do over time: the whole iteration, or the first part of it that has spans. What is blank is
// bubble. Passes of later chunks are paler; what goes on beside passes is a strip below them.
func Pipeline(res *result.Parallel) *Figure {
	const width = 640.0
	n := max(1, len(res.Stages))
	pitch := clamp(320/float64(n), 4, 26)
	bottom := margin + 52
	f := planFigure(res, "pipeline", "what the stages do", width, headRow+pitch*float64(n)+4+bottom)
	var end int64
	seen := map[string]bool{}
	for _, s := range res.Spans {
		if !res.Cut || s.Kind != "optimizer" && s.Kind != "reduce" {
			end = max(end, s.EndPS)
			seen[s.Kind] = true
		}
	}
	area := box{margin + 36, bottom, width - margin - 10, f.height - headRow}
	unit, per := "ms", 1e9
	if end > 1e13 {
		unit, per = "s", 1e12
	}
	x := axis{0, max(1e-9, float64(end)/per), area.x0, area.x1}
	chunks := float64(max(1, res.Plan.Interleave))
	f.draw = func(c *canvas) {
		c.heading(f)
		c.rect(area, pale)
		every := 1
		for float64(every)*pitch < 10 {
			every *= 2
		}
		for s := range n {
			if s%every == 0 {
				c.text(point{area.x0 - 5, area.y1 - pitch*(float64(s)+0.5)}, strconv.Itoa(s), smallSize, atEnd, atCenter, muted)
			}
		}
		strip := func(s *result.PlanSpan) bool {
			return s.Kind == "send" && slices.Contains(res.Plan.Overlap, "pp") || s.Kind == "reduce" && slices.Contains(res.Plan.Overlap, "dp")
		}
		spans := slices.Clone(res.Spans)
		slices.SortStableFunc(spans, func(a, b result.PlanSpan) int { // strips last, so that no pass hides them
			switch x, y := strip(&a), strip(&b); {
			case x == y:
				return 0
			case x:
				return 1
			}
			return -1
		})
		for _, s := range spans {
			if s.StartPS >= end || s.Stage >= n {
				continue
			}
			col := grey
			for _, k := range passColour {
				if k.kind == s.Kind {
					col = k.col
				}
			}
			y1 := area.y1 - pitch*float64(s.Stage)
			b := box{x.at(float64(s.StartPS) / per), y1 - pitch + 0.06*pitch, x.at(float64(min(end, s.EndPS)) / per), y1 - 0.06*pitch}
			beside := strip(&s)
			if beside {
				b.y1 = b.y0 + 0.28*pitch
			}
			c.rect(b, tint(col, 1-0.6*float64(s.Chunk)/chunks))
			if b.x1-b.x0 > 2 && !beside {
				c.line(0.3, white, point{b.x1, b.y0}, point{b.x1, b.y1})
			}
			if text := strconv.Itoa(s.Micro); (s.Kind == "forward" || s.Kind == "backward") && pitch > 11 && textWidth(text, smallSize) < b.x1-b.x0-2 {
				c.text(point{(b.x0 + b.x1) / 2, (b.y0 + b.y1) / 2}, text, smallSize, atCenter, atCenter, over(tint(col, 1-0.6*float64(s.Chunk)/chunks)))
			}
		}
		c.rotated(point{margin + 7, (area.y0+area.y1)/2 - textWidth("stage", textSize)/2}, 1.5707963267948966, "stage", textSize, ink)
		label := unit + " from the start of the iteration"
		if chunks > 1 {
			label += "; later chunks of a stage are paler"
		}
		if res.Cut {
			label += "; the beginning of it"
		}
		c.xAxis(area, x, linearTicks(0, x.hi, 6), label)
		var entries []entry
		for _, k := range passColour {
			if seen[k.kind] {
				entries = append(entries, entry{swatchBox, k.col, k.name})
			}
		}
		entries = append(entries, entry{swatchBox, faint, "bubble"})
		c.legend(point{margin, margin + legendRow - 2}, legendRows(entries, width-2*margin))
	}
	return f
}

// PlanMemory draws what a chip of each stage holds at most, against what it has.
func PlanMemory(res *result.Parallel) *Figure {
	const width = 540.0
	n := max(1, len(res.Stages))
	pitch := clamp(320/float64(n), 5, 24)
	bottom := margin + 52
	f := planFigure(res, "memory", "memory of a chip of each stage", width, headRow+pitch*float64(n)+4+bottom)
	area := box{margin + 36, bottom, width - margin - 14, f.height - headRow}
	parts := []struct {
		name string
		of   func(*result.PlanMemory) int64
		col  color.RGBA
	}{
		{"weights", func(m *result.PlanMemory) int64 { return m.Weights }, blue},
		{"gradients", func(m *result.PlanMemory) int64 { return m.Grads }, skyBlue},
		{"optimizer", func(m *result.PlanMemory) int64 { return m.Optimizer }, green},
		{"activations", func(m *result.PlanMemory) int64 { return m.Activations }, vermillion},
		{"layer at work", func(m *result.PlanMemory) int64 { return m.Working }, orange},
		{"key/value cache", func(m *result.PlanMemory) int64 { return m.KV }, purple},
		{"beside tensors", func(m *result.PlanMemory) int64 { return m.Reserved }, faint},
	}
	var most, capacity int64
	for i := range res.Stages {
		most, capacity = max(most, res.Stages[i].Memory.Total), max(capacity, res.Stages[i].Memory.Capacity)
	}
	const gb = 1e9
	x := axis{0, max(1e-9, 1.04*float64(max(most, capacity))/gb), area.x0, area.x1}
	f.draw = func(c *canvas) {
		c.heading(f)
		ticks := linearTicks(0, x.hi, 6)
		for _, t := range ticks {
			c.line(gridLine, faint, point{x.at(t.v), area.y0}, point{x.at(t.v), area.y1})
		}
		every := 1
		for float64(every)*pitch < 10 {
			every *= 2
		}
		for i := range res.Stages {
			y1 := area.y1 - pitch*float64(i)
			if i%every == 0 {
				c.text(point{area.x0 - 5, y1 - pitch/2}, strconv.Itoa(i), smallSize, atEnd, atCenter, muted)
			}
			at := 0.0
			for _, p := range parts {
				v := float64(p.of(&res.Stages[i].Memory)) / gb
				c.rect(box{x.at(at), y1 - 0.88*pitch, x.at(at + v), y1 - 0.12*pitch}, p.col)
				at += v
			}
		}
		if capacity > 0 {
			end := x.at(float64(capacity) / gb)
			c.dashed(1, ink, point{end, area.y0}, point{end, area.y1})
		}
		c.rotated(point{margin + 7, (area.y0+area.y1)/2 - textWidth("stage", textSize)/2}, 1.5707963267948966, "stage", textSize, ink)
		c.xAxis(area, x, ticks, "GB; the dashed line is what a chip has")
		var entries []entry
		for _, p := range parts {
			for i := range res.Stages {
				if p.of(&res.Stages[i].Memory) > 0 {
					entries = append(entries, entry{swatchBox, p.col, p.name})
					break
				}
			}
		}
		c.legend(point{margin, margin + legendRow - 2}, legendRows(entries, width-2*margin))
	}
	return f
}

// Scaling draws what a chip achieves in each run of a list: over the number of chips, or in the order of the plans.
func Scaling(res *result.Search) *Figure {
	const width, height = 460.0, 260.0
	f := &Figure{Name: "scaling", width: width, height: height + headRow}
	f.Title = fitText(fmt.Sprintf("%s on %s", res.Model, res.System), titleSize, width-2*margin)
	scaled := res.Kind == "plan scale"
	title, sub := "plans, the fastest first", fmt.Sprintf("%d chips, batch %d", res.Chips, res.Batch)
	if scaled {
		title, sub = "chips", fmt.Sprintf("one plan on more replicas, batch from %d; dashed is the rate of the first", res.Batch)
	}
	f.subtitle = fitText(sub, subtitleSize, width-2*margin)
	const most = 40
	list := res.Plans[:min(len(res.Plans), most)]
	top := 1e-9
	for _, c := range list {
		top = max(top, c.ModelTflops)
	}
	area := box{margin + 48, margin + 44, width - margin - 10, height - 10}
	x, y := axis{-0.3, float64(len(list)) - 0.7, area.x0, area.x1}, axis{0, 1.1 * top, area.y0, area.y1}
	var ticks []tick
	for i, c := range list {
		switch {
		case scaled:
			ticks = append(ticks, tick{float64(i), strconv.Itoa(c.Chips)})
		case i%5 == 0:
			ticks = append(ticks, tick{float64(i), strconv.Itoa(i + 1)})
		}
	}
	f.draw = func(c *canvas) {
		c.heading(f)
		rows := linearTicks(0, y.hi, 5)
		for _, t := range rows {
			c.line(gridLine, faint, point{area.x0, y.at(t.v)}, point{area.x1, y.at(t.v)})
		}
		var way []point
		for i, p := range list {
			at := point{x.at(float64(i)), y.at(p.ModelTflops)}
			way = append(way, at)
			c.rect(box{at.x - 2.5, at.y - 2.5, at.x + 2.5, at.y + 2.5}, blue)
			if scaled {
				c.text(point{at.x, at.y + 10}, human.Percent(p.MFU), smallSize, atCenter, atCenter, muted)
			}
		}
		if len(way) > 1 && scaled {
			c.dashed(0.8, muted, way[0], point{way[len(way)-1].x, way[0].y})
			c.line(1.2, blue, way...)
		}
		c.xAxis(area, x, ticks, title)
		label := "TFLOP/s for each chip"
		if scaled {
			label += ", and MFU"
		}
		c.yAxis(area, y, rows, label)
	}
	return f
}
