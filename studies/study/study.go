// Package study reads study files: a base run, axes that vary it, expressions
// that follow from them, constraints, and the metrics that are wanted. It makes
// the points of a study, each of which is an input of a run on a chip that is
// checked as a file is; what does not fit a constraint on the chip or the plan
// is known before anything is simulated. Running points is up to sweeps and
// searches.
//
// Not modelled: axes that exist only for some values of others, random values.
// Floor 4.
package study

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"maru/configs"
	"maru/internal/config"
)

// Study is a study file that was read and checked.
type Study struct {
	Name    string
	Text    string
	Dims    []Dim    // in the order of the file; the first varies slowest
	Paths   []string // columns: the axes in their order, then what is derived
	Metrics []Metric // wanted in results
	Plots   []Plot

	kind        mode // of all points, unless they are of several
	several     bool
	dir         string // that files are relative to
	base        []setting
	derived     []derivation
	constraints []constraint
	cache       *cache
}

// Plot is a picture of the results. Columns are named by paths and metrics.
type Plot struct {
	Kind    string   `yaml:"kind" enum:"line,heat,pareto,parallel" doc:"line: a metric over an axis; heat: a metric over two axes; pareto: two metrics against each other; parallel: axes and metrics side by side."`
	X       string   `yaml:"x,optional" doc:"Path of an axis, or a metric (pareto)."`
	Y       string   `yaml:"y,optional" doc:"Metric, or the path of a second axis (heat)."`
	By      string   `yaml:"by,optional" doc:"Path that tells lines or points apart, or the metric of a heat map."`
	Columns []string `yaml:"columns,optional" doc:"Paths and metrics of parallel coordinates."`
}

// Column is the column of a path or a metric of the study; empty if it has none.
func (s *Study) Column(name string) string {
	if slices.Contains(s.Paths, name) {
		return name
	}
	for i := range s.Metrics {
		if m := &s.Metrics[i]; m.Name == name || m.Column() == name {
			return m.Column()
		}
	}
	return ""
}

// setting is a value for a path.
type setting struct {
	key  *key
	text string
}

// derivation is a path whose value follows from others.
type derivation struct {
	key  *key
	expr *expr
}

// constraint is a comparison that has to hold.
type constraint struct {
	comparison
	late bool // it needs the result
}

// file is the form of a study.
type file struct {
	Name        string         `yaml:"name" doc:"Name of the study, for titles."`
	Text        string         `yaml:"text,optional" doc:"What the study is about."`
	Base        settings       `yaml:"base" doc:"The run that the axes vary: chip or system, model or op, keys of the plan, and any path of the chip, the model or the system."`
	Axes        axes           `yaml:"axes,optional" doc:"What varies: paths with a list of values or a range. All are crossed, but for those that zip names."`
	Zip         [][]string     `yaml:"zip,optional" doc:"Groups of axes that advance together."`
	Derived     derivations    `yaml:"derived,optional" doc:"Paths whose values follow from others, such as memory.l2.bandwidth: 37 B/clk * cores.count."`
	Constraints []config.Value `yaml:"constraints,optional" doc:"What must hold of a point, such as tdp <= 700 W."`
	Metrics     []config.Value `yaml:"metrics,optional" doc:"Columns of the results; the usual ones unless given."`
	Plots       []Plot         `yaml:"plots,optional" doc:"Pictures of the results."`
}

// MaxPoints bounds the points of a study.
const MaxPoints = int64(1) << 40

// folder is that of studies among the embedded configurations.
const folder = "studies"

// Names lists the embedded studies in alphabetical order.
func Names() []string { return configs.Names(folder) }

