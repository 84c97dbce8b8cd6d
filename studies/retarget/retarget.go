// Package retarget runs one program on many chips without a change to it: each
// chip in its own number format and with its own library, unless told otherwise.
// A chip that cannot run the program gets a row that says why, and the others
// are run. What a port would rewrite by hand (layouts, custom kernels) is not
// modelled: the compiler does for every chip what it does for one. Floor 4.
package retarget

import (
	"errors"
	"fmt"
	"strings"

	"maru/arch"
	"maru/arch/dtype"
	"maru/internal/config"
	"maru/reports/human"
	"maru/sim/result"
	"maru/studies/run"
	"maru/workloads/compile"
)

// Chips reads a list of chips: "all" stands for those that are built in, and
// commas stand between several names or files. It returns nil for a text that
// names one chip.
func Chips(text string) []string {
	if text == "all" {
		return arch.Names()
	}
	if !strings.Contains(text, ",") {
		return nil
	}
	var chips []string
	for name := range strings.SplitSeq(text, ",") {
		chips = append(chips, strings.TrimSpace(name))
	}
	return chips
}

// Run runs in on every one of the chips, opt.Jobs of them at once; in.Chip is
// not looked at. The outcome does not depend on the number of jobs. An error is
// one of the input, which no chip could do anything about: a chip that cannot
// be loaded, a model that there is not. What a single chip cannot do is in its
// row.
func Run(in run.Input, chips []string, opt run.Options) (*result.Machines, error) {
	for _, name := range chips {
		if _, _, err := arch.Load(name, nil); err != nil {
			return nil, err
		}
	}
	one := opt
	one.Jobs, one.Plain = 1, true
	rows := make([]result.Machine, len(chips))
	runs := make([]*result.Result, len(chips))
	problems := make([]error, len(chips))
	err := run.Parallel(len(chips), opt.Jobs, func(i int) error {
		in := in
		in.Chip = chips[i]
		runs[i], problems[i] = simulate(in, one)
		rows[i] = row(in, runs[i], problems[i])
		return nil
	})
	if err != nil {
		return nil, err
	}
	m := &result.Machines{Version: result.Version, Program: "maru " + run.Version, Rows: rows}
	for _, res := range runs {
		if res != nil {
			m.Model, m.Phase, m.Batch, m.Seq, m.Unit = res.Model, res.Phase, res.Batch, res.Seq, res.Unit
			m.Sort()
			return m, nil
		}
	}
	if common(problems) {
		return nil, problems[0]
	}
	m.Model, m.Phase, m.Batch, m.Seq = in.Model, in.Phase, in.Batch, in.Seq
	if in.Op != "" {
		m.Model = in.Op
	}
	m.Sort()
	return m, nil
}

// simulate runs in on its chip.
func simulate(in run.Input, opt run.Options) (*result.Result, error) {
	c, err := run.Compile(in)
	if err != nil {
		return nil, err
	}
	opt.Partition = c.Partition
	return run.Simulate(c.Chip, c.Doc, c.Trace, opt)
}

// row is the row of a chip with its result, or with the problem that there is
// none.
func row(in run.Input, res *result.Result, problem error) result.Machine {
	var m result.Machine
	if problem == nil {
		m = result.MachineOf(res)
	} else {
		m = result.Machine{Chip: in.Chip, DType: in.DType, Problem: problem.Error(), Reason: reason(problem)}
	}
	// Without the changes of the command line, which may be the problem.
	if chip, _, err := arch.Load(in.Chip, nil); err == nil {
		m.Chip, m.ChipTitle, m.Discipline = chip.Name, chip.Title, chip.Discipline.String()
		if m.DType == "" {
			m.DType = chip.Preferred.String()
		}
	}
	if dt, err := dtype.Parse(m.DType); err == nil {
		m.DType = dt.String()
	}
	return m
}

// reason says in a few words why a chip cannot run a program.
func reason(problem error) string {
	var capacity *compile.CapacityError
	var format *compile.FormatError
	var buffer *compile.BufferError
	var file config.Errors
	switch {
	case errors.As(problem, &file) && len(file) > 0:
		return file[0].Path + ": " + file[0].Problem
	case errors.As(problem, &capacity):
		return fmt.Sprintf("needs %s of memory, has %s", human.Bytes(capacity.Need.Total()), human.Bytes(capacity.Have))
	case errors.As(problem, &format):
		return fmt.Sprintf("does not compute in %s, only in %s", format.Format, format.Have)
	case errors.As(problem, &buffer):
		return fmt.Sprintf("%s needs %s of scratchpad, there is %s", buffer.Buffer, human.Bytes(buffer.Need), human.Bytes(buffer.Have))
	}
	text, _, _ := strings.Cut(problem.Error(), "\n")
	text, _, _ = strings.Cut(text, ";")
	return text
}

// common tells whether all chips have the same problem, which then is not one
// of the chips.
func common(problems []error) bool {
	for _, p := range problems[1:] {
		if p.Error() != problems[0].Error() {
			return false
		}
	}
	return true
}
