package figure

import "math"

// placer finds room for labels: no label covers another, a marker or the edge
// of the plot; lines are crossed only when there is no better place.
type placer struct {
	within  box
	solid   []box      // markers and labels
	lines   [][2]point // drawn lines that a label should not cover
	leaders [][2]point // leaders of labels placed so far
	labels  []box      // boxes of texts placed so far
}

// noLeader is the distance up to which a label needs no line to its marker.
const noLeader = 10

// avoid reserves room.
func (p *placer) avoid(b box) { p.solid = append(p.solid, b) }

// write reserves room for a text, which no leader may cross.
func (p *placer) write(b box) {
	p.avoid(b)
	p.labels = append(p.labels, b)
}

// free says that nothing solid is in b.
func (p *placer) free(b box) bool {
	if !p.within.contains(b) {
		return false
	}
	for _, s := range p.solid {
		if s.overlaps(b) {
			return false
		}
	}
	return true
}

// place finds the best box of w x h for the label of a marker of radius r at
// a point, reserves it, and returns it with the leader from label to marker
// (equal points when the label is close enough to need none). ok is false when
// there is no room.
func (p *placer) place(at point, r, w, h float64) (b box, leader [2]point, ok bool) {
	const directions = 24
	best := math.Inf(1)
	for reach := 3.5; reach < 190; reach += 6 {
		if reach >= best {
			break // cost is at least the reach
		}
		for i := range directions {
			sin, cos := math.Sincos(2 * math.Pi * float64(i) / directions)
			d := r + reach
			// The label's side faces the marker on the left and right; above
			// and below, the label slides along the marker.
			x, y := at.x+d*cos+w/2*cos, at.y+d*sin+h/2*sin
			if math.Abs(cos) > 0.4 {
				x = at.x + d*cos + math.Copysign(w/2, cos)
			}
			cand := box{x - w/2, y - h/2, x + w/2, y + h/2}
			if !p.free(cand.grown(1.2)) {
				continue
			}
			near := point{clamp(at.x, cand.x0, cand.x1), clamp(at.y, cand.y0, cand.y1)}
			cost := reach + p.clutter(cand, near, at, reach)
			cost += 0.4 * math.Abs(sin) // sides read better than above and below
			if cost < best-1e-9 {
				best, b, ok = cost, cand, true
				leader = [2]point{near, near}
				if full := math.Hypot(at.x-near.x, at.y-near.y); reach > noLeader && full > r+2 {
					stop := 1 - (r+0.5)/full // at the marker's edge
					leader[1] = point{near.x + (at.x-near.x)*stop, near.y + (at.y-near.y)*stop}
				}
			}
		}
	}
	if ok {
		p.write(b.grown(0.8))
		if leader[0] != leader[1] {
			p.leaders = append(p.leaders, leader)
		}
	}
	return b, leader, ok
}

// clutter is the cost of a label's box and leader on what is drawn already.
func (p *placer) clutter(b box, near, at point, reach float64) float64 {
	cost := 0.0
	for _, l := range p.lines {
		if crosses(b, l) {
			cost += 25
		}
	}
	for _, l := range p.leaders {
		if crosses(b, l) {
			cost += 300
		}
	}
	if reach <= noLeader {
		return cost
	}
	lead := [2]point{near, at}
	for _, l := range p.leaders {
		if intersects(lead, l) {
			cost += 80
		}
	}
	for _, l := range p.lines {
		if intersects(lead, l) {
			cost += 4
		}
	}
	for _, s := range p.solid {
		if s.x0 <= at.x && at.x <= s.x1 && s.y0 <= at.y && at.y <= s.y1 {
			continue // the marker itself
		}
		if crosses(s, lead) {
			cost += 20
		}
	}
	for _, l := range p.labels {
		if crosses(l, lead) {
			cost += 300
		}
	}
	return cost
}

// intersects says that two segments cross.
func intersects(a, b [2]point) bool {
	side := func(p, q, r point) float64 { return (q.x-p.x)*(r.y-p.y) - (q.y-p.y)*(r.x-p.x) }
	return side(a[0], a[1], b[0])*side(a[0], a[1], b[1]) < 0 && side(b[0], b[1], a[0])*side(b[0], b[1], a[1]) < 0
}

// crosses says that a segment passes through a box.
func crosses(b box, s [2]point) bool {
	inside := func(p point) bool { return b.x0 < p.x && p.x < b.x1 && b.y0 < p.y && p.y < b.y1 }
	if inside(s[0]) || inside(s[1]) {
		return true
	}
	return intersects(s, [2]point{{b.x0, b.y0}, {b.x1, b.y1}}) || intersects(s, [2]point{{b.x0, b.y1}, {b.x1, b.y0}})
}
