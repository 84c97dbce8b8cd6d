package validate

import (
	"cmp"
	"math"
	"slices"
)

// Stats are the errors of some rows. A relative error is |predicted/target - 1|.
type Stats struct {
	Rows     int     `json:"rows"`
	Median   float64 `json:"median_error"`
	Mean     float64 `json:"mean_error"`
	Bias     float64 `json:"geometric_bias"` // geometric mean of predicted/target; 1 is none
	Within10 float64 `json:"within_10"`      // share of rows with an error up to 10 %
	Within20 float64 `json:"within_20"`
}

// statsOf computes the errors of rows that were predicted.
func statsOf(rows []*Row) Stats {
	var s Stats
	var errs []float64
	var logs float64
	for _, r := range rows {
		ratio := r.Predicted / r.Target
		e := math.Abs(ratio - 1)
		errs = append(errs, e)
		s.Mean += e
		logs += ln(ratio)
		if e <= 0.1 {
			s.Within10++
		}
		if e <= 0.2 {
			s.Within20++
		}
	}
	s.Rows = len(rows)
	if s.Rows == 0 {
		return s
	}
	n := float64(s.Rows)
	s.Mean /= n
	s.Within10 /= n
	s.Within20 /= n
	s.Bias = exp(logs / n)
	slices.Sort(errs)
	s.Median = errs[len(errs)/2]
	if len(errs)%2 == 0 {
		s.Median = (errs[len(errs)/2-1] + errs[len(errs)/2]) / 2
	}
	return s
}

// Group is the errors of rows that belong together.
type Group struct {
	File    string `json:"file"`
	System  string `json:"system,omitempty"`
	DType   string `json:"dtype,omitempty"`
	Source  string `json:"source,omitempty"` // the harness that describes it
	Variant string `json:"variant,omitempty"`

	All     Stats `json:"all"`
	Long    Stats `json:"long"`            // rows of at least the least time
	Apart   int   `json:"apart,omitempty"` // rows that were predicted, but are not counted
	Skipped int   `json:"skipped"`
	Failed  int   `json:"failed"`
}

// key is what tells groups apart.
func (g *Group) key() [5]string { return [5]string{g.File, g.System, g.DType, g.Source, g.Variant} }

// Groups lists the errors of each file x system x dtype x source x variant,
// sorted in this order, with the files in that of the report.
func (r *Report) Groups() []*Group {
	return r.groups(func(row *Row) Group {
		return Group{File: row.File, System: row.System, DType: row.DType, Source: row.Harness, Variant: row.Variant}
	})
}

// Files lists the errors of each file.
func (r *Report) Files() []*Group {
	return r.groups(func(row *Row) Group { return Group{File: row.File} })
}

// Sizes lists the errors of each file x source x order of magnitude, of files whose rows have one.
func (r *Report) Sizes() []*Group {
	sized := &Report{Tables: nil, MinUS: r.MinUS}
	for _, t := range r.Tables {
		if slices.ContainsFunc(t.Rows, func(row *Row) bool { return row.Size != "" }) {
			sized.Tables = append(sized.Tables, t)
		}
	}
	rank := map[string]int{}
	for i := range 15 {
		bytes := int64(1)
		for range i {
			bytes *= 10
		}
		rank[decade(bytes)] = i
	}
	out := sized.groups(func(row *Row) Group { return Group{File: row.File, Source: row.Harness, Variant: row.Size} })
	slices.SortStableFunc(out, func(a, b *Group) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Source, b.Source), cmp.Compare(rank[a.Variant], rank[b.Variant]))
	})
	return out
}

func (r *Report) groups(of func(*Row) Group) []*Group {
	type bin struct {
		g         *Group
		all, long []*Row
	}
	bins := map[[5]string]*bin{}
	var order []*bin
	at := map[string]int{}
	for i, t := range r.Tables {
		at[t.Name] = i
		for _, row := range t.Rows {
			g := of(row)
			b := bins[g.key()]
			if b == nil {
				b = &bin{g: &g}
				bins[g.key()] = b
				order = append(order, b)
			}
			switch row.Status {
			case Skipped:
				b.g.Skipped++
			case Failed:
				b.g.Failed++
			default:
				if row.Apart {
					b.g.Apart++
					continue
				}
				b.all = append(b.all, row)
				if row.Target >= r.MinUS {
					b.long = append(b.long, row)
				}
			}
		}
	}
	var out []*Group
	for _, b := range order {
		b.g.All, b.g.Long = statsOf(b.all), statsOf(b.long)
		out = append(out, b.g)
	}
	slices.SortStableFunc(out, func(a, b *Group) int {
		x, y := a.key(), b.key()
		return cmp.Or(cmp.Compare(at[a.File], at[b.File]), slices.Compare(x[:], y[:]))
	})
	return out
}

// ln is the natural logarithm of a positive number by its series, equal on
// every processor.
func ln(x float64) float64 {
	frac, e := math.Frexp(x)
	if frac < math.Sqrt2/2 {
		frac *= 2
		e--
	}
	// ln(m) = 2 artanh((m-1)/(m+1)); |z| <= 0.172
	z := (frac - 1) / (frac + 1)
	square := z * z
	sum, power := 0.0, z
	for i := 1; i < 32; i += 2 {
		sum += power / float64(i)
		power *= square
	}
	return 2*sum + float64(float64(e)*math.Ln2)
}

// exp is the exponential function by its series, equal on every processor.
func exp(x float64) float64 {
	if x > 700 || x < -700 {
		return math.Inf(1) * max(0, x)
	}
	n := math.Floor(x/math.Ln2 + 0.5)
	rest := x - float64(n*math.Ln2)
	sum, term := 1.0, 1.0
	for i := 1; i < 24; i++ {
		term = float64(term * rest / float64(i))
		sum += term
	}
	return math.Ldexp(sum, int(n))
}

// pow is x to the power of y, for positive x.
func pow(x, y float64) float64 { return exp(float64(y * ln(x))) }
