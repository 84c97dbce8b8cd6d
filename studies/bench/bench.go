// Package bench reads suite files, which name runs that are repeated whenever
// something changes, and runs them: for comparisons that a CI job gates on.
//
// A suite is YAML: a name and a list of runs, each of which is a chip and a
// model or an operator, with the keys that the flags of "maru run" have. Its
// outcome is a result.Suite, exact and equal for equal input. Wall-clock time
// is no part of it; who wants it measures Simulate. Floor 4.
package bench

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"maru/arch"
	"maru/arch/dtype"
	"maru/internal/config"
	"maru/sim/result"
	"maru/studies/run"
	"maru/workloads/model"
)

// Suite is a suite file that was read and checked.
type Suite struct {
	Name string `yaml:"name" doc:"Name of the suite."`
	Text string `yaml:"text,optional" doc:"What the runs are chosen for."`
	Runs []Run  `yaml:"runs" doc:"The runs, in the order in which they are reported."`

	doc *config.Doc
	dir string // that chips and models are relative to
}

// Run is one run of a suite.
type Run struct {
	Name    string      `yaml:"name" doc:"Name that comparisons match runs by: letters, digits and . _ / = : , -"`
	Chip    string      `yaml:"chip" doc:"Chip: a built-in one, or a file relative to the suite's folder."`
	Set     []string    `yaml:"set,optional" doc:"Changes to figures of the chip, PATH=VALUE each."`
	Model   string      `yaml:"model,optional" doc:"Model: a built-in one, or a file relative to the suite's folder."`
	Op      string      `yaml:"op,optional" doc:"A single operator instead of a model, such as gemm:m=4096,n=4096,k=4096."`
	Phase   string      `yaml:"phase,optional" enum:"prefill,decode,forward,train" doc:"Part of the model's life that is run."`
	Batch   int64       `yaml:"batch,optional" bound:">=1" doc:"Sequences or images."`
	Seq     int64       `yaml:"seq,optional" bound:">=1" doc:"Tokens of each prompt, or of the context that a decode step sees."`
	Layers  int         `yaml:"layers,optional" bound:">=1" doc:"Run the first layers only."`
	DType   *dtype.Type `yaml:"dtype,optional" doc:"Number format of weights and arithmetic."`
	KVDType *dtype.Type `yaml:"kv_dtype,optional" doc:"Number format of the key/value cache."`
	Fuse    *bool       `yaml:"fuse,optional" doc:"Whether operators are fused; true unless given."`
	Profile string      `yaml:"profile,optional" doc:"Library to compile like."`
	Cache   string      `yaml:"cache,optional" doc:"What the shared cache holds at the start: cold, warm, or rotate:N."`
	Launch  string      `yaml:"launch,optional" enum:"graph,stream" doc:"How kernels start."`
	Data    string      `yaml:"data,optional" enum:"random,zero" doc:"What the operands hold."`
}

// Schema is the JSON Schema of suite files.
func Schema() []byte { return config.Schema(Suite{}, "Maru suite", false) }

// Load reads a suite from a file. The error is a config.Errors with everything
// that is wrong with it, unless the file cannot be read. Files of chips and
// models that are wrong are told with places in these files.
func Load(name string) (*Suite, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return Parse(name, data)
}

// wellNamed is what names of runs look like: one word in tables, in XML and in
// the Go benchmark format.
var wellNamed = regexp.MustCompile(`^[A-Za-z0-9._/=:,-]+$`)

// Parse is Load for the text of a file.
func Parse(name string, data []byte) (*Suite, error) {
	doc, err := config.Load(config.Source{Name: name, Data: data}, nil)
	if err != nil {
		return nil, err
	}
	s := &Suite{doc: doc, dir: filepath.Dir(name)}
	if err := doc.Decode(s); err != nil {
		return nil, err
	}
	var errs config.Errors
	if len(s.Runs) == 0 {
		errs = append(errs, doc.Error("runs", "no runs", "allowed: a list of at least one", ""))
	}
	seen := map[string]bool{}
	for i := range s.Runs {
		r := &s.Runs[i]
		if !wellNamed.MatchString(r.Name) {
			errs = append(errs, s.at(i, ".name", fmt.Sprintf("%q is not a name", r.Name), "allowed: letters, digits and . _ / = : , -"))
		} else if seen[r.Name] {
			errs = append(errs, s.at(i, ".name", fmt.Sprintf("another run has the name %q", r.Name), ""))
		}
		seen[r.Name] = true
		errs = append(errs, s.check(i)...)
	}
	if err := errs.Err(); err != nil {
		return nil, err
	}
	return s, nil
}

