package plot

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"maru/reports/figure"
)

// Kinds lists the kinds of pictures.
func Kinds() []string { return []string{"pareto", "heat", "lines", "parallel", "tornado", "bars"} }

// Options say what of the tables is drawn. Columns are named as in the header.
type Options struct {
	Kind   string
	X      string   // heat, lines, pareto: the column along x; tornado, bars: that of the labels
	Y      []string // the column along y; bars: a bar for each; parallel: the axes
	By     string   // lines: a line for each value; pareto, parallel: the colour
	Z      string   // heat: the metric
	Label  string   // pareto: the column that names points
	More   []string // pareto: columns of which more is better
	Where  []string // COLUMN=VALUE, rows to keep
	Log    []string // columns to draw on logarithmic axes
	Linear []string // columns to draw on linear axes
	Title  string
	Top    int // tornado, bars: most rows; 0 is 16

	chart figure.Chart
}

// Draw makes a picture of tables. Bars may be of several tables, whose rows are
// matched by their labels; all others are of one. Errors name the flag that is
// to blame.
func Draw(tables []*Table, o Options) (*figure.Figure, error) {
	for _, t := range tables {
		for _, w := range o.Where {
			name, value, ok := strings.Cut(w, "=")
			if !ok {
				return nil, fmt.Errorf("--where: %q is not COLUMN=VALUE", w)
			}
			if err := t.where(name, value); err != nil {
				return nil, err
			}
		}
	}
	if len(tables) > 1 && o.Kind != "bars" {
		return nil, fmt.Errorf("--kind %s: one table and no more; allowed with several: bars", o.Kind)
	}
	t := tables[0]
	o.chart = figure.Chart{Name: t.Name + "-" + o.Kind, Title: cmp.Or(o.Title, o.title(tables)), Subtitle: o.subtitle(tables)}
	switch o.Kind {
	case "pareto":
		return t.pareto(&o)
	case "heat":
		return t.heat(&o)
	case "lines":
		return t.lines(&o)
	case "parallel":
		return t.parallel(&o)
	case "tornado":
		return t.tornado(&o)
	case "bars":
		return bars(tables, &o)
	}
	return nil, fmt.Errorf("--kind: unknown kind %q; allowed: %s", o.Kind, strings.Join(Kinds(), ", "))
}

// title says what is drawn of which tables.
func (o *Options) title(tables []*Table) string {
	var names []string
	for _, t := range tables {
		names = append(names, t.Name)
	}
	name := strings.Join(names, ", ") + ": "
	y := strings.Join(o.Y, ", ")
	switch o.Kind {
	case "heat":
		return name + o.Z + " over " + o.X + " and " + y
	case "lines":
		return name + y + " over " + o.X
	case "pareto":
		return name + y + " against " + o.X
	case "parallel":
		return name + fmt.Sprintf("%d columns", len(o.Y))
	case "tornado":
		return name + "what more and less does"
	}
	return name + y
}

// subtitle says what was chosen and left out.
func (o *Options) subtitle(tables []*Table) string {
	parts := slices.Clone(o.Where)
	rows, failed := 0, 0
	for _, t := range tables {
		rows, failed = rows+t.rows, failed+t.failed
	}
	if o.Kind != "bars" && o.Kind != "tornado" {
		parts = append(parts, fmt.Sprintf("%d points", rows))
	}
	if failed > 0 {
		parts = append(parts, fmt.Sprintf("%d left out that have no result", failed))
	}
	return strings.Join(parts, "  ·  ")
}

// only is the single column of a flag.
func (o *Options) only(flag string, list []string) (string, error) {
	switch len(list) {
	case 0:
		return "", fmt.Errorf("--%s: no column given for %s", flag, o.Kind)
	case 1:
		return list[0], nil
	}
	return "", fmt.Errorf("--%s: one column and no more for %s", flag, o.Kind)
}

