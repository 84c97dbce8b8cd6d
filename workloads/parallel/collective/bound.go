package collective

import (
	"maru/arch/system"
	"maru/sim/event"
	"maru/sim/fabric"
)

// Bound is the time that no algorithm beats: what a chip has to send, or to get, at least, over the peak of all of its
// links in one direction. That is (n-1)/n of the bytes of all collectives but a broadcast and a send, which are all of
// them; an all-reduce does no better in a switch that adds, as its data has to leave the chip, but for a part.
//
// The error is that of New about the request.
func Bound(net *fabric.Net, req Request) (event.Time, error) {
	b, err := newBuilder(net, req)
	if err != nil {
		return 0, err
	}
	bytes := float64(req.Bytes)
	if req.Kind != Broadcast && req.Kind != Send {
		bytes -= bytes / float64(b.n)
	}
	s := net.Slice
	peak := egress(&s.System.ScaleUp, s.Up, 1)
	if len(s.Out) > 0 {
		peak += egress(s.System.ScaleOut, s.Out, float64(s.System.ScaleOut.Adapters.Value)) / float64(min(net.Ports(), net.Node()))
	}
	return fabric.Picoseconds(bytes / peak), nil
}

// egress is the peak of a member's links in one direction.
func egress(t *system.Tier, axes []system.Axis, adapters float64) float64 {
	link := func(l *system.Link) float64 {
		return float64(l.Bandwidth.Value) * float64(l.Count.Value) * adapters
	}
	links := 1.0
	switch t.Topology {
	case system.Full:
		links = float64(axes[0].Size - 1)
	case system.Ring, system.Torus, system.Mesh:
		links = 0
		for _, a := range axes {
			links += float64(min(2, a.Size-1))
		}
	case system.Dragonfly:
		return float64(link(&t.Link)*float64(axes[0].Size-1)) + float64(link(t.Global))
	}
	return link(&t.Link) * links
}