// at is an error about a key of run i.
func (s *Suite) at(i int, key, problem, allowed string) *config.Error {
	return s.doc.Error(fmt.Sprintf("runs[%d]%s", i, key), problem, allowed, "")
}

// check looks at what run i names.
func (s *Suite) check(i int) (errs config.Errors) {
	r, in := &s.Runs[i], s.Input(i)
	// told adds an error: of another file as it is, any other at a key.
	told := func(key string, err error) {
		var of config.Errors
		switch {
		case err == nil:
		case errors.As(err, &of) && of[0].Pos.Line > 0:
			errs = append(errs, of...)
		case errors.As(err, &of):
			for _, e := range of {
				errs = append(errs, s.at(i, key, e.Pos.String()+": "+e.Message(), ""))
			}
		default:
			errs = append(errs, s.at(i, key, err.Error(), ""))
		}
	}
	if _, _, err := arch.Load(in.Chip, nil); err != nil {
		told(".chip", err)
	} else if len(in.Sets) > 0 {
		_, _, err := arch.Load(in.Chip, in.Sets)
		told(".set", err)
	}
	switch {
	case r.Model == "" && r.Op == "":
		errs = append(errs, s.at(i, "", "nothing to run", "allowed: model or op"))
	case r.Model != "" && r.Op != "":
		errs = append(errs, s.at(i, ".op", "model and op exclude each other", ""))
	case r.Model != "":
		_, err := model.Load(in.Model)
		told(".model", err)
	}
	return errs
}

// Input is what run i is, with files relative to the suite's folder.
func (s *Suite) Input(i int) run.Input {
	r := &s.Runs[i]
	in := run.Input{
		Chip: s.file(r.Chip), Sets: r.Set, Op: r.Op, Phase: r.Phase, Batch: r.Batch, Seq: r.Seq, Layers: r.Layers,
		NoFuse: r.Fuse != nil && !*r.Fuse, Profile: r.Profile, Cache: r.Cache, Launch: r.Launch, Data: r.Data,
	}
	if r.Model != "" {
		in.Model = s.file(r.Model)
	}
	if r.DType != nil {
		in.DType = r.DType.String()
	}
	if r.KVDType != nil {
		in.KVDType = r.KVDType.String()
	}
	return in
}

// file is a name as it is, and a path relative to the suite's folder.
func (s *Suite) file(name string) string {
	ext := filepath.Ext(name)
	if filepath.IsAbs(name) || !strings.ContainsAny(name, `/\`) && ext != ".yaml" && ext != ".yml" && ext != ".json" {
		return name
	}
	return filepath.Join(s.dir, name)
}

// Simulate compiles and simulates run i. Its result holds what comparisons
// need. The error is a config.Errors with the run's place in the suite; the
// warnings are of the compiler.
func (s *Suite) Simulate(i int, jobs int) (*result.Result, []string, error) {
	res, warnings, err := simulate(s.Input(i), jobs)
	if err != nil {
		return nil, nil, config.Errors{s.at(i, "", err.Error(), "")}
	}
	return res, warnings, nil
}

func simulate(in run.Input, jobs int) (*result.Result, []string, error) {
	c, err := run.Compile(in)
	if err != nil {
		return nil, nil, err
	}
	res, err := run.Simulate(c.Chip, c.Doc, c.Trace, run.Options{Brief: true, Jobs: jobs})
	if err != nil {
		return nil, nil, err
	}
	res.Trim()
	return res, c.Warnings, nil
}

// Simulated is the outcome of all runs, of which each is told before it starts.
// It has no outcome unless all of them succeed; the error is a config.Errors
// with those that do not.
func (s *Suite) Simulated(jobs int, each func(name string)) (*result.Suite, []string, error) {
	out := &result.Suite{Version: result.SuiteVersion, Program: "maru " + run.Version, Name: s.Name}
	var errs config.Errors
	var warnings []string
	for i := range s.Runs {
		each(s.Runs[i].Name)
		res, doubts, err := s.Simulate(i, jobs)
		var of config.Errors
		if errors.As(err, &of) {
			errs = append(errs, of...)
			continue
		}
		for _, w := range doubts {
			warnings = append(warnings, s.Runs[i].Name+": "+w)
		}
		out.Runs = append(out.Runs, result.Run{Name: s.Runs[i].Name, Result: res})
	}
	if err := errs.Err(); err != nil {
		return nil, nil, err
	}
	return out, warnings, nil
}
