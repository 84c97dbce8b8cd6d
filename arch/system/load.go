package system

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"maru/arch"
	"maru/arch/unit"
	"maru/configs"
	"maru/internal/config"
)

// kind is the folder of systems among the embedded configurations.
const kind = "systems"

// Load reads a system by the name of an embedded configuration or from a file, applies overrides ("PATH=VALUE") and
// checks the outcome, as [arch.Load] does for chips. The error is of type [config.Errors], with everything that is wrong
// with the file, unless it cannot be read.
func Load(nameOrPath string, sets []string) (*System, *config.Doc, error) {
	src, _, err := open(nameOrPath, "")
	if err != nil {
		return nil, nil, err
	}
	return Parse(src.Data, src.Name, sets)
}

// Parse is Load for the text of a file. A base that is a file is relative to the folder of filename, and so is a chip.
func Parse(data []byte, filename string, sets []string) (*System, *config.Doc, error) {
	dir := filepath.Dir(filename)
	doc, err := config.Load(config.Source{Name: filename, Data: data}, func(name string) (src config.Source, err error) {
		src, dir, err = open(name, dir)
		return src, err
	})
	if err != nil {
		return nil, nil, err
	}
	var errs config.Errors
	for _, set := range sets {
		path, value, ok := strings.Cut(set, "=")
		if !ok {
			errs = append(errs, &config.Error{Pos: config.Pos{File: "--set " + set}, Problem: "no equals sign",
				Allowed: "allowed: PATH=VALUE, such as scale_up.link.bandwidth=50 GB/s"})
			continue
		}
		var wrong config.Errors
		if errors.As(doc.Set(strings.TrimSpace(path), value), &wrong) {
			errs = append(errs, wrong...)
		}
	}
	if err := errs.Err(); err != nil {
		return nil, nil, err
	}
	s, err := Decode(doc)
	if err != nil {
		return nil, nil, err
	}
	if !slices.Contains(arch.Names(), s.Chip) && !filepath.IsAbs(s.Chip) {
		s.Chip = filepath.Join(dir, s.Chip)
	}
	return s, doc, nil
}

// Decode makes a system of a document, as [Load] does of a file. A chip that is a file stays as it is written.
func Decode(doc *config.Doc) (*System, error) {
	s := &System{}
	var errs config.Errors
	if err := doc.Decode(s); err != nil && !errors.As(err, &errs) {
		return nil, err
	}
	errs = append(errs, check(s, doc, errs)...)
	if err := errs.Err(); err != nil {
		return nil, err
	}
	s.fill()
	return s, nil
}

// fill gives optional figures that are missing the values that their keys document. They stay without position, so they
// do not count as figures of the system.
func (s *System) fill() {
	for _, t := range []*Tier{&s.ScaleUp, s.ScaleOut} {
		if t != nil && !t.Adapters.IsSet() {
			t.Adapters.Value = 1
		}
	}
	for i := range s.Uneven {
		u := &s.Uneven[i]
		u.Count = max(1, u.Count)
		for _, f := range []*config.Figure[unit.Ratio]{&u.Up, &u.Out, &u.Compute} {
			if !f.IsSet() {
				f.Value = 1
			}
		}
	}
	for _, p := range []*Protocol{s.Library.Low, s.Library.Line, &s.Library.Bulk} {
		if p == nil {
			continue
		}
		if !p.Share.IsSet() {
			p.Share.Value = p.Format.Value
		}
		if !p.Network.IsSet() {
			p.Network.Value = p.Hop.Value
		}
	}
}

