package unit

import "math"

// Sizes, in bytes.
const (
	Byte Bytes = 1

	KB = 1000 * Byte
	MB = 1000 * KB
	GB = 1000 * MB
	TB = 1000 * GB

	KiB = 1024 * Byte
	MiB = 1024 * KiB
	GiB = 1024 * MiB
	TiB = 1024 * GiB
)

// Times, in picoseconds.
const (
	Picosecond  Duration = 1
	Nanosecond           = 1000 * Picosecond
	Microsecond          = 1000 * Nanosecond
	Millisecond          = 1000 * Microsecond
	Second               = 1000 * Millisecond
)

// Seconds returns the time in seconds.
func (d Duration) Seconds() float64 { return float64(d) / 1e12 }

// At returns the work per second at a clock frequency: the product.
func (r Rate) At(f Frequency) FlopRate { return FlopRate(float64(r) * float64(f)) }

// At returns the bandwidth at a clock frequency: the product.
func (b BytesPerClock) At(f Frequency) Bandwidth { return Bandwidth(float64(b) * float64(f)) }

// At returns the time that the cycles take at a clock frequency, rounded to the nearest picosecond. It is the largest
// Duration if the time is longer, and for a frequency of zero.
func (c Cycles) At(f Frequency) Duration {
	ps := math.Round(float64(c) / float64(f) * 1e12)
	if !(ps < math.MaxInt64) {
		return math.MaxInt64
	}
	return Duration(ps)
}
