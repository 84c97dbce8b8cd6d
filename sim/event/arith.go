package event

import "math/bits"

// psPerSecond is the number of picoseconds in a second.
const psPerSecond = uint64(Second)

// mulDiv returns the quotient and the remainder of (a·b + c) / d. ok is false if
// the quotient exceeds 64 bits. The sum must not exceed 128 bits, and d is not 0.
func mulDiv(a, b, c, d uint64) (quo, rem uint64, ok bool) {
	hi, lo := bits.Mul64(a, b)
	lo, carry := bits.Add64(lo, c, 0)
	hi += carry
	if hi >= d {
		return 0, 0, false
	}
	quo, rem = bits.Div64(hi, lo, d)
	return quo, rem, true
}

// later returns t + d, and whether it is at most Forever. t is not negative.
func later(t Time, d uint64) (Time, bool) {
	if d > uint64(Forever-t) {
		return Forever, false
	}
	return t + Time(d), true
}
