package trace

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestExprText: an expression reads back as it was written.
func TestExprText(t *testing.T) {
	gen := genExpr()
	rapid.Check(t, func(rt *rapid.T) {
		e := gen.Draw(rt, "expr")
		got, f := parseExpr([]byte(e.String()))
		if f != nil || got != e {
			rt.Fatalf("%+v is written %s and read as %+v, %v", e, e, got, f)
		}
	})
}

// TestExprForms: other ways to write an expression, and their canonical form.
func TestExprForms(t *testing.T) {
	for in, want := range map[string]string{
		"64":                          "64",
		"0":                           "0",
		"0*x":                         "0",
		"-0":                          "0",
		"x":                           "x",
		"1*x":                         "x",
		"-1*x":                        "-x",
		"191+128*x":                   "128*x+191",
		"k-y":                         "-y+k",
		"x/4":                         "x/4",
		"(x)/4":                       "x/4",
		"(x)":                         "x",
		"-x/4":                        "-x/4",
		"(128*x+191)/64":              "(128*x+191)/64",
		"(128*x+191)/64,max=9,min=-1": "(128*x+191)/64,min=-1,max=9",
		"x,min=0":                     "x",
		"7/1":                         "7/1",
		"-9223372036854775808*w":      "-9223372036854775808*w",
		"-9223372036854775808":        "-9223372036854775808",
	} {
		e, f := parseExpr([]byte(in))
		if f != nil || e.String() != want {
			t.Errorf("%s reads as %s, %v; want %s", in, e, f, want)
		}
	}
}

// TestExprFaults: malformed expressions, and where they break.
func TestExprFaults(t *testing.T) {
	type answer struct {
		At      int
		Problem string
	}
	for in, want := range map[string]answer{
		"":                          {0, "empty expression"},
		"x+":                        {1, `expression breaks off at "+"`},
		"-":                         {0, `expression breaks off at "-"`},
		"+x":                        {0, `expression breaks off at "+x"`},
		"2x":                        {0, `expression breaks off at "2x"`},
		"2*":                        {0, `expression breaks off at "2*"`},
		"2*q":                       {0, `expression breaks off at "2*q"`},
		"x*2":                       {0, `expression breaks off at "x*2"`},
		"x+2*x":                     {1, `a second term in "x"`},
		"1+x+2":                     {3, `a second term in "1"`},
		"(x+1":                      {0, `expression breaks off at "(x+1"`},
		"(x+y+)/2":                  {4, `expression breaks off at "+"`},
		"x+1/2":                     {0, "division of a sum without parentheses"},
		"(x+1)/0":                   {6, `"0" is no divisor`},
		"(x+1)/-2":                  {6, `"-2" is no divisor`},
		"(x+1)/y":                   {6, `"y" is not a whole number`},
		"x,low=1":                   {2, `unknown limit "low=1"`},
		"x,max=0":                   {2, `"max=0" is too small`},
		"x,min=1,min=2":             {8, `"min=2" is a second limit`},
		"x,min":                     {2, `"min" is not a whole number`},
		"x,":                        {2, `unknown limit ""`},
		"9223372036854775808*x":     {0, `"9223372036854775808" does not fit in 64 bits`},
		"x+99999999999999999999999": {2, `"99999999999999999999999" does not fit in 64 bits`},
	} {
		_, f := parseExpr([]byte(in))
		if f == nil {
			t.Errorf("%q parses", in)
			continue
		}
		if diff := cmp.Diff(want, answer{f.at, f.problem}); diff != "" {
			t.Errorf("%q: (-want +got)\n%s", in, diff)
		}
	}
}

// TestExprSpan: the ends that validation finds are those of the values, so
// nothing overflows.
func TestExprSpan(t *testing.T) {
	gen := genExpr()
	inside := 0
	rapid.Check(t, func(rt *rapid.T) {
		e := gen.Draw(rt, "expr")
		var grid [4]int64
		for i := range grid {
			grid[i] = rapid.SampledFrom([]int64{1, 2, 3, 1 << 10, MaxTiles}).Draw(rt, "extent")
		}
		trips := rapid.SampledFrom([]int64{0, 1, 5, MaxCount}).Draw(rt, "trips")
		lo, hi, ok := e.span(grid, trips)
		if !ok {
			return
		}
		inside++
		seenLo, seenHi := int64(MaxWork), int64(-MaxWork)
		for corner := range 32 {
			var g [4]int64
			k := int64(0)
			for i := range g {
				if corner&(1<<i) != 0 {
					g[i] = grid[i] - 1
				}
			}
			if corner&16 != 0 {
				k = max(trips-1, 0)
			}
			v := e.Eval(g, k)
			seenLo, seenHi = min(seenLo, v), max(seenHi, v)
		}
		if seenLo != lo || seenHi != hi {
			rt.Fatalf("%s over %v x %d: span %d to %d, values %d to %d", e, grid, trips, lo, hi, seenLo, seenHi)
		}
		var g [4]int64
		for i := range g {
			g[i] = rapid.Int64Range(0, grid[i]-1).Draw(rt, "coordinate")
		}
		k := rapid.Int64Range(0, max(trips-1, 0)).Draw(rt, "iteration")
		if v := e.Eval(g, k); v < lo || v > hi {
			rt.Fatalf("%s at %v, %d is %d, outside %d to %d", e, g, k, v, lo, hi)
		}
	})
	if inside < 10 {
		t.Errorf("only %d expressions stay within bounds", inside)
	}
}

// Lines put together are all tile programs in the order of dispatch.
func TestLine(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := Part{Swizzle: rapid.Int64Range(0, 4).Draw(rt, "swizzle"), Reverse: rapid.Bool().Draw(rt, "reverse")}
		for d := range p.Grid {
			p.Grid[d] = rapid.Int64Range(1, 5).Draw(rt, "extent")
		}
		axis := p.Axis()
		for i := int64(0); i < p.Tiles(); {
			g, by, n := p.Line(i)
			if n < 1 {
				rt.Fatalf("%d tile programs from %d on", n, i)
			}
			for range n {
				if want := p.Coordinates(i); g != want {
					rt.Fatalf("tile program %d at %v, want %v", i, g, want)
				}
				g[axis] += by
				i++
			}
			if i > p.Tiles() {
				rt.Fatalf("a line ends %d tile programs behind the last", i-p.Tiles())
			}
		}
	})
}