// endings are units that names of columns end in, with what they are of a unit
// that takes prefixes.
var endings = []struct {
	end, unit string
	scale     float64
}{
	{"_us", "s", 1e-6}, {"_ms", "s", 1e-3}, {"_ns", "s", 1e-9}, {"_ps", "s", 1e-12}, {"_mj", "J", 1e-3}, {"_pj", "J", 1e-12}, {"_j", "J", 1},
	{"_w", "W", 1}, {"_mhz", "Hz", 1e6}, {"_ghz", "Hz", 1e9}, {"_bytes", "B", 1}, {"_bytes_per_s", "B/s", 1},
}

// dim is a column as a dimension of a chart.
func (c *column) dim(o *Options) figure.Dim {
	d := figure.Dim{Name: c.name, Unit: c.unit}
	if c.numbers == nil {
		d.Labels = c.text
		return d
	}
	if c.unit != "" {
		first := map[float64]string{}
		for i, v := range c.numbers {
			if _, ok := first[v]; !ok {
				first[v] = c.text[i]
			}
			d.Texts = append(d.Texts, first[v])
		}
	}
	scale := 1.0
	for _, e := range endings {
		if name, ok := strings.CutSuffix(c.name, e.end); ok && name != "" && c.unit == "" {
			d.Name, d.Unit, scale = name, e.unit, e.scale
			break
		}
	}
	for _, v := range c.numbers {
		d.Values = append(d.Values, v*scale)
	}
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, v := range c.numbers {
		if !math.IsNaN(v) {
			lo, hi = min(lo, v), max(hi, v)
		}
	}
	const decade = 10 // above it, a linear axis crowds the small values
	d.Log = slices.Contains(o.Log, c.name) || lo > 0 && hi > decade*lo && !slices.Contains(o.Linear, c.name)
	return d
}

// need finds the column of a flag; words may be allowed.
func (t *Table) need(o *Options, flag, name string, words bool) (*column, figure.Dim, error) {
	if name == "" {
		return nil, figure.Dim{}, fmt.Errorf("--%s: no column given for %s; allowed: %s", flag, o.Kind, strings.Join(t.names(), ", "))
	}
	get := t.number
	if words {
		get = t.column
	}
	c, err := get(flag, name)
	if err != nil {
		return nil, figure.Dim{}, err
	}
	return c, c.dim(o), nil
}

func (t *Table) pareto(o *Options) (*figure.Figure, error) {
	yName, err := o.only("y", o.Y)
	if err != nil {
		return nil, err
	}
	x, xd, errX := t.need(o, "x", o.X, false)
	y, yd, errY := t.need(o, "y", yName, false)
	if err := errors.Join(errX, errY); err != nil {
		return nil, err
	}
	for _, m := range o.More {
		if m != o.X && m != yName {
			return nil, fmt.Errorf("--more: %s is neither --x nor --y", m)
		}
	}
	moreX, moreY := slices.Contains(o.More, o.X), slices.Contains(o.More, yName)
	p := figure.Pareto{Name: o.chart.Name, Title: o.chart.Title, Subtitle: o.chart.Subtitle,
		X: figure.Scale{Title: xd.Title(), Unit: xd.Unit, More: moreX}, Y: figure.Scale{Title: yd.Title(), Unit: yd.Unit, More: moreY}}
	front := frontOf(x.numbers, y.numbers, moreX, moreY)
	var by, label *column
	var d figure.Dim
	if o.By != "" {
		if by, d, err = t.need(o, "by", o.By, true); err != nil {
			return nil, err
		}
		if by.numbers != nil {
			p.Color = &figure.Scale{Title: d.Title(), Unit: d.Unit, Plain: true}
		}
	}
	if o.Label != "" {
		if label, err = t.column("label", o.Label); err != nil {
			return nil, err
		}
	}
	for i := range t.rows {
		point := figure.Design{X: xd.Values[i], Y: yd.Values[i], Front: front[i]}
		if by != nil && by.numbers != nil {
			point.C = d.Values[i]
		} else if by != nil {
			point.Group = by.text[i]
		}
		if label != nil && point.Front {
			point.Name = label.text[i]
		}
		p.Designs = append(p.Designs, point)
	}
	return p.Figure(), nil
}

