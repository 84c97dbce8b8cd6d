package terminal

import (
	"cmp"
	"io"
	"slices"

	"maru/reports/human"
	"maru/sim/result"
)

// Collective writes a run of collectives: how long each took and how it was carried out, what else the library
// considered, and the links that were busiest.
func Collective(w io.Writer, r *result.Collective, o Options) error {
	p := &page{color: o.Color}
	p.line("%s", p.paint(bold, r.SystemTitle+" · "+human.Count(int64(r.Chips))+" chips ("+r.Shape+") · "+r.Library))
	for _, op := range r.Ops {
		p.line("")
		p.line("%s of %s in %s among %d chips", p.paint(bold, op.Op), human.Bytes(op.Bytes), op.DType, op.Ranks)
		p.fact("latency", "%s   %.2fx of the bound, %s", human.Time(op.LatencyPS), op.LatencyUS/op.BoundUS, human.US(op.BoundUS))
		if alone := op.AloneUS; op.LatencyUS > alone {
			p.fact("", "%s alone, %s more for links that are shared", human.US(alone), human.Percent(op.LatencyUS/alone-1))
		}
		p.fact("algorithm", "%s, protocol %s, %d channels", op.Algorithm, op.Protocol, op.Channels)
		p.fact("bandwidth", "%s of data · bus %s", human.SI(op.AlgBps, "B/s"), human.SI(op.BusBps, "B/s"))
		p.fact("traffic", "%s sent by all chips", human.Bytes(op.SentBytes))
		var work, wait int64
		for _, ph := range op.Phases {
			work += ph.TransferPS
			wait += ph.TimePS - ph.TransferPS
		}
		p.fact("time", "%s of transfers · %s of latency and copies · %s", human.Time(work), human.Time(wait), phases(len(op.Phases)))
	}
	for _, op := range r.Ops {
		if len(op.Others) == 0 {
			continue
		}
		p.heading("What " + r.Library + " takes " + op.Op + " to cost")
		p.line("  %-13s %-9s %12s", op.Algorithm, op.Protocol, human.US(op.CostUS)+" *")
		others := slices.Clone(op.Others)
		slices.SortStableFunc(others, func(a, b result.Way) int { return cmp.Compare(a.CostUS, b.CostUS) })
		for i, way := range others {
			if i == o.top() {
				break
			}
			p.line("  %-13s %-9s %10s", way.Algorithm, way.Protocol, human.US(way.CostUS))
		}
	}
	links := slices.Clone(r.Links)
	slices.SortStableFunc(links, func(a, b result.LinkLoad) int { return cmp.Compare(b.Utilization, a.Utilization) })
	p.heading("Busiest links  share of the bandwidth that long transfers reach")
	for i, l := range links {
		if i == min(o.top(), 5) {
			p.line("  %s", p.paint(dim, human.Count(int64(len(links)-i))+" others"))
			break
		}
		p.line("  %-44s %10s  %s", fit(l.Name, 44), human.Bytes(l.Bytes), human.Percent(l.Utilization))
	}
	p.line("")
	if r.Estimated == 0 {
		p.line("None of the %d figures that describe the system is an estimate.", r.Figures)
	} else {
		p.line("%d of the %d figures that describe the system are estimates; with them the latency lies", r.Estimated, r.Figures)
		p.line("between %s and %s.", human.US(r.LowUS), human.US(r.HighUS))
	}
	_, err := w.Write(p.Bytes())
	return err
}

func phases(n int) string {
	if n == 1 {
		return "1 phase"
	}
	return human.Count(int64(n)) + " phases"
}