// Load reads an embedded study by its name, or one from a file. Chips and models
// that are files are relative to its folder. The error is of type
// [config.Errors], with everything that is wrong, unless the file cannot be read.
func Load(name string) (*Study, error) {
	if slices.Contains(Names(), name) {
		file, data, err := configs.Read(folder, name)
		if err != nil {
			return nil, err
		}
		return Parse(file, data)
	}
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) && !strings.ContainsAny(name, `/\`) && filepath.Ext(name) == "" {
		text := fmt.Sprintf("unknown study %q; allowed: a path to a .yaml file, %s", name, strings.Join(Names(), ", "))
		if hint := config.Suggest(name, Names()); hint != "" {
			text += "; did you mean " + hint
		}
		return nil, errors.New(text)
	}
	if err != nil {
		return nil, err
	}
	return Parse(name, data)
}

// Parse is Load for the text of a file.
func Parse(name string, data []byte) (*Study, error) {
	doc, err := config.Load(config.Source{Name: name, Data: data}, nil)
	if err != nil {
		return nil, err
	}
	var f file
	var errs config.Errors
	if err := doc.Decode(&f); err != nil && !errors.As(err, &errs) {
		return nil, err
	}
	s := &Study{Name: f.Name, Text: f.Text, Plots: f.Plots, dir: filepath.Dir(name), cache: newCache()}
	r := reader{s: s, doc: doc, bad: func(e *config.Error) { errs = append(errs, e) }, at: map[string]config.Value{}}
	r.settings(f.Base.Value)
	r.axes(f.Axes.Value, f.Zip)
	r.derivations(f.Derived.Value)
	r.complete(f.Base.Value)
	r.constraints(f.Constraints)
	r.metrics(f.Metrics)
	r.plots()
	if err := errs.Err(); err != nil {
		return nil, err
	}
	return s, nil
}

// reader turns the file into a study.
type reader struct {
	s   *Study
	doc *config.Doc
	bad func(*config.Error)
	at  map[string]config.Value // where paths are set
}

// key finds what a key of a section stands for. It is nil if that is nothing.
func (r *reader) key(e config.Entry) *key {
	k, err := find(e.Key)
	if err != nil {
		problem, allowed, hint := parts(err)
		r.bad(e.Value.KeyError(problem, allowed, hint))
		return nil
	}
	return k
}

// entries lists the keys of a section that may be missing.
func (r *reader) entries(v config.Value, allowed string) []config.Entry {
	if v.IsZero() {
		return nil
	}
	entries, ok := v.Entries()
	if !ok {
		r.bad(v.Error("not a mapping", allowed, ""))
	}
	return entries
}

func (r *reader) settings(v config.Value) {
	for _, e := range r.entries(v, "allowed: a mapping such as {chip: h100-sxm, model: llama-3.1-8b, phase: decode}") {
		k := r.key(e)
		if k == nil {
			continue
		}
		r.at[k.path] = e.Value
		if text, ok := value1(k, e.Value, r.bad); ok {
			r.s.base = append(r.s.base, setting{k, text})
		}
	}
}

func (r *reader) axes(v config.Value, zip [][]string) {
	var all []Axis
	values := map[string]config.Value{}
	for _, e := range r.entries(v, "allowed: a mapping such as {cores.count: [66, 132]}") {
		if k := r.key(e); k != nil {
			all = append(all, axis(e.Key, k, e.Value, r.bad))
			values[e.Key] = e.Value
			r.at[e.Key] = e.Value
			r.s.Paths = append(r.s.Paths, e.Key)
		}
	}
	group := map[string]int{}
	for i, paths := range zip {
		at := fmt.Sprintf("zip[%d]", i)
		length := -1
		for _, p := range paths {
			j := slices.IndexFunc(all, func(a Axis) bool { return a.Path == p })
			_, twice := group[p]
			switch {
			case j < 0:
				r.bad(r.doc.Error(at, p+" is no axis", "allowed: "+strings.Join(r.s.Paths, ", "), config.Suggest(p, r.s.Paths)))
				continue
			case twice:
				r.bad(r.doc.Error(at, p+" is named twice", "", ""))
			case length >= 0 && len(all[j].Values) != length:
				r.bad(r.doc.Error(at, fmt.Sprintf("%s has %d values and %s has %d", paths[0], length, p, len(all[j].Values)), "axes that advance together have equally many", ""))
			default:
				length = len(all[j].Values)
			}
			group[p] = i
		}
	}
	dim := map[int]int{} // of a group
	size := int64(1)
	for _, a := range all {
		g, zipped := group[a.Path]
		if i, there := dim[g]; zipped && there {
			r.s.Dims[i].Axes = append(r.s.Dims[i].Axes, a)
			continue
		}
		if zipped {
			dim[g] = len(r.s.Dims)
		}
		r.s.Dims = append(r.s.Dims, Dim{[]Axis{a}, len(a.Values)})
		if size *= int64(max(1, len(a.Values))); size > MaxPoints {
			r.bad(values[a.Path].Error("more than 10^12 points with the axes before", "", ""))
			return
		}
	}
}

func (r *reader) derivations(v config.Value) {
	for _, e := range r.entries(v, "allowed: a mapping such as {memory.l2.bandwidth: 37 B/clk * cores.count}") {
		k := r.key(e)
		if k == nil {
			continue
		}
		text, ok := e.Value.Text()
		switch {
		case !ok:
			r.bad(e.Value.Error("not a single expression", "allowed: arithmetic such as 37 B/clk * cores.count", ""))
			continue
		case slices.Contains(r.s.Paths, k.path):
			r.bad(e.Value.KeyError("it is an axis, too", "allowed: either of the two", ""))
			continue
		}
		x, err := parseExpr(text)
		var got value
		if err == nil {
			got, err = x.eval(r.shape(false))
		}
		word := reflect.TypeFor[string]()
		switch want := dimsOf(k.typ); {
		case err != nil:
		case got.text != (k.typ == word || !isNumber(k.typ)):
			err = &exprError{0, fmt.Sprintf("%s takes the place of %s", what(got), noun(k)), "", ""}
		case !got.text && got.n.d != want:
			err = &exprError{0, fmt.Sprintf("the outcome is %s, and %s is %s", got.n.d.noun(), k.path, want.noun()), "", ""}
		}
		if err != nil {
			r.fail(e.Value, err)
			continue
		}
		r.s.derived = append(r.s.derived, derivation{k, x})
		r.s.Paths = append(r.s.Paths, k.path)
		r.at[k.path] = e.Value
	}
}

// what says what a value is, noun what a key takes.
func what(v value) string {
	if v.text {
		return "a word"
	}
	return v.n.d.noun()
}

func noun(k *key) string {
	if isNumber(k.typ) {
		return dimsOf(k.typ).noun()
	}
	return "a word"
}

// fail reports an error at its place in an expression.
func (r *reader) fail(v config.Value, err error) {
	problem, allowed, hint := parts(err)
	at := 0
	if e, ok := err.(*exprError); ok {
		at = e.at
	}
	r.bad(v.ErrorAt(at, problem, allowed, hint))
}

// shape looks names up without a point: a number of the right kind, and a word.
func (r *reader) shape(metrics bool) func(string) (value, error) {
	return func(name string) (value, error) {
		if m := FindMetric(name); m != nil && m.Name == name {
			switch {
			case !metrics:
				return value{}, fmt.Errorf("%s is a metric, which is known only once all values are", name)
			case m.Word != nil:
				return value{text: true}, nil
			}
			return value{n: m.number(1)}, nil
		}
		k, err := find(name)
		if err != nil {
			if hint := suggestMetric(name); hint != "" && metrics {
				err = &exprError{0, "no such path or metric: " + name, "allowed: a path (maru schema study lists them), " + strings.Join(MetricNames(), ", "), hint}
			}
			return value{}, err
		}
		if isNumber(k.typ) {
			return value{n: number{1, 0, dimsOf(k.typ)}}, nil
		}
		return value{text: true}, nil
	}
}

// complete checks that the base and the axes together say what is run.
func (r *reader) complete(base config.Value) {
	if base.IsZero() {
		return
	}
	at, chip := r.at["chip"]
	_, many := r.at["system"]
	_, model := r.at["model"]
	op, isOp := r.at["op"]
	switch {
	case !chip && !many:
		r.bad(base.KeyError("no chip", "allowed: chip: NAME or FILE, or system: NAME or FILE, in base or axes", ""))
	case chip && many:
		r.bad(at.KeyError("a system has its chips", "allowed: chip or system", ""))
	case many && isOp:
		r.bad(op.Error("a system runs a model", "allowed: model: NAME or FILE", ""))
	case !model && !isOp:
		r.bad(base.KeyError("nothing to run", "allowed: model: NAME or FILE, or op: SPEC, in base or axes", ""))
	case model && isOp:
		r.bad(op.Error("a model and an operator exclude each other", "", ""))
	}
	for _, path := range slices.Sorted(maps.Keys(r.at)) {
		v := r.at[path]
		if k, err := find(path); err == nil && (k.owner == ofOp && !isOp || k.owner == ofModel && !model || k.owner == ofSystem && !many) {
			r.bad(v.KeyError(fmt.Sprintf("there is no %s to set it of", map[owner]string{ofOp: "operator", ofModel: "model", ofSystem: "system"}[k.owner]), "", ""))
		} else if err == nil && !many && slices.ContainsFunc(manyKeys, func(m key) bool { return m.path == path }) {
			r.bad(v.KeyError("one chip has no "+path, "allowed: with system: NAME or FILE", ""))
		}
	}
}

func (r *reader) constraints(list []config.Value) {
	for _, v := range list {
		text, ok := v.Text()
		if !ok {
			r.bad(v.Error("not a comparison", "allowed: a text such as tdp <= 700 W", ""))
			continue
		}
		c, err := parseComparison(text)
		if err == nil {
			_, _, err = c.eval(r.shape(true))
			if e, ok := err.(*exprError); ok && strings.HasPrefix(e.problem, "the outcome is no number") {
				err = nil // with the values of a point it may be
			}
		}
		if err != nil {
			r.fail(v, err)
			continue
		}
		late := false
		for _, x := range []*expr{c.left, c.right} {
			x.names(func(e *expr) {
				if m := FindMetric(e.name); m != nil && m.Name == e.name && !m.Early() {
					late = true
				}
			})
		}
		r.s.constraints = append(r.s.constraints, constraint{*c, late})
	}
}

// kind is what kind of runs the points are; ok is false if they are of several.
func (r *reader) kind() (kind mode, ok bool) {
	var in Input
	for _, set := range r.s.base {
		if set.key.path == "system" || set.key.path == "phase" {
			set.key.set(&in, set.text)
		}
	}
	for _, d := range r.s.Dims {
		for _, a := range d.Axes {
			if a.Path == "system" && len(a.Values) > 0 {
				in.System = a.Values[0]
			}
			if a.Path == "phase" && slices.Contains(a.Values, serving) {
				return kind, false
			}
		}
	}
	return in.mode(), true
}

func (r *reader) metrics(list []config.Value) {
	kind, one := r.kind()
	r.s.kind, r.s.several = kind, !one
	if len(list) == 0 {
		for _, name := range standard[kind] {
			r.s.Metrics = append(r.s.Metrics, *FindMetric(name))
		}
		return
	}
	var names []string
	for i := range metrics {
		if metrics[i].of(kind) || !one {
			names = append(names, metrics[i].Name)
		}
	}
	for _, v := range list {
		name, _ := v.Text()
		m := FindMetric(name)
		switch {
		case m == nil:
			r.bad(v.Error(fmt.Sprintf("unknown metric %q", name), "allowed: "+strings.Join(names, ", "), config.Suggest(name, names)))
		case one && !m.of(kind):
			r.bad(v.Error(fmt.Sprintf("%v has no %s", kind, m.Name), "allowed: "+strings.Join(names, ", "), ""))
		case slices.ContainsFunc(r.s.Metrics, func(o Metric) bool { return o.Name == m.Name }):
			r.bad(v.Error("named twice", "", ""))
		default:
			r.s.Metrics = append(r.s.Metrics, *m)
		}
	}
}

// plots checks that pictures are of what the tables hold.
func (r *reader) plots() {
	for i, p := range r.s.Plots {
		names := slices.Clone(r.s.Paths)
		for _, m := range r.s.Metrics {
			names = append(names, m.Name)
		}
		check := func(key, name string) {
			if r.s.Column(name) == "" {
				r.bad(r.doc.Error(fmt.Sprintf("plots[%d].%s", i, key), name+" is no column of the results", "allowed: "+strings.Join(names, ", "), config.Suggest(name, names)))
			}
		}
		need := map[string]string{"line": "xy", "heat": "xyb", "pareto": "xy", "parallel": "c"}[p.Kind]
		for _, f := range []struct{ key, name string }{{"x", p.X}, {"y", p.Y}, {"by", p.By}} {
			switch {
			case f.name != "":
				check(f.key, f.name)
			case strings.Contains(need, f.key[:1]):
				r.bad(r.doc.Error(fmt.Sprintf("plots[%d]", i), "no "+f.key, "a plot of kind "+p.Kind+" needs one", ""))
			}
		}
		for j, name := range p.Columns {
			check(fmt.Sprintf("columns[%d]", j), name)
		}
		if need == "c" && len(p.Columns) == 0 {
			r.bad(r.doc.Error(fmt.Sprintf("plots[%d]", i), "no columns", "a plot of kind parallel needs some", ""))
		}
	}
}

// Size is the number of points: the product of the dimensions.
func (s *Study) Size() int64 {
	n := int64(1)
	for _, d := range s.Dims {
		n *= int64(d.N)
	}
	return n
}

// Choice returns the values of a point by dimension, given its place among all
// points, of which the last dimension varies fastest.
func (s *Study) Choice(i int64) []int {
	choice := make([]int, len(s.Dims))
	for d := len(s.Dims) - 1; d >= 0; d-- {
		n := int64(s.Dims[d].N)
		choice[d] = int(i % n)
		i /= n
	}
	return choice
}

// Index is the inverse of Choice.
func (s *Study) Index(choice []int) int64 {
	i := int64(0)
	for d := range s.Dims {
		i = i*int64(s.Dims[d].N) + int64(choice[d])
	}
	return i
}

// Start is the point from which tuning one dimension after the other starts: the values that the base has of axes, or the
// first ones.
func (s *Study) Start() []int {
	choice := make([]int, len(s.Dims))
	for d := range s.Dims {
		for v := s.Dims[d].N - 1; v > 0; v-- {
			same := 0
			for _, a := range s.Dims[d].Axes {
				if slices.ContainsFunc(s.base, func(o setting) bool { return o.key.path == a.Path && o.text == a.Values[v] }) {
					same++
				}
			}
			if same == len(s.Dims[d].Axes) {
				choice[d] = v
			}
		}
	}
	return choice
}

// Has returns why the study's points have no metric, or nil if some do.
func (s *Study) Has(m *Metric) error {
	if s.several || m.of(s.kind) {
		return nil
	}
	var names []string
	for i := range metrics {
		if metrics[i].of(s.kind) && metrics[i].Word == nil {
			names = append(names, metrics[i].Name)
		}
	}
	return fmt.Errorf("%v has no %s; allowed: %s", s.kind, m.Name, strings.Join(names, ", "))
}