// frontOf marks the points that no other point beats: one that is at least as
// good in both metrics and better in one. Of equal points it is the first.
// Points without both values are left out.
func frontOf(x, y []float64, moreX, moreY bool) []bool {
	sign := func(v float64, more bool) float64 {
		if more {
			return -v
		}
		return v
	}
	var order []int
	for i := range x {
		if !math.IsNaN(x[i]) && !math.IsNaN(y[i]) {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(i, j int) int {
		return cmp.Or(cmp.Compare(sign(x[i], moreX), sign(x[j], moreX)), cmp.Compare(sign(y[i], moreY), sign(y[j], moreY)))
	})
	front := make([]bool, len(x))
	best := math.Inf(1)
	for _, i := range order {
		if v := sign(y[i], moreY); v < best {
			front[i], best = true, v
		}
	}
	return front
}

func (t *Table) heat(o *Options) (*figure.Figure, error) {
	yName, err := o.only("y", o.Y)
	if err != nil {
		return nil, err
	}
	x, xd, errX := t.need(o, "x", o.X, true)
	y, yd, errY := t.need(o, "y", yName, true)
	_, zd, errZ := t.need(o, "z", o.Z, false)
	if err := errors.Join(errX, errY, errZ); err != nil {
		return nil, err
	}
	if err := t.unique([]*column{x, y}); err != nil {
		return nil, err
	}
	h := figure.Heat{Chart: o.chart, X: xd, Y: yd, Z: zd}
	return h.Figure(), nil
}

// unique wants one row for each combination of columns, and names the columns
// that make more.
func (t *Table) unique(keys []*column) error {
	key := func(i int) string {
		var parts []string
		for _, k := range keys {
			parts = append(parts, k.text[i])
		}
		return strings.Join(parts, ", ")
	}
	first := map[string]int{}
	for i := range t.rows {
		j, ok := first[key(i)]
		if !ok {
			first[key(i)] = i
			continue
		}
		var varies []string
		for c := range t.columns {
			col := &t.columns[c]
			if !slices.Contains(keys, col) && col.text[i] != col.text[j] && col.axis() {
				varies = append(varies, col.name)
			}
		}
		text := fmt.Sprintf("several rows for %s", key(i))
		if len(varies) > 0 {
			text += " that differ in " + strings.Join(varies, ", ")
		}
		return fmt.Errorf("%s; choose with --where COLUMN=VALUE", text)
	}
	return nil
}

// axis tells columns that are set, which repeat their values, from those that
// are measured.
func (c *column) axis() bool {
	seen := map[string]bool{}
	for _, s := range c.text {
		seen[s] = true
	}
	return 2*len(seen) <= len(c.text)
}

func (t *Table) lines(o *Options) (*figure.Figure, error) {
	yName, err := o.only("y", o.Y)
	if err != nil {
		return nil, err
	}
	x, xd, errX := t.need(o, "x", o.X, true)
	_, yd, errY := t.need(o, "y", yName, false)
	if err := errors.Join(errX, errY); err != nil {
		return nil, err
	}
	l := figure.Lines{Chart: o.chart, X: xd, Y: yd}
	keys := []*column{x}
	if o.By != "" {
		by, d, err := t.need(o, "by", o.By, true)
		if err != nil {
			return nil, err
		}
		l.Group = &d
		keys = append(keys, by)
	}
	if err := t.unique(keys); err != nil {
		return nil, err
	}
	return l.Figure(), nil
}

func (t *Table) parallel(o *Options) (*figure.Figure, error) {
	if len(o.Y) < 2 {
		return nil, fmt.Errorf("--y: at least two columns for parallel; allowed: %s", strings.Join(t.names(), ", "))
	}
	p := figure.Parallel{Chart: o.chart, Shade: len(o.Y) - 1}
	for i, name := range o.Y {
		_, d, err := t.need(o, "y", name, true)
		if err != nil {
			return nil, err
		}
		p.Dims = append(p.Dims, d)
		if name == o.By {
			p.Shade = i
		}
	}
	if o.By != "" && !slices.Contains(o.Y, o.By) {
		return nil, fmt.Errorf("--by: %s is none of the axes that --y names", o.By)
	}
	return p.Figure(), nil
}

// Columns that a tornado takes unless others are named: those of "maru
// explain".
const (
	tornadoLabel = "resource"
	tornadoMore  = "more_change"
	tornadoLess  = "less_change"
)

const mostRows = 16

func (t *Table) tornado(o *Options) (*figure.Figure, error) {
	y := o.Y
	if len(y) == 0 {
		y = []string{tornadoMore, tornadoLess}
	}
	if len(y) != 2 {
		return nil, errors.New("--y: two columns for tornado: the change with more, and with less")
	}
	label, err := t.column("x", cmp.Or(o.X, tornadoLabel))
	if err != nil {
		return nil, err
	}
	more, errMore := t.number("y", y[0])
	less, errLess := t.number("y", y[1])
	if err := errors.Join(errMore, errLess); err != nil {
		return nil, err
	}
	w := figure.Tornado{Chart: o.chart, More: y[0], Less: y[1], Axis: "change"}
	if len(o.Y) == 0 {
		w.More, w.Less, w.Axis = "more of it", "less of it", "change of the latency"
	}
	for i := range t.rows {
		w.Bars = append(w.Bars, figure.TornadoBar{Label: label.text[i], More: more.numbers[i], Less: less.numbers[i]})
	}
	reach := func(b figure.TornadoBar) float64 {
		r := 0.0
		for _, v := range []float64{b.More, b.Less} {
			if !math.IsNaN(v) {
				r = max(r, math.Abs(v))
			}
		}
		return r
	}
	slices.SortStableFunc(w.Bars, func(a, b figure.TornadoBar) int { return cmp.Compare(reach(b), reach(a)) })
	w.Bars = w.Bars[:min(len(w.Bars), cmp.Or(o.Top, mostRows))]
	return w.Figure(), nil
}

// bars draws columns of one table side by side, or one column of several.
func bars(tables []*Table, o *Options) (*figure.Figure, error) {
	if len(tables) > 1 && len(o.Y) > 1 {
		return nil, errors.New("--y: one column for bars of several tables")
	}
	if len(o.Y) == 0 {
		return nil, fmt.Errorf("--y: no column given for bars; allowed: %s", strings.Join(tables[0].names(), ", "))
	}
	b := figure.Bars{Chart: o.chart}
	index := map[string]int{}
	sides := max(len(tables), len(o.Y))
	for side := range sides {
		t := tables[min(side, len(tables)-1)]
		name := o.Y[min(side, len(o.Y)-1)]
		value, err := t.number("y", name)
		if err != nil {
			return nil, err
		}
		label, err := t.column("x", cmp.Or(o.X, t.columns[0].name))
		if err != nil {
			return nil, err
		}
		if err := t.unique([]*column{label}); err != nil {
			return nil, fmt.Errorf("%s: %w", t.Name, err)
		}
		if len(tables) > 1 {
			b.Sides = append(b.Sides, t.Name)
		} else {
			b.Sides = append(b.Sides, name)
		}
		dim := value.dim(o)
		b.Value = figure.Dim{Name: dim.Name, Unit: dim.Unit}
		for i := range t.rows {
			at, ok := index[label.text[i]]
			if !ok {
				at = len(b.Rows)
				index[label.text[i]] = at
				row := figure.BarRow{Label: label.text[i], Values: make([]float64, sides)}
				for j := range row.Values {
					row.Values[j] = math.NaN()
				}
				b.Rows = append(b.Rows, row)
			}
			b.Rows[at].Values[side] = dim.Values[i]
		}
	}
	if sides > 1 && len(tables) == 1 {
		b.Value.Name = "value"
	}
	size := func(r figure.BarRow) float64 {
		m := 0.0
		for _, v := range r.Values {
			if !math.IsNaN(v) {
				m = max(m, math.Abs(v))
			}
		}
		return m
	}
	slices.SortStableFunc(b.Rows, func(x, y figure.BarRow) int { return cmp.Compare(size(y), size(x)) })
	if most := cmp.Or(o.Top, mostRows); len(b.Rows) > most {
		b.Subtitle = strings.TrimPrefix(b.Subtitle+"  ·  "+fmt.Sprintf("the %d largest of %d", most, len(b.Rows)), "  ·  ")
		b.Rows = b.Rows[:most]
	}
	return b.Figure(), nil
}
