package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"maru/arch"
	"maru/arch/system"
	"maru/internal/config"
	"maru/sim/result"
	"maru/studies/bench"
	"maru/workloads/model"
	"maru/workloads/trace"
)

func checkVerb(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE...",
		Short: "Check chip, model, system, suite, trace and result files",
		Long: `Check reads files and prints every problem in them: YAML that describes chips,
models or systems, config.json files of models, suites of runs and their results,
traces, results. What a file is, its content says. "-" is the standard input.`,
		Example: `  maru check my-chip.yaml my-model.yaml
  maru compile --chip h100-sxm --op gemm:m=256,n=256,k=256 --trace - | maru check -`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("no file given")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			bad := 0
			for _, name := range args {
				about, warnings, err := e.check(name)
				for _, w := range warnings {
					e.warn([]string{w.Error()})
				}
				if err != nil {
					bad++
					fmt.Fprintln(e.err, err)
					continue
				}
				fmt.Fprintf(e.out, "%s: ok, %s\n", name, about)
			}
			switch {
			case bad == 0:
				return nil
			case len(args) == 1:
				return &failure{code: exitUsage}
			}
			return fmt.Errorf("%d of %d files have problems", bad, len(args))
		},
	}
}

// maxFile bounds the files that are read whole, in bytes.
const maxFile = 256 << 20

// read reads a file, or the standard input for "-".
func (e *env) read(name string) (data []byte, shown string, err error) {
	if name == "-" {
		shown = "standard input"
		data, err = io.ReadAll(io.LimitReader(e.in, maxFile+1))
	} else {
		shown = name
		var f *os.File
		if f, err = os.Open(name); err != nil {
			return nil, shown, err
		}
		defer f.Close()
		data, err = io.ReadAll(io.LimitReader(f, maxFile+1))
	}
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s: larger than %d MiB", shown, maxFile>>20)
	}
	return data, shown, err
}

// check checks a file and says what it holds.
func (e *env) check(name string) (about string, warnings []*config.Error, err error) {
	data, shown, err := e.read(name)
	if err != nil {
		return "", nil, err
	}
	switch what := sniff(name, data); what {
	case "trace":
		tr, err := trace.Parse(shown, bytes.NewReader(data))
		if err != nil {
			return "", nil, err
		}
		return fmt.Sprintf("trace of %s: %d launches of %d programs", tr.Header.Model, len(tr.Launches), len(tr.Programs)), nil, nil
	case "system":
		s, _, err := system.Parse(data, shown, nil)
		if err != nil {
			return "", nil, err
		}
		estimates := 0
		figures := s.Figures()
		for _, f := range figures {
			if f.Estimate {
				estimates++
			}
		}
		return fmt.Sprintf("system %s of %d chips %s: %d figures, %d of them estimates", s.Name, s.Chips(), s.Chip, len(figures), estimates), nil, nil
	case "collective":
		res, err := result.ReadCollective(bytes.NewReader(data))
		if err == nil {
			err = res.Validate()
		}
		if err != nil {
			return "", nil, fmt.Errorf("%s: %w", shown, err)
		}
		return fmt.Sprintf("result of %d collectives on %s", len(res.Ops), res.System), nil, nil
	case "parallel":
		res, err := result.ReadParallel(bytes.NewReader(data))
		if err == nil {
			err = res.Validate()
		}
		if err != nil {
			return "", nil, fmt.Errorf("%s: %w", shown, err)
		}
		return fmt.Sprintf("result of %s on %d chips of %s", res.Model, res.Chips, res.System), nil, nil
	case "serve":
		res, err := result.ReadServe(bytes.NewReader(data))
		if err == nil {
			err = res.Validate()
		}
		if err != nil {
			return "", nil, fmt.Errorf("%s: %w", shown, err)
		}
		return fmt.Sprintf("plan of serving %s on %d chips of %s", res.Model, res.Chips, res.System), nil, nil
	case "result":
		res, err := result.Read(bytes.NewReader(data))
		if err == nil {
			err = res.Validate()
		}
		if err != nil {
			return "", nil, fmt.Errorf("%s: %w", shown, err)
		}
		return fmt.Sprintf("result of %s on %s", res.Model, res.Chip), nil, nil
	case "results":
		s, err := result.ReadSuite(bytes.NewReader(data))
		if err != nil {
			return "", nil, fmt.Errorf("%s: %w", shown, err)
		}
		return fmt.Sprintf("results of suite %s: %d runs", s.Name, len(s.Runs)), nil, nil
	case "suite":
		s, err := bench.Parse(shown, data)
		if err != nil {
			return "", nil, err
		}
		return fmt.Sprintf("suite of %d runs", len(s.Runs)), nil, nil
	case "model":
		parse := model.Parse
		if filepath.Ext(name) == ".json" {
			parse = model.ParseHuggingFace
		}
		m, err := parse(shown, data)
		if err != nil {
			return "", nil, err
		}
		return fmt.Sprintf("model of %d parameters", m.Params()), nil, nil
	default:
		chip, doc, err := arch.Parse(data, shown, nil)
		if err != nil {
			return "", nil, err
		}
		n := chip.Describe().Count
		return fmt.Sprintf("chip %s: %d figures, %d of them estimates", chip.Name, n.Figures, n.Estimated), chip.Warnings(doc), nil
	}
}

// sniff says what a file holds, from its content: "trace", "result", "results",
// "collective" (a result of them), "parallel" (a result of a model on many chips), "serve" (of a plan of serving), "suite", "model", "system" or "chip". A file
// that could be anything is taken for a chip.
func sniff(name string, data []byte) string {
	start := bytes.TrimLeft(data, "\ufeff \t\r\n")
	for bytes.HasPrefix(start, []byte("#")) {
		_, start, _ = bytes.Cut(start, []byte("\n"))
		start = bytes.TrimLeft(start, " \t\r\n")
	}
	switch {
	case bytes.HasPrefix(start, []byte("maru-trace")) || filepath.Ext(name) == ".trace":
		return "trace"
	case bytes.HasPrefix(start, []byte("{")):
		if result.IsParallel(data) {
			return "parallel"
		}
		if result.IsServe(data) {
			return "serve"
		}
		if result.IsCollective(data) {
			return "collective"
		}
		if bytes.Contains(data, []byte(`"latency_ps"`)) && bytes.Contains(data, []byte(`"input_hash"`)) {
			if bytes.Contains(data, []byte(`"suite_version"`)) {
				return "results"
			}
			return "result"
		}
		if filepath.Ext(name) == ".json" {
			return "model"
		}
	}
	doc, err := config.Load(config.Source{Name: name, Data: data}, nil)
	if err != nil {
		return "chip"
	}
	if doc.Has("runs") {
		return "suite"
	}
	for _, section := range []string{"chip", "scale_up", "scale_out", "library", "uneven"} {
		if doc.Has(section) {
			return "system"
		}
	}
	for _, section := range model.Sections() {
		if doc.Has(section) {
			return "model"
		}
	}
	return "chip"
}
