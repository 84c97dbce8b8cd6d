package study

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"maru/arch"
	"maru/arch/system"
	"maru/internal/config"
	"maru/sim/result"
	"maru/studies/run"
	"maru/workloads/model"
)

// Status says what became of a point.
type Status string

// What becomes of points.
const (
	OK       Status = "ok"       // it can be run, or was
	Excluded Status = "excluded" // a constraint does not hold
	Failed   Status = "failed"   // there is no such chip or run
)

// Case is a point of a study: a run, made whole.
type Case struct {
	Choice []int    // of each dimension, the place of its value
	Values []string // of each of Study.Paths; what is derived is empty if it could not be computed

	Input  Input
	Chip   *arch.Chip
	Doc    *config.Doc    // the resolved description of the chip
	System *system.System // nil for one chip
	Links  *config.Doc    // the resolved description of the system

	Status Status
	Reason string // unless it is OK

	study *Study
	model description
}

// description is what is known of a model: its document, which is nil for a
// config.json, and a text that is equal for equal models.
type description struct {
	doc  *config.Doc
	text string
}

// cache keeps the descriptions that points start from.
type cache struct {
	mu      sync.Mutex
	chips   map[string]*config.Doc
	models  map[string]description
	systems map[string]linked
}

// linked is a system with the name of its chip.
type linked struct {
	chip string
	doc  *config.Doc
}

func newCache() *cache {
	return &cache{chips: map[string]*config.Doc{}, models: map[string]description{}, systems: map[string]linked{}}
}

// system returns a copy of a system's description, and the chip that it has.
func (c *cache) system(name string) (*config.Doc, string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l, ok := c.systems[name]
	if !ok {
		s, doc, err := system.Load(name, nil)
		if err != nil {
			return nil, "", err
		}
		l = linked{s.Chip, doc}
		c.systems[name] = l
	}
	return l.doc.Clone(), l.chip, nil
}

// chip returns a copy of a chip's description.
func (c *cache) chip(name string) (*config.Doc, error) {
	doc, err := c.chipOf(name)
	if err != nil {
		return nil, err
	}
	return doc.Clone(), nil
}

// chipOf returns a chip's description, which is not changed.
func (c *cache) chipOf(name string) (*config.Doc, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	doc, ok := c.chips[name]
	if !ok {
		var err error
		if _, doc, err = arch.Load(name, nil); err != nil {
			return nil, err
		}
		c.chips[name] = doc
	}
	return doc, nil
}

// model returns a copy of a model's description.
func (c *cache) model(name string) (description, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, ok := c.models[name]
	if !ok {
		m, doc, err := model.LoadSet(name, nil)
		if err != nil {
			return d, err
		}
		d.doc = doc
		if doc == nil {
			data, err := json.Marshal(m)
			if err != nil {
				return d, err
			}
			d.text = string(data)
		}
		c.models[name] = d
	}
	if d.doc != nil {
		d.doc = d.doc.Clone()
	}
	return d, nil
}

// Case makes the point with the given value of each dimension. It may be called
// concurrently.
func (s *Study) Case(choice []int) *Case {
	c := &Case{Choice: slices.Clone(choice), Values: make([]string, len(s.Paths)), Status: OK, study: s}
	list := slices.Clone(s.base)
	for d, dim := range s.Dims {
		for _, a := range dim.Axes {
			text := a.Values[choice[d]]
			c.Values[slices.Index(s.Paths, a.Path)] = text
			set := setting{a.key, text}
			if i := slices.IndexFunc(list, func(o setting) bool { return o.key.path == a.Path }); i >= 0 {
				list[i] = set
			} else {
				list = append(list, set)
			}
		}
	}
	if err := c.build(list); err != nil {
		c.Status, c.Reason = Failed, Line(err)
		return c
	}
	for i := range s.constraints {
		if k := &s.constraints[i]; !k.late && !c.hold(k, nil) {
			break
		}
	}
	return c
}

// Figures gives the value of a metric of a run, or its word; ok says whether the run has it.
type Figures func(m *Metric) (v float64, word string, ok bool)

