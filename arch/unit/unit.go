// Package unit holds the quantities that descriptions of accelerators are written in: sizes, rates, times, energies.
//
// Each quantity is a named number with strict parsing and exact printing. ParseX takes a decimal number and a unit, with
// or without a space between them ("3.35 TB/s", "3.35TB/s"); a missing unit, an unknown unit, NaN, an infinity and a
// value out of range are errors of type *Error, which name what is allowed and, if something is close, what was probably
// meant. String prints a text that parses back to exactly the same value. Prefixes are never mixed up: GB is 10^9 bytes,
// GiB is 2^30, Gb is 10^9 bits.
//
// Sizes ([Bytes]) and times ([Duration], in picoseconds) are integers and refuse fractions of their smallest unit; all
// other quantities are float64, rounded once.
//
// Not modelled: arithmetic of dimensions (a size over a time is not known to be a bandwidth, apart from the few
// conversions such as [Rate.At]), measurement error, and currencies other than the US dollar.
//
// Floor 0: the package imports only the standard library.
package unit

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// maxText bounds the length of a text that is parsed, in bytes.
const maxText = 64

// Quantity is implemented by every quantity type of this package.
type Quantity interface {
	fmt.Stringer

	// Units lists the units the quantity may be written in. The empty string stands for "no unit".
	Units() []string

	// Pattern returns an anchored regular expression (ECMA 262 and Go syntax) of the texts that parse, up to the range of
	// the value.
	Pattern() string

	measure() (*dimension, float64)
}

// Error says why a text is not a quantity.
type Error struct {
	Quantity string   // the kind of quantity: "bandwidth"
	Text     string   // the text that was parsed
	Problem  string   // what is wrong: `unknown unit "gB/s"`
	Allowed  []string // the units that are allowed
	Hint     string   // what was probably meant ("GB/s"), or empty
}

// Error returns the problem, what is allowed and the hint in one line.
func (e *Error) Error() string {
	problem, allowed, hint := e.Parts()
	s := problem + "; " + allowed
	if hint != "" {
		s += "; did you mean " + hint
	}
	return s
}

// Parts returns the three parts of the message: what is wrong, what is allowed, and what was probably meant (or empty).
func (e *Error) Parts() (problem, allowed, hint string) {
	return e.Problem, "allowed: " + article(e.Quantity) + list(e.Allowed), e.Hint
}

// article puts "a" or "an" before a noun.
func article(noun string) string {
	if strings.ContainsRune("aeiou", rune(noun[0])) {
		return "an " + noun
	}
	return "a " + noun
}

// list joins units for a message: " in B, kB".
func list(units []string) string {
	named := slices.DeleteFunc(slices.Clone(units), func(u string) bool { return u == "" })
	if len(named) < len(units) {
		return ", plain or in " + strings.Join(named, ", ")
	}
	return " in " + strings.Join(named, ", ")
}

// scale is a unit: one of it is 10^ten * 2^two of the base unit.
type scale struct {
	name     string
	ten, two int
	print    bool // String may use it
}

// dimension is a kind of quantity with its units.
type dimension struct {
	noun   string
	least  string // for integer quantities: the smallest unit, of which there are no fractions
	scales []scale
}

// units returns the names of the units.
func (d *dimension) units() []string {
	names := make([]string, len(d.scales))
	for i, s := range d.scales {
		names[i] = s.name
	}
	return names
}

// pattern returns the regular expression of the quantity.
func (d *dimension) pattern() string {
	var names []string
	bare := false
	for _, s := range d.scales {
		if s.name == "" {
			bare = true
			continue
		}
		names = append(names, s.name) // no unit has a character that is special in a regular expression
	}
	suffix := " *(" + strings.Join(names, "|") + ")"
	if bare {
		suffix = "(" + suffix + ")?"
	}
	return `^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?` + suffix + "$"
}

// errorf returns an error about text.
func (d *dimension) errorf(text, hint, format string, args ...any) *Error {
	if len(text) > maxText {
		text = text[:maxText] + "..."
	}
	return &Error{Quantity: d.noun, Text: text, Problem: fmt.Sprintf(format, args...), Allowed: d.units(), Hint: hint}
}

