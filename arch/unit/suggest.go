package unit

import (
	"slices"
	"strings"
)

// suggest returns the unit that was probably meant by name, or the empty string.
func suggest(name string, units []string) string {
	if len(name) > 16 {
		return ""
	}
	units = slices.DeleteFunc(slices.Clone(units), func(u string) bool { return strings.ContainsAny(u, "µ²") })
	// The same letters in another case, or another spelling of the same unit.
	best, bestCost := "", 0
	for _, u := range units {
		if u != "" && spelling(u) == spelling(name) {
			if cost := mismatches(name, u); best == "" || cost < bestCost {
				best, bestCost = u, cost
			}
		}
	}
	if best != "" {
		return best
	}
	// The unit of a rate without its divisor, or the other way round.
	for _, u := range units {
		mine, _, rate := strings.Cut(u, "/")
		theirs, _, given := strings.Cut(name, "/")
		if u != "" && rate != given && spelling(mine) == spelling(theirs) {
			return u
		}
	}
	for _, near := range []func(a, b string) bool{swapped, oneEdit} {
		for _, u := range units {
			if len(u) > 1 && near(spelling(name), spelling(u)) {
				return u
			}
		}
	}
	return ""
}

// spelling maps the usual ways to write a unit to one.
func spelling(s string) string {
	s = strings.ToLower(strings.ReplaceAll(s, " ", ""))
	s = strings.NewReplacer("μ", "u", "µ", "u", "²", "2", "^2", "2", "second", "s", "sec", "s", "cycle", "clk",
		"clock", "clk", "bytes", "b", "byte", "b", "flops", "flop/s", "ops", "op/s", "percent", "%", "$", "usd").Replace(s)
	s = strings.ReplaceAll(s, "/s/", "/") // FLOPS/clk
	s = strings.ReplaceAll(s, "/s/s", "/s")
	if strings.HasSuffix(s, "bps") {
		s = s[:len(s)-2] + "/s"
	}
	return s
}

// mismatches counts the bytes in which two texts differ, position by position.
func mismatches(a, b string) int {
	n := max(len(a), len(b)) - min(len(a), len(b))
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			n++
		}
	}
	return n
}

// swapped reports whether a and b differ in the order of two neighbours.
func swapped(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	return i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
}

// oneEdit reports whether one insertion, deletion or substitution turns a into b.
func oneEdit(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	switch len(b) - len(a) {
	case 0:
		return i < len(a) && a[i+1:] == b[i+1:]
	case 1:
		return a[i:] == b[i+1:]
	}
	return false
}