// Of returns the metrics of a result.
func Of(r *result.Result) Figures {
	return func(m *Metric) (float64, string, bool) {
		switch {
		case m.Word != nil:
			return 0, m.Word(r), true
		case m.Result != nil:
			return m.Result(r), "", true
		}
		return 0, "", false
	}
}

// hold checks a constraint, and reports whether the point is still in order.
func (c *Case) hold(k *constraint, of Figures) bool {
	holds, left, err := k.eval(func(name string) (value, error) { return c.lookup(name, of) })
	switch {
	case err != nil:
		c.Status, c.Reason = Failed, k.text+": "+Line(err)
	case !holds:
		c.Status, c.Reason = Excluded, fmt.Sprintf("%s: it is %v", k.text, left)
	}
	return c.Status == OK
}

// Judge holds what a run measured against the constraints that need it. The case
// then says whether it fits.
func (c *Case) Judge(of Figures) {
	for i := range c.study.constraints {
		if k := &c.study.constraints[i]; k.late && !c.hold(k, of) {
			return
		}
	}
}

// build makes the run of a list of settings.
func (c *Case) build(list []setting) error {
	s := c.study
	for _, set := range list {
		if set.key.owner == ofPlan {
			c.assign(set.key, set.text)
		}
	}
	var err error
	chip := c.Input.Chip
	if c.Input.System != "" {
		if c.Links, chip, err = s.cache.system(c.Input.System); err != nil {
			return err
		}
	}
	if c.Doc, err = s.cache.chip(chip); err != nil {
		return err
	}
	if c.Input.Model != "" {
		if c.model, err = s.cache.model(c.Input.Model); err != nil {
			return err
		}
	}
	for _, set := range list {
		if set.key.owner != ofPlan {
			if err := c.set(set.key, set.text); err != nil {
				return err
			}
		}
	}
	for _, d := range s.derived {
		v, err := d.expr.eval(func(name string) (value, error) { return c.lookup(name, nil) })
		if err != nil {
			return fmt.Errorf("%s: %w", d.key.path, err)
		}
		text := v.word
		if !v.text {
			text = v.n.text(d.key.typ)
		}
		c.Values[slices.Index(s.Paths, d.key.path)] = text
		if err := d.key.check(text); err != nil {
			return fmt.Errorf("%s: %w", d.key.path, err)
		}
		if err := c.set(d.key, text); err != nil {
			return err
		}
	}
	if c.Links != nil {
		if c.System, err = system.Decode(c.Links); err != nil {
			return err
		}
	}
	c.Chip, err = arch.Decode(c.Doc)
	return err
}

// assign gives the plan a value.
func (c *Case) assign(k *key, text string) {
	if k.path == "chip" || k.path == "model" || k.path == "system" {
		text = c.study.file(text)
	}
	k.set(&c.Input, text)
}

// set gives a path a value.
func (c *Case) set(k *key, text string) error {
	switch k.owner {
	case ofPlan:
		c.assign(k, text)
	case ofChip:
		c.Input.Sets = append(c.Input.Sets, k.path+"="+text)
		return c.Doc.Set(k.path, text)
	case ofModel:
		c.Input.ModelSets = append(c.Input.ModelSets, k.path+"="+text)
		if c.model.doc != nil { // a config.json is reported by the run
			return c.model.doc.Set(k.path, text)
		}
	case ofSystem:
		c.Input.SystemSets = append(c.Input.SystemSets, k.path+"="+text)
		return c.Links.Set(k.path, text)
	case ofOp:
		c.Input.Op = withSize(c.Input.Op, strings.TrimPrefix(k.path, opPrefix), text)
	}
	return nil
}

// withSize sets a size in the description of an operator.
func withSize(op, size, text string) string {
	name, rest, _ := strings.Cut(op, ":")
	var list []string
	if rest != "" {
		list = strings.Split(rest, ",")
	}
	i := slices.IndexFunc(list, func(s string) bool { return strings.HasPrefix(strings.TrimSpace(s), size+"=") })
	if i < 0 {
		i = len(list)
		list = append(list, "")
	}
	list[i] = size + "=" + text
	return name + ":" + strings.Join(list, ",")
}