// decimal is a decimal number digits * 10^exp; digits has no leading zeros and is empty for zero.
type decimal struct {
	negative bool
	digits   string
	exp      int
}

// split parses text as a number and a unit of the dimension.
func (d *dimension) split(text string) (decimal, scale, *Error) {
	s := strings.Trim(text, " ")
	if len(s) > maxText {
		return decimal{}, scale{}, d.errorf(text, "", "text of %d bytes is too long for %s", len(s), article(d.noun))
	}
	n := numberLen(s)
	if n == 0 {
		return decimal{}, scale{}, d.errorf(text, "", "%q does not begin with a number", s)
	}
	name := strings.TrimLeft(s[n:], " ")
	for _, sc := range d.scales {
		if sc.name == name {
			return newDecimal(s[:n]), sc, nil
		}
	}
	if name == "" {
		return decimal{}, scale{}, d.errorf(text, "", "no unit in %q", s)
	}
	return decimal{}, scale{}, d.errorf(text, suggest(name, d.units()), "unknown unit %q", name)
}

// numberLen returns the length of the decimal number that s begins with, or 0.
func numberLen(s string) int {
	i := 0
	if i < len(s) && (s[i] == '+' || s[i] == '-') {
		i++
	}
	start := i
	for i < len(s) && isDigit(s[i]) {
		i++
	}
	digits := i - start
	if i < len(s) && s[i] == '.' {
		i++
		start = i
		for i < len(s) && isDigit(s[i]) {
			i++
		}
		digits += i - start
	}
	if digits == 0 {
		return 0
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		j := i + 1
		if j < len(s) && (s[j] == '+' || s[j] == '-') {
			j++
		}
		start = j
		for j < len(s) && isDigit(s[j]) {
			j++
		}
		if j > start {
			i = j
		}
	}
	return i
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// newDecimal reads a number that numberLen has accepted.
func newDecimal(s string) decimal {
	var d decimal
	if s[0] == '+' || s[0] == '-' {
		d.negative = s[0] == '-'
		s = s[1:]
	}
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		exp, err := strconv.Atoi(s[i+1:])
		if err != nil || exp > 10000 || exp < -10000 { // beyond any range, and safe to calculate with
			exp = 10000
			if s[i+1] == '-' {
				exp = -10000
			}
		}
		d.exp = exp
		s = s[:i]
	}
	whole, frac, _ := strings.Cut(s, ".")
	d.exp -= len(frac)
	d.digits = strings.TrimLeft(whole+frac, "0")
	trimmed := strings.TrimRight(d.digits, "0")
	d.exp += len(d.digits) - len(trimmed)
	d.digits = trimmed
	return d
}

// parseFloat parses a quantity that is a float64 of the base unit, correctly rounded.
func parseFloat[T ~float64](d *dimension, text string) (T, error) {
	num, sc, e := d.split(text)
	if e != nil {
		return 0, e
	}
	if num.digits == "" {
		return 0, nil
	}
	// A number of digits and a power of ten is rounded once; the power of two is exact.
	v, err := strconv.ParseFloat(num.digits+"e"+strconv.Itoa(num.exp+sc.ten), 64)
	v = math.Ldexp(v, sc.two)
	switch {
	case err != nil || math.IsInf(v, 0):
		return 0, d.errorf(text, "", "%q is too large", text)
	case v == 0:
		return 0, d.errorf(text, "", "%q is too small to be told from zero", text)
	}
	if num.negative {
		v = -v
	}
	return T(v), nil
}

// parseInt parses a quantity that is a whole number of the base unit.
func parseInt[T ~int64](d *dimension, text string) (T, error) {
	num, sc, e := d.split(text)
	if e != nil {
		return 0, e
	}
	if num.digits == "" {
		return 0, nil
	}
	exp := num.exp + sc.ten
	switch {
	case len(num.digits)+exp > 20:
		return 0, d.errorf(text, "", "%q is too large", text)
	case exp < -maxText:
		return 0, d.errorf(text, "", "%q is not a whole number of %s", text, d.least)
	}
	v, _ := new(big.Int).SetString(num.digits, 10)
	v.Lsh(v, uint(sc.two))
	ten := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(exp, -exp))), nil)
	if exp >= 0 {
		v.Mul(v, ten)
	} else if _, rest := v.QuoRem(v, ten, new(big.Int)); rest.Sign() != 0 {
		return 0, d.errorf(text, "", "%q is not a whole number of %s", text, d.least)
	}
	if num.negative {
		v.Neg(v)
	}
	if !v.IsInt64() {
		return 0, d.errorf(text, "", "%q is too large", text)
	}
	return T(v.Int64()), nil
}

