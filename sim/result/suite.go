package result

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// SuiteVersion is the version of the JSON form of suites that this package
// writes.
const SuiteVersion = 1

// Suite is the results of several runs under their names, as "maru bench"
// writes them. What a comparison does not need is left out of its results:
// timelines, rooflines, elasticities, names of estimates.
type Suite struct {
	Version int    `json:"suite_version"`
	Program string `json:"program"`
	Name    string `json:"suite"`
	Runs    []Run  `json:"runs"`
}

// Run is a result under a name that no other run of the suite has.
type Run struct {
	Name   string  `json:"name"`
	Result *Result `json:"result"`
}

// Trim leaves out of a result what comparisons do not need.
func (r *Result) Trim() {
	r.Timeline = Timeline{}
	r.Roofline = Roofline{}
	r.Elasticity = nil
	r.Estimate.Names = nil
}

// Write writes the suite as indented JSON with a final newline; equal suites
// give equal bytes. It fails on values that JSON cannot hold and on write
// errors.
func (s *Suite) Write(w io.Writer) error { return write(w, s) }

// VersionError says that a file is in a newer form than this program knows.
type VersionError struct {
	What        string // "result", "suite"
	Version, Of int64  // of the file, and the newest that is known
}

// Error is the message, with what to do.
func (e *VersionError) Error() string {
	return fmt.Sprintf("%s: version %d is newer than this program reads (up to %d); use a newer program", e.What, e.Version, e.Of)
}

// ReadSuite reads what Suite.Write wrote, or a result that Write wrote as a
// suite of one run without a name, and checks it. A newer form is a
// *VersionError.
func ReadSuite(r io.Reader) (*Suite, error) {
	data, err := load(r, "suite")
	if err != nil {
		return nil, err
	}
	var head struct {
		Suite  *int64 `json:"suite_version"`
		Result *int64 `json:"version"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, located(data, err)
	}
	switch {
	case head.Suite == nil:
		res, err := Read(bytes.NewReader(data))
		if err == nil {
			err = res.Validate()
		}
		if err != nil {
			return nil, err
		}
		return &Suite{Version: SuiteVersion, Program: res.Program, Runs: []Run{{Result: res}}}, nil
	case *head.Suite > SuiteVersion:
		return nil, &VersionError{"suite", *head.Suite, SuiteVersion}
	case *head.Suite < 1:
		return nil, fmt.Errorf("suite: version %d; versions start at 1", *head.Suite)
	}
	s := new(Suite)
	if err := json.Unmarshal(data, s); err != nil {
		return nil, located(data, err)
	}
	return s, s.validate()
}

// validate checks the names and the results.
func (s *Suite) validate() error {
	if len(s.Runs) == 0 {
		return errors.New("suite: no runs")
	}
	for i, r := range s.Runs {
		switch {
		case r.Name == "":
			return fmt.Errorf("suite: runs[%d] has no name", i)
		case slices.ContainsFunc(s.Runs[:i], func(o Run) bool { return o.Name == r.Name }):
			return fmt.Errorf("suite: two runs have the name %q", r.Name)
		case r.Result == nil:
			return fmt.Errorf("suite: run %s has no result", r.Name)
		case r.Result.Version > Version:
			return &VersionError{"suite: run " + r.Name, int64(r.Result.Version), Version}
		}
		if err := r.Result.Validate(); err != nil {
			return fmt.Errorf("suite: run %s: %w", r.Name, err)
		}
	}
	return nil
}
