package event

import (
	"math"
	"strconv"
)

// Time is a point in simulated time, or a span of it, in picoseconds. Points in
// time are never negative.
type Time int64

// Common spans, and the last point in time there is.
const (
	Picosecond  Time = 1
	Nanosecond       = 1000 * Picosecond
	Microsecond      = 1000 * Nanosecond
	Millisecond      = 1000 * Microsecond
	Second           = 1000 * Millisecond

	// Forever is the last point in time, about 106 days after the start.
	Forever Time = math.MaxInt64
)

// String returns the time in picoseconds with its unit, for example "1500 ps".
func (t Time) String() string {
	return strconv.FormatInt(int64(t), 10) + " ps"
}