// file is the name of a chip, a model or a system as the program finds it: files are
// relative to the study's folder.
func (s *Study) file(name string) string {
	if !strings.ContainsAny(name, `/\`) && !slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(name)) || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(s.dir, name)
}

// lookup returns what a name in an expression stands for. Metrics of a run need
// its figures.
func (c *Case) lookup(name string, of Figures) (value, error) {
	if m := FindMetric(name); m != nil && m.Name == name {
		v, word, err := c.Metric(m, of)
		return value{m.number(v), word, m.Word != nil}, err
	}
	k, err := find(name)
	if err != nil {
		return value{}, err
	}
	text, ok := "", false
	switch k.owner {
	case ofPlan:
		text = k.get(&c.Input)
		ok = text != ""
	case ofChip:
		text, ok = c.Doc.Text(k.path)
	case ofSystem:
		text, ok = c.Links.Text(k.path)
	case ofModel:
		if c.model.doc != nil {
			text, ok = c.model.doc.Text(k.path)
		}
	case ofOp:
		_, after, found := strings.Cut(","+strings.Replace(c.Input.Op, ":", ",", 1), ","+strings.TrimPrefix(k.path, opPrefix)+"=")
		text, _, _ = strings.Cut(after, ",")
		ok = found
	}
	switch {
	case !ok:
		return value{}, fmt.Errorf("%s has no value here", name)
	case !isNumber(k.typ):
		return value{word: text, text: true}, nil
	}
	n, ok := read(text)
	if !ok {
		return value{}, fmt.Errorf("%s: %q is no number", name, text)
	}
	return value{n: n}, nil
}

// Metric is the value of a metric for the point, or the word. Metrics of a run
// need its figures, which may be nil for those of the chip. The error is about
// what the chip lacks.
func (c *Case) Metric(m *Metric, of Figures) (v float64, word string, err error) {
	switch {
	case m.Chip != nil && c.Chip == nil:
		err = fmt.Errorf("there is no chip to take %s of", m.Name)
	case m.Chip != nil:
		v, err = m.Chip(c.Chip)
	case m.Many != nil && (c.Chip == nil || c.System == nil):
		err = fmt.Errorf("there is no system to take %s of", m.Name)
	case m.Many != nil:
		many := Many{c.System, c.Chip, c.Input.Chips}
		if many.Chips == 0 {
			many.Chips = c.System.Chips()
		}
		v, err = m.Many(&many)
	case of == nil:
		err = fmt.Errorf("%s is known only after the run", m.Name)
	default:
		var ok bool
		if v, word, ok = of(m); !ok {
			err = fmt.Errorf("%v has no %s", c.Input.mode(), m.Name)
		}
	}
	return v, word, err
}

// Key names the point's resolved input and the version of the program: equal
// keys have equal results. It is made for a case that is OK or was excluded.
func (c *Case) Key() string {
	h := sha256.New()
	fmt.Fprintf(h, "maru %s\n", run.Version)
	in := c.Input
	in.Chip, in.Sets, in.SystemSets = c.Chip.Name, nil, nil
	if c.System == nil {
		fmt.Fprintf(h, "%+v\n", in.Input)
	} else {
		in.System = c.System.Name
		fmt.Fprintf(h, "%+v\n", in)
		h.Write(c.Links.YAML())
	}
	h.Write(c.Doc.YAML())
	if c.model.doc != nil {
		h.Write(c.model.doc.YAML())
	}
	h.Write([]byte(c.model.text))
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Line is an error in one line, without the excerpts that its message shows.
func Line(err error) string {
	var many config.Errors
	if !errors.As(err, &many) {
		return strings.Join(strings.Fields(err.Error()), " ")
	}
	var list []string
	for _, e := range many {
		at := e.Pos.String()
		if e.Pos.Line == 0 { // a value of the study
			at = e.Path
		}
		list = append(list, strings.Join(strings.Fields(at+": "+e.Message()), " "))
	}
	return strings.Join(list, "; and ")
}
