package event

import "fmt"

// MaxFrequency is the highest frequency of a [Clock] in Hz: one edge in each
// picosecond.
const MaxFrequency = int64(Second)

// Clock is a sequence of numbered edges at a frequency. Edge n of a clock that
// never changed its frequency f is at floor(n·10¹²/f) ps: edges are computed from
// their number with 128-bit products and not from each other, so they do not
// drift. Create one with [NewClock].
type Clock struct {
	hz      int64
	first   int64 // number of the edge from which edges are counted
	anchor  Time  // time of that edge
	changed Time  // time of the last change of frequency
}

// NewClock returns a clock with edge 0 at the time 0 and a frequency of hz Hz, or
// [ErrValue] unless hz is from 1 to [MaxFrequency].
func NewClock(hz int64) (*Clock, error) {
	c := &Clock{}
	if err := c.SetFrequency(0, hz); err != nil {
		return nil, err
	}
	return c, nil
}

// Frequency returns the frequency in Hz, as last set.
func (c *Clock) Frequency() int64 { return c.hz }

// SetFrequency changes the frequency to hz Hz at the time at. The cycle in
// progress at that time keeps its length: the first edge at or after at stays
// where it is, and the edges after it follow at the new frequency. Edges are
// whole picoseconds, so that a change may move later edges forward by less than
// 1 ps against an ideal clock.
//
// It returns [ErrValue] unless hz is from 1 to [MaxFrequency], [ErrPast] if at is
// before the last change, and [ErrOverflow] if no edge follows at.
func (c *Clock) SetFrequency(at Time, hz int64) error {
	if hz < 1 || hz > MaxFrequency {
		return fmt.Errorf("frequency %d Hz: %w", hz, ErrValue)
	}
	if at < c.changed {
		return fmt.Errorf("frequency change at %v, last at %v: %w", at, c.changed, ErrPast)
	}
	if at > c.anchor {
		n := c.number(at)
		t, ok := c.edge(n)
		if !ok {
			return fmt.Errorf("frequency change at %v: %w", at, ErrOverflow)
		}
		c.first, c.anchor = n, t
	}
	c.hz, c.changed = hz, at
	return nil
}

// Edge returns the time of edge n, or [Forever] if that is later. Once the
// frequency was changed, the edges before the one that began the new frequency
// are forgotten: for these, Edge returns the time of that one.
func (c *Clock) Edge(n int64) Time {
	t, _ := c.edge(n)
	return t
}

// edge is Edge; ok tells whether the edge is at most at Forever.
func (c *Clock) edge(n int64) (t Time, ok bool) {
	if n <= c.first {
		return c.anchor, true
	}
	quo, _, ok := mulDiv(uint64(n-c.first), psPerSecond, 0, uint64(c.hz))
	if !ok {
		return Forever, false
	}
	return later(c.anchor, quo)
}

// Cycle returns the number of the last edge at or before t: the n for which
// Edge(n) <= t < Edge(n+1). Cycle(Edge(n)) is n. t must not be before the last
// change of frequency.
func (c *Clock) Cycle(t Time) int64 {
	if t < c.anchor {
		return c.first - 1
	}
	// floor(n·10¹²/f) <= t holds for n·10¹² <= (t+1)·f - 1.
	quo, _, _ := mulDiv(uint64(t-c.anchor), uint64(c.hz), uint64(c.hz)-1, psPerSecond)
	return c.first + int64(quo)
}

// NextEdge returns the time of the first edge at or after t, or [Forever] if that
// is later. t must not be before the last change of frequency.
func (c *Clock) NextEdge(t Time) Time {
	if t <= c.anchor {
		return c.anchor
	}
	return c.Edge(c.number(t))
}

// number returns the number of the first edge at or after t, which is after the
// anchor.
func (c *Clock) number(t Time) int64 {
	// floor(n·10¹²/f) >= t holds for n >= t·f/10¹².
	quo, _, _ := mulDiv(uint64(t-c.anchor), uint64(c.hz), psPerSecond-1, psPerSecond)
	return c.first + int64(quo)
}