// check returns what is wrong with the values of a decoded system, leaving out what could not be decoded.
func check(s *System, doc *config.Doc, decoded config.Errors) config.Errors {
	var out config.Errors
	good := func(path string) bool {
		return doc.Has(path) && !slices.ContainsFunc(decoded, func(e *config.Error) bool {
			return e.Path == path || strings.HasPrefix(e.Path, path+".") || strings.HasPrefix(e.Path, path+"[")
		})
	}
	fail := func(path, allowed, format string, args ...any) {
		out = append(out, doc.Error(path, fmt.Sprintf(format, args...), allowed, ""))
	}
	if good("chip") && !slices.Contains(arch.Names(), s.Chip) && !isFile(s.Chip) {
		out = append(out, doc.Error("chip", fmt.Sprintf("unknown chip %q", s.Chip),
			"allowed: a name of \"maru list chips\" or a path to a .yaml file", config.Suggest(s.Chip, arch.Names())))
	}
	for _, path := range []string{"name", "title"} {
		if text := map[string]string{"name": s.Name, "title": s.Title}[path]; good(path) && strings.TrimSpace(text) == "" {
			fail(path, "allowed: a text", "an empty text")
		}
	}
	for _, tier := range []struct {
		path string
		t    *Tier
	}{{"scale_up", &s.ScaleUp}, {"scale_out", s.ScaleOut}} {
		t := tier.t
		if t == nil || !good(tier.path+".topology") || !good(tier.path+".shape") {
			continue
		}
		axes := map[Topology][2]int{Torus: {1, 3}, Mesh: {1, 3}, Dragonfly: {2, 2}}
		want, ok := axes[t.Topology]
		if !ok {
			want = [2]int{1, 1}
		}
		if n := len(t.Shape); n < want[0] || n > want[1] {
			fail(tier.path+".shape", fmt.Sprintf("allowed: %d to %d numbers for a %v", want[0], want[1], t.Topology), "%d axes", n)
		} else if t.Members() > 1<<20 {
			fail(tier.path+".shape", fmt.Sprintf("allowed: at most %d members", 1<<20), "%d members", t.Members())
		}
		has := func(key string, set bool, of ...Topology) {
			if set && !slices.Contains(of, t.Topology) {
				var names []string
				for _, o := range of {
					names = append(names, o.String())
				}
				fail(tier.path+"."+key, "allowed with "+strings.Join(names, ", "), "a %v has none", t.Topology)
			}
		}
		has("levels", len(t.Levels) > 0, FatTree)
		has("global", t.Global != nil, Dragonfly)
		has("reduce", t.Reduce != nil, Switch)
		has("wrap", doc.Has(tier.path+".wrap"), Torus, Ring)
		if t.Wrap == Multiple && t.Multiple == 0 {
			fail(tier.path+".wrap", "add wrap_multiple", "no number of which an axis has to be a multiple")
		}
		if t.Topology == Dragonfly && t.Global == nil && good(tier.path) {
			fail(tier.path, "add global", "a dragonfly without links between groups")
		}
		if tier.path == "scale_up" && t.Adapters.IsSet() {
			fail("scale_up.adapters", "allowed in scale_out", "chips have no adapters of their own")
		}
	}
	if o := s.ScaleOut; o != nil && good("scale_up.shape") && good("scale_out.adapters") && o.Adapters.IsSet() {
		if a := o.Adapters.Value; s.Node()%a != 0 && a%s.Node() != 0 {
			fail("scale_out.adapters", "allowed: a divisor or a multiple of them", "%d adapters for %d chips", a, s.Node())
		}
	}
	for i, u := range s.Uneven {
		path := fmt.Sprintf("uneven[%d]", i)
		switch {
		case !good(path) || !good("scale_up.shape"):
		case u.Chip >= s.Chips():
			fail(path+".chip", fmt.Sprintf("allowed: 0 to %d", s.Chips()-1), "no chip %d", u.Chip)
		case u.Out.IsSet() && s.ScaleOut == nil:
			fail(path+".scale_out", "allowed with scale_out", "nothing joins nodes")
		case !u.Up.IsSet() && !u.Out.IsSet() && !u.Compute.IsSet():
			fail(path, "allowed: scale_up, scale_out, compute", "nothing in which chips are uneven")
		}
	}
	if l := &s.Library; good("library.choice") && l.Choice == ByTable && (l.Table == nil || l.Low == nil) {
		fail("library.choice", "add table and ll", "the cost table needs figures of its own and of a low-latency protocol")
	}
	if good("library.algorithms") && len(s.Library.Algorithms) == 0 {
		fail("library.algorithms", "allowed: "+strings.Join(algorithmNames, ", "), "no algorithm")
	}
	return out
}

// Names lists the embedded systems in alphabetical order.
func Names() []string { return configs.Names(kind) }

// Schema returns the JSON Schema of system files.
func Schema() []byte { return config.Schema(System{}, "Maru system", true) }

// isFile reports whether a text that names nothing built in can only be meant as the path of a file, or is one.
func isFile(s string) bool {
	if strings.ContainsAny(s, `/\`) || strings.HasSuffix(s, ".yaml") || strings.HasSuffix(s, ".yml") {
		return true
	}
	info, err := os.Stat(s)
	return err == nil && info.Mode().IsRegular()
}

// open reads an embedded system, or a file relative to a folder. It returns the folder to which what the file names is
// relative.
func open(name, dir string) (config.Source, string, error) {
	if slices.Contains(Names(), name) {
		file, data, err := configs.Read(kind, name)
		return config.Source{Name: file, Data: data}, dir, err
	}
	if !isFile(name) {
		return config.Source{}, dir, &config.NameError{What: "system", Text: name, Names: append(Names(), "a path to a .yaml file"), Hint: config.Suggest(name, Names())}
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(dir, name)
	}
	data, err := os.ReadFile(name)
	return config.Source{Name: name, Data: data}, filepath.Dir(name), err
}
