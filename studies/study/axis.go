package study

import (
	"fmt"
	"math"
	"strconv"

	"maru/internal/config"
)

// Axis is a path with the values that it takes.
type Axis struct {
	Path   string
	Values []string // as "--set" takes them
	key    *key
}

// Dim is what varies on its own: an axis, or several that advance together.
type Dim struct {
	Axes []Axis
	N    int // values of each
}

// span is a range of values.
type span struct {
	From  string `yaml:"from" doc:"First value."`
	To    string `yaml:"to" doc:"Last value."`
	Steps int    `yaml:"steps,optional" bound:"2..1000000" doc:"Number of values with both ends; not needed for powers of two."`
	Scale string `yaml:"scale,optional" enum:"linear,log,pow2" doc:"Equal differences, equal ratios, or doubling from the first value; linear unless given."`
}

// maxValues bounds the values of an axis.
const maxValues = 1_000_000

// axis reads the values of an axis. Errors are reported to bad.
func axis(path string, k *key, v config.Value, bad func(*config.Error)) Axis {
	a := Axis{Path: path, key: k}
	const allowed = "allowed: a list of values, or {from: FIRST, to: LAST, steps: N}, with scale: log or pow2"
	if items, ok := v.Items(); ok {
		for _, item := range items {
			if text, ok := value1(k, item, bad); ok {
				a.Values = append(a.Values, text)
			}
		}
		if len(items) == 0 {
			bad(v.Error("no values", allowed, ""))
		}
		return a
	}
	if _, ok := v.Entries(); !ok {
		bad(v.Error("a single value", allowed, "base, for what does not vary, or derived, for what follows from other axes"))
		return a
	}
	var s span
	if err := v.Decode(&s); err != nil {
		for _, e := range err.(config.Errors) {
			bad(e)
		}
		return a
	}
	if !isNumber(k.typ) {
		bad(v.Error("a range of words", "allowed: a list of values", ""))
		return a
	}
	for _, end := range []string{s.From, s.To} {
		if err := k.check(end); err != nil {
			problem, allowed, hint := parts(err)
			bad(v.Error(problem, allowed, hint))
			return a
		}
	}
	values, err := s.values(k)
	if err != nil {
		bad(v.Error(err.Error(), "", ""))
	}
	a.Values = values
	return a
}

// value1 reads one value of a key.
func value1(k *key, v config.Value, bad func(*config.Error)) (string, bool) {
	text, single := v.Text()
	if !single {
		if _, section := v.Entries(); !section && !k.described() {
			bad(v.Error("not a single value", "allowed: a value of "+k.path, ""))
			return "", false
		}
		return v.Flow(), true
	}
	if err := k.check(text); err != nil {
		problem, allowed, hint := parts(err)
		bad(v.Error(problem, allowed, hint))
		return "", false
	}
	if k.described() {
		return v.Flow(), true
	}
	return text, true
}

// described reports whether a key is of a file that is described by others, whose values may be sections.
func (k *key) described() bool { return k.owner == ofChip || k.owner == ofModel || k.owner == ofSystem }

// values lists the values of a range in its unit.
func (s *span) values(k *key) ([]string, error) {
	from, _ := read(s.From)
	to, _ := read(s.To)
	n := s.Steps
	switch {
	case s.Scale == "pow2" && n > 0:
		return nil, fmt.Errorf("steps of a range of powers of two, whose number follows from its ends")
	case s.Scale != "pow2" && n == 0:
		return nil, fmt.Errorf("no steps")
	case s.Scale != "" && s.Scale != "linear" && (from.v <= 0 || to.v <= 0):
		return nil, fmt.Errorf("a range by ratios from %s to %s, which are not both above 0", s.From, s.To)
	case s.Scale == "pow2" && compare(to, from) < 0:
		return nil, fmt.Errorf("a range that doubles from %s down to %s", s.From, s.To)
	}
	// Values are written in the unit of both ends, if it is one, so that a column
	// reads evenly.
	a, b, one := from.v, to.v, 1.0
	_, unit := split(s.From)
	if _, u := split(s.To); u != unit {
		unit = ""
	} else if unit != "" {
		one, _ = kindOf(k.typ).parse("1 " + unit)
		a, b = given(s.From), given(s.To)
	}
	var raw []float64
	switch s.Scale {
	case "pow2":
		for v := a; v <= b && len(raw) < maxValues; v *= 2 {
			raw = append(raw, v)
		}
	case "log":
		ratio := root(b/a, n-1)
		for i := range n {
			raw = append(raw, a*power(ratio, i))
		}
		raw[n-1] = b
	default:
		for i := range n {
			raw = append(raw, (float64(a*float64(n-1-i))+float64(b*float64(i)))/float64(n-1))
		}
	}
	var out []string
	for i, v := range raw {
		text := number{v * one, from.ten, from.d}.text(k.typ)
		if isWhole(k.typ) {
			text = plain(math.RoundToEven(v)).text(k.typ)
		} else if unit != "" {
			short := strconv.FormatFloat(v, 'f', -1, 64) + " " + unit
			if _, err := kindOf(k.typ).parse(short); err == nil { // no fraction of a byte or a picosecond
				text = short
			}
		}
		if i > 0 && text == out[len(out)-1] {
			return nil, fmt.Errorf("%d steps from %s to %s repeat the value %s", n, s.From, s.To, text)
		}
		out = append(out, text)
	}
	return out, nil
}

// given is a quantity as the number that was written.
func given(text string) float64 {
	digits, _ := split(text)
	v, _ := strconv.ParseFloat(digits, 64) // checked before
	return v
}

// power is x^n by multiplication, the same on every processor.
func power(x float64, n int) float64 {
	p := 1.0
	for ; n > 0; n >>= 1 {
		if n&1 == 1 {
			p *= x
		}
		x *= x
	}
	return p
}

// root is the n-th root of x > 0, by bisection to the last bit.
func root(x float64, n int) float64 {
	low, high := min(x, 1), max(x, 1)
	for {
		mid := low + float64((high-low)/2)
		if mid <= low || mid >= high {
			return low
		}
		if power(mid, n) <= x {
			low = mid
		} else {
			high = mid
		}
	}
}
