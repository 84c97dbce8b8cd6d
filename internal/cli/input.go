package cli

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"maru/arch"
	"maru/arch/dtype"
	"maru/studies/run"
	"maru/workloads/compile"
	"maru/workloads/model"
	"maru/workloads/plan"
)

// inputFlags are the flags that say what is run, on what, and how.
type inputFlags struct {
	chip      chipFlags
	model, op string
	phase     choice
	batch     count
	seq       count
	layers    count
	dtype     choice
	kv        choice
	noFuse    bool
	profile   choice
	cache     choice
	launch    choice
	data      choice
	weights   choice
}

// chipFlags are the flags that choose a chip.
type chipFlags struct {
	name      string
	sets      []string
	partition string
	shared    bool
	others    natural
}

func (c *chipFlags) add(cmd *cobra.Command, f *pflag.FlagSet, name string) {
	f.StringVar(&c.name, "chip", "", name)
	f.StringArrayVar(&c.sets, "set", nil, "`PATH=VALUE` change a figure of the chip; as often as needed")
	f.StringVar(&c.partition, "partition", "", "`NAME|N` run on one instance of a divided chip: by the partition's name or its number of instances")
	f.BoolVar(&c.shared, "shared", false, "the instance has only its cores to itself; cache, memory and power are not divided by hardware")
	f.Var(&c.others, "neighbours", "other instances that run the same at the same time (default: all that there are)")
}

// input is what the flags say of a run.
func (c *chipFlags) input() run.Input {
	in := run.Input{Chip: c.name, Sets: c.sets, Partition: c.partition, Shared: c.shared}
	if n := c.others.value; n != nil {
		in.Tenants = int64(min(*n, math.MaxInt32)) + 1
	}
	return in
}

// add gives the flags to a verb.
func (in *inputFlags) add(cmd *cobra.Command) {
	in.phase = choice{what: "phase", words: plan.PhaseNames()}
	format := choice{check: func(s string) error {
		_, err := dtype.Parse(s)
		return err
	}}
	in.dtype, in.kv = format, format
	in.cache = choice{check: cacheState}
	in.profile = choice{what: "library profile", words: compile.Profiles()}
	in.launch = choice{what: "launch mode", words: []string{"graph", "stream"}}
	in.data = choice{what: "data", words: plan.DataNames()}
	in.weights = choice{what: "memory", words: plan.WeightNames()}
	addFlags(cmd, "What to run", func(f *pflag.FlagSet) {
		in.chip.add(cmd, f, "`NAME|FILE` chip: a name of \"maru list chips\" or a YAML file")
		f.StringVar(&in.model, "model", "", "`NAME|FILE` model: a name of \"maru list models\", a YAML file or a config.json")
		f.StringVar(&in.op, "op", "", "`SPEC` a single operator instead, such as gemm:m=4096,n=4096,k=4096")
		f.Var(&in.phase, "phase", "`PHASE` prefill, decode, forward or train (default: prefill for decoders, forward for all others)")
		f.Var(&in.batch, "batch", "sequences or images (default 1)")
		f.Var(&in.seq, "seq", "tokens of each prompt, or of the context that a decode step sees (default 2048 for language models)")
		f.Var(&in.layers, "layers", "run the first N layers only (default: all)")
	})
	addFlags(cmd, "How to compile and run it", func(f *pflag.FlagSet) {
		f.Var(&in.dtype, "dtype", "`FORMAT` number format of weights and arithmetic (default: the chip's)")
		f.Var(&in.kv, "kv-dtype", "`FORMAT` number format of the key/value cache (default: that of the activations)")
		f.BoolVar(&in.noFuse, "no-fuse", false, "do not fuse operators")
		f.Var(&in.profile, "profile", "`NAME` library to compile like (default: the chip's)")
		f.Var(&in.cache, "cache", "`STATE` what the shared cache holds at the start: cold, warm, or rotate:N for N copies of the weights in turn (default cold)")
		f.Var(&in.launch, "launch", "`MODE` how kernels start: graph or stream (default graph)")
		f.Var(&in.data, "data", "`WHAT` what the operands hold: random values, or zero, on which arithmetic spends less energy (default random)")
		f.Var(&in.weights, "weights", "`MEMORY` that the weights lie in: main, chip (memory that the compiler manages) or external (streamed from beyond the chip; default main, on a chip without main memory chip, or external if they do not fit)")
	})
	complete(cmd, "chip", arch.Names)
	complete(cmd, "model", model.Names)
	complete(cmd, "op", model.OpNames)
	complete(cmd, "phase", plan.PhaseNames)
	complete(cmd, "dtype", dtype.Type(0).Enum)
	complete(cmd, "kv-dtype", dtype.Type(0).Enum)
	complete(cmd, "profile", compile.Profiles)
	complete(cmd, "cache", func() []string { return []string{"cold", "warm", "rotate:2"} })
	complete(cmd, "launch", func() []string { return in.launch.words })
	complete(cmd, "data", plan.DataNames)
	complete(cmd, "weights", plan.WeightNames)
}

// maxRotation is the most copies of the weights that may take turns.
const maxRotation = 64

// cacheState checks what the shared cache is said to hold at the start.
func cacheState(s string) error {
	if s == "cold" || s == "warm" {
		return nil
	}
	copies, ok := strings.CutPrefix(s, "rotate:")
	if n, err := strconv.Atoi(copies); ok && err == nil && n >= 1 && n <= maxRotation && strconv.Itoa(n) == copies {
		return nil
	}
	return fmt.Errorf("unknown cache state %q; allowed: cold, warm, rotate:N with N from 1 to %d", s, maxRotation)
}

// input returns what the flags say.
func (in *inputFlags) input() (run.Input, error) {
	switch {
	case in.chip.name == "":
		return run.Input{}, errors.New(`no chip given; allowed: --chip NAME|FILE ("maru list chips" prints the names)`)
	case in.model == "" && in.op == "":
		return run.Input{}, errors.New(`nothing to run; allowed: --model NAME|FILE ("maru list models" prints the names) or --op SPEC ("maru list ops")`)
	case in.model != "" && in.op != "":
		return run.Input{}, errors.New("--model and --op exclude each other")
	}
	input := in.chip.input()
	input.Model, input.Op = in.model, in.op
	input.Phase, input.Batch, input.Seq, input.Layers = in.phase.value, int64(in.batch), int64(in.seq), int(in.layers)
	input.DType, input.KVDType = in.dtype.value, in.kv.value
	input.NoFuse, input.Profile, input.Cache, input.Launch, input.Data = in.noFuse, in.profile.value, in.cache.value, in.launch.value, in.data.value
	input.Weights = in.weights.value
	return input, nil
}

// defect is how the compiler starts an error about itself.
const defect = "compiler defect"

// compiled compiles what the flags say; passes are printed to w.
func (e *env) compiled(in *inputFlags, printAfter []string, w io.Writer) (*run.Compiled, error) {
	input, err := in.input()
	if err != nil {
		return nil, err
	}
	input.PrintAfter, input.PrintTo = printAfter, w
	e.progress("compile")
	c, err := run.Compile(input)
	if err != nil {
		if strings.HasPrefix(err.Error(), defect) {
			return nil, &failure{exitInternal, err.Error() + "\nPlease report it on the project's issue tracker, with the command and the files it reads."}
		}
		return nil, err
	}
	e.warnings(c.Chip, c.Doc, c.Partition, c.Warnings)
	return c, nil
}
