package cli

import (
	"fmt"
	"io"
	"path/filepath"
	"time"

	"maru/reports/figure"
	"maru/reports/table"
	"maru/reports/terminal"
	"maru/sim/result"
	"maru/studies/retarget"
	"maru/studies/run"
)

// retarget runs a program on many chips and writes a table of them where the
// flags say. It is a finding if none of them can run it.
func (e *env) retarget(in run.Input, chips []string, o *outputFlags) error {
	opt, err := o.options()
	if err != nil {
		return err
	}
	start := time.Now()
	e.progress(fmt.Sprintf("run on %d chips", len(chips)))
	m, err := retarget.Run(in, chips, opt)
	if err != nil {
		return err
	}
	e.stopProgress()
	var list io.Writer = e.out
	if o.json {
		list = e.err
		err = result.WriteMachines(e.out, m)
	} else {
		err = terminal.Machines(e.out, m, terminal.Options{Color: e.color, Width: terminalWidth(e.out.w)})
	}
	if err != nil {
		return err
	}
	if o.dir != "" {
		e.progress("draw")
		if err := e.save(o.dir, func(tmp string) error { return writeMachines(tmp, m) }, list); err != nil {
			return err
		}
	}
	if o.verbose {
		fmt.Fprintf(e.err, "%-9s %8.1f ms\n", "retarget", float64(time.Since(start).Microseconds())/1e3)
	}
	if !m.Rows[0].Ran() {
		return &failure{exitFinding, "no chip can run it"}
	}
	return nil
}

// writeMachines writes every form of a table of machines into a folder.
func writeMachines(dir string, m *result.Machines) error {
	if err := create(filepath.Join(dir, "machines.json"), func(w io.Writer) error { return result.WriteMachines(w, m) }); err != nil {
		return err
	}
	if err := create(filepath.Join(dir, "machines.csv"), func(w io.Writer) error { return table.Machines(w, m) }); err != nil {
		return err
	}
	_, err := figure.WriteAll(dir, []*figure.Figure{figure.Machines(m)}, nil)
	return err
}
