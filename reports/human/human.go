// Package human writes quantities the way a person reads them: three
// significant digits and a unit that keeps the number between 1 and 1000
// (36.4 ms, 12.1 GB, 989 Tflop/s). It rounds; it is for reports only and never
// for files that a program reads back. Prefixes are decimal: a GB is 10^9
// bytes. Floor 2.
package human

import (
	"math"
	"strconv"
)

var prefixes = [...]string{"p", "n", "µ", "m", "", "k", "M", "G", "T", "P", "E"}

const unity = 4 // index of the empty prefix

// SI writes v with a decimal prefix before unit: SI(3.35e12, "B/s") is
// "3.35 TB/s". Zero, and values beyond the prefixes, are written plainly.
func SI(v float64, unit string) string {
	number, prefix := scale(v, 0)
	if prefix+unit == "" {
		return number
	}
	return number + " " + prefix + unit
}

// scale splits v x 1000^shift into three significant digits and a prefix.
func scale(v float64, shift int) (number, prefix string) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return strconv.FormatFloat(v, 'g', -1, 64), ""
	}
	m, p := math.Abs(v), unity+shift
	if m == 0 {
		return "0", ""
	}
	for m >= 999.5 && p < len(prefixes)-1 {
		m /= 1000
		p++
	}
	for m < 0.9995 && p > 0 {
		m *= 1000
		p--
	}
	number = Digits(m)
	if v < 0 {
		number = "-" + number
	}
	return number, prefixes[p]
}

// Digits writes v with three significant digits, without a fraction from 100
// upwards and with two digits below 0.1: 0.087, 4.20, 36.4, 989, 12345.
func Digits(v float64) string {
	m := math.Abs(v)
	switch {
	case m >= 1e15:
		return strconv.FormatFloat(v, 'g', 3, 64)
	case m >= 99.95:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case m >= 9.995:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case m == 0:
		return "0"
	case m < 0.0995:
		return strconv.FormatFloat(v, 'g', 2, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// Time writes picoseconds: "36.4 ms".
func Time(ps int64) string { return PS(float64(ps)) }

// PS writes picoseconds that need not be whole.
func PS(ps float64) string {
	if ps == 0 {
		return "0 s"
	}
	if math.Abs(ps) >= 1e15 {
		return Digits(ps/1e12) + " s"
	}
	number, prefix := scale(ps, -unity)
	return number + " " + prefix + "s"
}

// US writes microseconds: "36.4 ms".
func US(us float64) string { return PS(us * 1e6) }

// Bytes writes a number of bytes: "12.1 GB".
func Bytes(n int64) string {
	if n > -1000 && n < 1000 {
		return strconv.FormatInt(n, 10) + " B"
	}
	return SI(float64(n), "B")
}

// Percent writes a share with a resolution that fits its size: "0.4 %",
// "6.1 %", "82 %".
func Percent(share float64) string {
	p := share * 100
	switch m := math.Abs(p); {
	case m == 0 || m >= 9.95 || math.IsNaN(p):
		return strconv.FormatFloat(p, 'f', 0, 64) + " %"
	case m < 0.05:
		return "<0.1 %"
	}
	return strconv.FormatFloat(p, 'f', 1, 64) + " %"
}

// Count writes a whole number, in groups of three digits: "1 234 567".
func Count(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	out := make([]byte, 0, len(s)+len(s)/3)
	for i := range len(s) {
		if i > 0 && (len(s)-i)%3 == 0 {
			out = append(out, ' ')
		}
		out = append(out, s[i])
	}
	return sign + string(out)
}
