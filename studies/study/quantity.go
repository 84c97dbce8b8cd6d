package study

import (
	"encoding"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"maru/arch/unit"
)

// dims are the powers of the dimensions of a number: bytes, seconds, clocks,
// operations, joules, square millimetres, US dollars, volts.
type dims [8]int8

// number is v * 10^ten in the SI units of its dimensions (and mm2, USD, clk,
// FLOP). The power of ten is kept apart so that what was read in picoseconds
// or picojoules is printed as it was.
type number struct {
	v   float64
	ten int
	d   dims
}

// plain is a number without dimension.
func plain(v float64) number { return number{v: v} }

// kind is a quantity of arch/unit: the value of its type is in 10^ten of the SI
// units.
type kind struct {
	noun  string
	d     dims
	ten   int
	typ   reflect.Type
	units []string
	parse func(string) (float64, error)
	text  func(float64) string
}

func float[T interface {
	~float64
	unit.Quantity
}](noun string, d dims, ten int, parse func(string) (T, error)) kind {
	return kind{noun, d, ten, reflect.TypeFor[T](), T(0).Units(),
		func(s string) (float64, error) { v, err := parse(s); return float64(v), err },
		func(v float64) string { return T(v).String() }}
}

// whole is a quantity without fractions of its base unit, to which results of
// arithmetic are rounded.
func whole[T interface {
	~int64
	unit.Quantity
}](noun string, d dims, ten int, parse func(string) (T, error)) kind {
	return kind{noun, d, ten, reflect.TypeFor[T](), T(0).Units(),
		func(s string) (float64, error) { v, err := parse(s); return float64(v), err },
		func(v float64) string { return T(math.RoundToEven(v)).String() }}
}

// kinds lists the quantities. A ratio is the one without dimension.
var kinds = []kind{
	whole("size", dims{1}, 0, unit.ParseBytes),
	whole("duration", dims{0, 1}, -12, unit.ParseDuration),
	float("bandwidth", dims{1, -1}, 0, unit.ParseBandwidth),
	float("transfer per clock", dims{1, 0, -1}, 0, unit.ParseBytesPerClock),
	float("frequency", dims{0, -1, 1}, 0, unit.ParseFrequency),
	float("number of cycles", dims{0, 0, 1}, 0, unit.ParseCycles),
	float("work per clock", dims{0, 0, -1, 1}, 0, unit.ParseRate),
	float("work per second", dims{0, -1, 0, 1}, 0, unit.ParseFlopRate),
	float("power", dims{0, -1, 0, 0, 1}, 0, unit.ParsePower),
	float("energy", dims{0, 0, 0, 0, 1}, -12, unit.ParseEnergy),
	float("energy per byte", dims{-1, 0, 0, 0, 1}, -12, unit.ParseEnergyPerByte),
	float("energy per operation", dims{0, 0, 0, -1, 1}, -12, unit.ParseEnergyPerFlop),
	float("area", dims{0, 0, 0, 0, 0, 1}, 0, unit.ParseArea),
	float("price", dims{0, 0, 0, 0, 0, 0, 1}, 0, unit.ParseMoney),
	float("voltage", dims{0, 0, 0, 0, 0, 0, 0, 1}, 0, unit.ParseVoltage),
	float("ratio", dims{}, 0, unit.ParseRatio),
}

// kindOf returns the quantity of a type, or nil.
func kindOf(t reflect.Type) *kind {
	if i := slices.IndexFunc(kinds, func(k kind) bool { return k.typ == t }); i >= 0 {
		return &kinds[i]
	}
	return nil
}

// kindWith returns the quantity that has a unit, or nil.
func kindWith(u string) *kind {
	if i := slices.IndexFunc(kinds, func(k kind) bool { return u != "" && slices.Contains(k.units, u) }); i >= 0 {
		return &kinds[i]
	}
	return nil
}

// units lists the units of all quantities, the longest first.
var units = func() []string {
	var out []string
	for i := range kinds {
		for _, u := range kinds[i].units {
			if u != "" {
				out = append(out, u)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b string) int { return len(b) - len(a) })
	return out
}()

// isNumber reports whether values of a type are numbers, with or without unit.
func isNumber(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Int, reflect.Int64, reflect.Float64:
		return !isText(t) || kindOf(t) != nil
	}
	return false
}