// formatFloat prints a value so that it parses back to itself.
func formatFloat(d *dimension, v float64) string { return formatDigits(d, v, -1) }

// formatDigits prints a value with a number of digits after the first, or as many as needed if it is negative.
func formatDigits(d *dimension, v float64, prec int) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return withUnit(strconv.FormatFloat(v, 'g', -1, 64), d.scales[0].name)
	}
	mantissa, exp, _ := strings.Cut(strconv.FormatFloat(math.Abs(v), 'e', prec, 64), "e")
	e, _ := strconv.Atoi(exp)
	digits := strings.TrimRight(strings.Replace(mantissa, ".", "", 1), "0")
	return formatDecimal(d, digits, e, v < 0)
}

// formatDecimal prints d.ddd * 10^e in the largest decimal unit that is not larger than the value.
func formatDecimal(d *dimension, digits string, e int, negative bool) string {
	if digits == "" {
		for _, sc := range d.scales {
			if sc.print && sc.ten == 0 && sc.two == 0 {
				return withUnit("0", sc.name)
			}
		}
		return withUnit("0", d.scales[0].name)
	}
	var best *scale
	for i := range d.scales {
		sc := &d.scales[i]
		if !sc.print || sc.two != 0 {
			continue
		}
		fits, bestFits := sc.ten <= e, best != nil && best.ten <= e
		if best == nil || fits && (!bestFits || sc.ten > best.ten) || !fits && !bestFits && sc.ten < best.ten {
			best = sc
		}
	}
	num := point(digits, e-best.ten)
	if negative {
		num = "-" + num
	}
	return withUnit(num, best.name)
}

// point writes d.ddd * 10^e, with an exponent only where the text would be long.
func point(digits string, e int) string {
	switch {
	case e < -6 || e > 20:
		if len(digits) > 1 {
			digits = digits[:1] + "." + digits[1:]
		}
		return digits + "e" + strconv.Itoa(e)
	case e < 0:
		return "0." + strings.Repeat("0", -e-1) + digits
	case len(digits) <= e+1:
		return digits + strings.Repeat("0", e+1-len(digits))
	}
	return digits[:e+1] + "." + digits[e+1:]
}

// formatInt prints a value so that it parses back to itself: in a binary unit where that is shorter, else in a decimal
// one.
func formatInt(d *dimension, v int64) string {
	abs := strings.TrimPrefix(strconv.FormatInt(v, 10), "-")
	s := formatDecimal(d, strings.TrimRight(abs, "0"), len(abs)-1, v < 0)
	if v <= 0 { // negative sizes occur only as differences
		return s
	}
	for _, sc := range d.scales {
		if !sc.print || sc.two == 0 || v>>sc.two == 0 {
			continue
		}
		num := strconv.FormatInt(v>>sc.two, 10)
		rest := v & (1<<sc.two - 1)
		for i := 0; rest != 0 && len(num) < len(s); i++ {
			if i == 0 {
				num += "."
			}
			rest *= 10
			num += string(rune('0' + rest>>sc.two))
			rest &= 1<<sc.two - 1
		}
		if rest == 0 && len(num) < numberLen(s) {
			s = withUnit(num, sc.name)
		}
	}
	return s
}

func withUnit(num, name string) string {
	if name == "" {
		return num
	}
	return num + " " + name
}

// Short prints a quantity for a reader: rounded to four significant digits. The text parses, to a value that is off by
// at most 0.05 %.
func Short(q Quantity) string {
	exact := q.String()
	if numberLen(exact) <= 5 {
		return exact
	}
	d, v := q.measure()
	return formatDigits(d, v, 3)
}
