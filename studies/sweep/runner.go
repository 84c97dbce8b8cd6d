package sweep

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"maru/studies/parallel"
	"maru/studies/parquet"
	"maru/studies/run"
	"maru/studies/study"
)

// Runner runs points of a study that somebody else chooses, and keeps what they
// gave in the journal of a folder, as a sweep does. It may be used concurrently.
type Runner struct {
	study   *study.Study
	dir     string
	session *run.Session
	parts   *parallel.Cache // of runs on many chips
	journal *journal
	unlock  func()
}

// Open makes a runner. Errors are those of Run.
func Open(s *study.Study, dir string, resume bool) (*Runner, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	unlock, err := lock(dir)
	if err != nil {
		return nil, err
	}
	mark := filepath.Join(dir, summaryName)
	_, missing := os.Stat(mark)
	j, err := openJournal(dir, resume, missing == nil)
	if err == nil {
		if err = os.Remove(mark); err == nil || errors.Is(err, fs.ErrNotExist) {
			return &Runner{study: s, dir: dir, session: run.NewSession(), parts: parallel.NewCache(), journal: j, unlock: unlock}, nil
		}
		err = errors.Join(err, j.close())
	}
	unlock()
	return nil, err
}

// Point runs the point of a place among those of the study. A point that fails
// is no error; errors are those of the journal.
func (r *Runner) Point(index int64) (*Point, error) {
	return r.runOne(index)
}

// Finish writes the tables of points that were run, in the order given.
func (r *Runner) Finish(points []*Point) (*Report, error) {
	return finish(r.dir, newTable(r.study, points), r.study.Name, r.study.Size(), Shard{})
}

// Table writes a table of some of them, as NAME.csv, NAME.jsonl and
// NAME.parquet, and returns the files.
func (r *Runner) Table(name string, points []*Point) ([]string, error) {
	return newTable(r.study, points).files(r.dir, name)
}

// Close closes the journal and gives the folder back.
func (r *Runner) Close() error {
	err := r.journal.close()
	r.unlock()
	return err
}

// Metric is the value of one of the study's metrics, by its place there; ok says
// whether there is one.
func (p *Point) Metric(i int) (v float64, ok bool) { return p.numbers[i], !p.missing[i] }

// files writes the table in all formats.
func (t *table) files(dir, name string) ([]string, error) {
	var files []string
	for _, f := range []struct {
		suffix string
		write  func(io.Writer) error
	}{
		{".parquet", func(w io.Writer) error { return parquet.Write(w, program, t.columns, t.rows) }},
		{".jsonl", t.jsonl},
		{".csv", t.csv},
	} {
		to := filepath.Join(dir, name+f.suffix)
		if err := replace(to, f.write); err != nil {
			return nil, fmt.Errorf("%s cannot be written: %w", to, err)
		}
		files = append(files, to)
	}
	return files, nil
}