// isWhole reports whether a type has whole numbers without unit.
func isWhole(t reflect.Type) bool {
	return (t.Kind() == reflect.Int || t.Kind() == reflect.Int64) && !isText(t)
}

func isText(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// dimsOf returns the dimensions of the numbers of a type.
func dimsOf(t reflect.Type) dims {
	if k := kindOf(t); k != nil {
		return k.d
	}
	return dims{}
}

// numeral returns the length of the decimal number that a text begins with.
func numeral(s string) int {
	end := 0
	for end < len(s) {
		c := s[end]
		sign := (c == '+' || c == '-') && (end == 0 || s[end-1] == 'e' || s[end-1] == 'E')
		exponent := (c == 'e' || c == 'E') && end+1 < len(s) && strings.IndexByte("+-0123456789", s[end+1]) >= 0
		if !sign && !exponent && c != '.' && (c < '0' || c > '9') {
			break
		}
		end++
	}
	return end
}

// split takes a number and its unit apart.
func split(text string) (digits, unit string) {
	text = strings.TrimSpace(text)
	n := numeral(text)
	return text[:n], strings.TrimSpace(text[n:])
}

// read reads a number with its unit.
func read(text string) (number, bool) {
	digits, u := split(text)
	if u == "" {
		v, err := strconv.ParseFloat(digits, 64)
		return plain(v), err == nil
	}
	k := kindWith(u)
	if k == nil {
		return number{}, false
	}
	v, err := k.parse(text)
	return number{v, k.ten, k.d}, err == nil
}

// in returns the value in 10^ten of the base units.
func (n number) in(ten int) float64 {
	v := n.v
	for e := n.ten; e < ten; e++ {
		v /= 10
	}
	for e := n.ten; e > ten; e-- {
		v *= 10
	}
	return v
}

// text prints a number for the type of a key: whole numbers as such, others
// with their unit.
func (n number) text(t reflect.Type) string {
	if k := kindOf(t); k != nil {
		return k.text(n.in(k.ten))
	}
	return strconv.FormatFloat(n.in(0), 'f', -1, 64)
}

// String prints a number for a reader.
func (n number) String() string {
	for i := range kinds {
		if k := &kinds[i]; k.d == n.d && n.d != (dims{}) {
			return k.text(n.in(k.ten))
		}
	}
	return strconv.FormatFloat(n.in(0), 'g', 6, 64)
}

// noun says what a number is.
func (d dims) noun() string {
	for i := range kinds {
		if kinds[i].d != d {
			continue
		}
		if d == (dims{}) {
			return "a plain number"
		}
		article := "a "
		if strings.ContainsRune("aeiou", rune(kinds[i].noun[0])) {
			article = "an "
		}
		return article + kinds[i].noun
	}
	names := [...]string{"B", "s", "clk", "FLOP", "J", "mm2", "USD", "V"}
	var parts []string
	for i, p := range d {
		switch {
		case p == 1:
			parts = append(parts, names[i])
		case p != 0:
			parts = append(parts, fmt.Sprintf("%s^%d", names[i], p))
		}
	}
	return "in " + strings.Join(parts, " ")
}

func (n number) times(m number) number {
	for i := range n.d {
		n.d[i] += m.d[i]
	}
	return number{n.v * m.v, n.ten + m.ten, n.d}
}

func (n number) over(m number) number {
	for i := range n.d {
		n.d[i] -= m.d[i]
	}
	return number{n.v / m.v, n.ten - m.ten, n.d}
}

// align brings two numbers to the same power of ten, that of the first unless
// it is zero.
func align(n, m number) (number, number) {
	if n.v == 0 {
		n.ten = m.ten
	}
	m.v, m.ten = m.in(n.ten), n.ten
	return n, m
}

func (n number) plus(m number) number {
	n, m = align(n, m)
	n.v += m.v
	return n
}

// compare is -1, 0 or 1. The two have the same dimensions.
func compare(n, m number) int {
	n, m = align(n, m)
	switch {
	case n.v < m.v:
		return -1
	case n.v > m.v:
		return 1
	}
	return 0
}
