package trace

import (
	"bytes"
	"math"
	"math/bits"
	"strconv"
)

// exprRule says what an expression looks like.
const exprRule = "an expression is like 64, 128*x, 128*y+64*k-8 or (128*x+191)/64,min=1,max=32, over x, y, z, w and k"

// String is the text form: "(128*x+191)/64,min=1,max=32".
func (e Expr) String() string { return string(e.append(nil)) }

// append appends the text form to b.
func (e *Expr) append(b []byte) []byte {
	coefs := [...]int64{e.X, e.Y, e.Z, e.W, e.K}
	terms := 0
	for _, c := range coefs {
		if c != 0 {
			terms++
		}
	}
	if e.C != 0 {
		terms++
	}
	paren := e.Div != 0 && terms > 1
	if paren {
		b = append(b, '(')
	}
	start := len(b)
	for i, c := range coefs {
		switch {
		case c == 0:
			continue
		case c > 0 && len(b) > start:
			b = append(b, '+')
		}
		switch c {
		case 1:
		case -1:
			b = append(b, '-')
		default:
			b = append(strconv.AppendInt(b, c, 10), '*')
		}
		b = append(b, "xyzwk"[i])
	}
	if e.C > 0 && len(b) > start {
		b = append(b, '+')
	}
	if e.C != 0 || len(b) == start {
		b = strconv.AppendInt(b, e.C, 10)
	}
	if paren {
		b = append(b, ')')
	}
	if e.Div != 0 {
		b = strconv.AppendInt(append(b, '/'), e.Div, 10)
	}
	if e.Min != 0 {
		b = strconv.AppendInt(append(b, ",min="...), e.Min, 10)
	}
	if e.Max != 0 {
		b = strconv.AppendInt(append(b, ",max="...), e.Max, 10)
	}
	return b
}

// parseExpr reads the text form. The fault's offset is within s.
func parseExpr(s []byte) (e Expr, f *fault) {
	value, limits, limited := bytes.Cut(s, []byte{','})
	at := 0
	sum, divisor, divided := bytes.Cut(value, []byte{'/'})
	if n := len(sum); n >= 2 && sum[0] == '(' && sum[n-1] == ')' {
		sum, at = sum[1:n-1], 1
	} else if divided && bytes.ContainsAny(sum[min(1, n):], "+-") {
		return e, &fault{0, "division of a sum without parentheses", "the divisor divides the whole sum: (128*x+191)/64"}
	}
	if f := e.parseSum(sum); f != nil {
		f.at += at
		return e, f
	}
	if divided {
		at = len(value) - len(divisor)
		n, problem := number(divisor)
		if problem == "" && n < 1 {
			problem = "is no divisor"
		}
		if problem != "" {
			return e, &fault{at, quote(divisor) + " " + problem, "the divisor is a number from 1"}
		}
		e.Div = n
	}
	var seen [2]bool
	for limited {
		at = len(s) - len(limits)
		var part []byte
		part, limits, limited = bytes.Cut(limits, []byte{','})
		key, val, _ := bytes.Cut(part, []byte{'='})
		which, to, least := 0, &e.Min, int64(math.MinInt64)
		switch string(key) {
		case "min":
		case "max":
			which, to, least = 1, &e.Max, 1
		default:
			return e, &fault{at, "unknown limit " + quote(part), "allowed are min=N and max=N"}
		}
		n, problem := number(val)
		switch {
		case problem != "":
		case n < least:
			problem = "is too small"
		case seen[which]:
			problem = "is a second limit"
		}
		if problem != "" {
			return e, &fault{at, quote(part) + " " + problem, "limits are min=N, where N may be negative, and max=N from 1, each once"}
		}
		seen[which] = true
		*to = n
	}
	return e, nil
}

// parseSum reads "128*y+64*k-8".
func (e *Expr) parseSum(s []byte) *fault {
	if len(s) == 0 {
		return &fault{0, "empty expression", exprRule}
	}
	seen := [6]bool{}
	for i := 0; i < len(s); {
		start := i
		neg := false
		if s[i] == '-' || s[i] == '+' && i > 0 {
			neg = s[i] == '-'
			i++
		}
		digits := i
		for i < len(s) && s[i] >= '0' && s[i] <= '9' {
			i++
		}
		n := int64(1)
		if i > digits {
			from := digits
			if neg {
				from-- // so that -2^63 can be read
			}
			v, problem := number(s[from:i])
			if problem != "" {
				return &fault{digits, quote(s[digits:i]) + " " + problem, ""}
			}
			n = v
		} else if neg {
			n = -1
		}
		term := 5
		if i < len(s) && (i == digits || s[i] == '*') {
			if i > digits {
				i++
			}
			if i < len(s) {
				term = bytes.IndexByte([]byte("xyzwk"), s[i])
				i++
			}
		}
		if term < 0 || i == digits || i < len(s) && s[i] != '+' && s[i] != '-' || s[i-1] == '*' {
			return &fault{start, "expression breaks off at " + quote(s[start:]), exprRule}
		}
		if seen[term] {
			return &fault{start, "a second term in " + quote("xyzwk1"[term:term+1]), "each variable, and the constant, stands once"}
		}
		seen[term] = true
		*[...]*int64{&e.X, &e.Y, &e.Z, &e.W, &e.K, &e.C}[term] = n
	}
	return nil
}

// span is the least and greatest value of e over a grid and trips iterations
// (at least one each). ok is false if a term leaves +-MaxValue, so that Eval
// might overflow; then the values mean nothing.
func (e *Expr) span(grid [4]int64, trips int64) (lo, hi int64, ok bool) {
	if e.C > MaxValue || e.C < -MaxValue {
		return 0, 0, false
	}
	lo, hi = e.C, e.C
	coefs := [...]int64{e.X, e.Y, e.Z, e.W, e.K}
	extents := [...]int64{grid[0], grid[1], grid[2], grid[3], trips}
	for i, c := range coefs {
		last := max(extents[i]-1, 0)
		if c > MaxValue || c < -MaxValue || product(max(c, -c), last) > MaxValue {
			return 0, 0, false
		}
		if c < 0 {
			lo += c * last
		} else {
			hi += c * last
		}
	}
	// Division and limits keep the order, so the ends stay the ends.
	ends := Expr{C: lo, Div: e.Div, Min: e.Min, Max: e.Max}
	lo = ends.Eval([4]int64{}, 0)
	ends.C = hi
	return lo, ends.Eval([4]int64{}, 0), true
}

// product and sum are those of numbers that are not negative, MaxInt64 where
// they would overflow.
func product(a, b int64) int64 {
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	if hi != 0 || lo > math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(lo)
}

func sum(a, b int64) int64 {
	if s := a + b; s >= 0 {
		return s
	}
	return math.MaxInt64
}
