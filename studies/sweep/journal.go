package sweep

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"maru/studies/study"
)

// Names of the files in a folder.
const (
	lockName    = ".lock"
	journalName = "journal.jsonl"
)

// outcome is what a run gave: its error, or all metrics of runs.
type outcome struct {
	Key     string     `json:"key"`
	Error   string     `json:"error,omitempty"`
	Numbers []*float64 `json:"numbers,omitempty"` // in the order of numeric; nil where the run has none
	Words   []*string  `json:"words,omitempty"`   // in the order of verbal
}

// head is the first line of a journal. Lines below another head are not read.
type head struct {
	Journal int      `json:"maru_journal"`
	Numbers []string `json:"numbers"`
	Words   []string `json:"words"`
}

// numeric and verbal are the metrics of runs, in the order of outcomes.
var numeric, verbal = func() (n, w []study.Metric) {
	for _, m := range study.Metrics() {
		switch {
		case m.Word != nil:
			w = append(w, m)
		case !m.Early():
			n = append(n, m)
		}
	}
	return n, w
}()

func columnsOf(list []study.Metric) []string {
	var names []string
	for i := range list {
		names = append(names, list[i].Column())
	}
	return names
}

var thisHead = head{1, columnsOf(numeric), columnsOf(verbal)}

// figures gives the metrics of an outcome.
func (o *outcome) figures(m *study.Metric) (v float64, word string, ok bool) {
	same := func(other study.Metric) bool { return other.Name == m.Name }
	if m.Word != nil {
		if w := o.Words[slices.IndexFunc(verbal, same)]; w != nil {
			return 0, *w, true
		}
		return 0, "", false
	}
	if n := o.Numbers[slices.IndexFunc(numeric, same)]; n != nil {
		return *n, "", true
	}
	return 0, "", false
}

// journal is the file to which the outcome of every run is appended as soon as
// it is there.
type journal struct {
	mu   sync.Mutex
	file journalFile
	size int64 // of what was written whole
	done map[string]*outcome
}

// journalFile is what a journal needs of a file.
type journalFile interface {
	io.Writer
	io.Closer
	Truncate(size int64) error
	Sync() error
}

// openJournal opens the journal of a folder, or makes one. Lines that a process
// did not get to write whole are cut off. Without resume it must not hold
// anything, unless the sweep that wrote it is finished.
func openJournal(dir string, resume, finished bool) (*journal, error) {
	name := filepath.Join(dir, journalName)
	data, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	j := &journal{done: map[string]*outcome{}}
	j.read(data)
	if !resume {
		if len(j.done) > 0 && !finished {
			return nil, &UnfinishedError{Dir: dir, Runs: len(j.done)}
		}
		j.size, j.done = 0, map[string]*outcome{}
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		return nil, err
	}
	j.file = f
	if err := f.Truncate(j.size); err != nil {
		f.Close()
		return nil, err
	}
	if j.size == 0 {
		if err := j.line(thisHead); err != nil {
			f.Close()
			return nil, err
		}
	}
	return j, nil
}

// read takes over the outcomes that were written whole by a program with the
// same metrics.
func (j *journal) read(data []byte) {
	s := bufio.NewScanner(bytes.NewReader(data))
	s.Buffer(nil, len(data)+1)
	for first := true; s.Scan(); first = false {
		line := s.Bytes()
		end := j.size + int64(len(line)) + 1
		if end > int64(len(data)) {
			return // no end of line
		}
		if first {
			var h head
			if json.Unmarshal(line, &h) != nil || h.Journal != thisHead.Journal || !slices.Equal(h.Numbers, thisHead.Numbers) || !slices.Equal(h.Words, thisHead.Words) {
				return
			}
		} else {
			var o outcome
			if json.Unmarshal(line, &o) != nil || o.Error == "" && (len(o.Numbers) != len(numeric) || len(o.Words) != len(verbal)) {
				return
			}
			j.done[o.Key] = &o
		}
		j.size = end
	}
}

// get returns the outcome of a run that was made before.
func (j *journal) get(key string) *outcome {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.done[key]
}

// put appends an outcome.
func (j *journal) put(o *outcome) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.done[o.Key] = o
	return j.line(o)
}

// line appends a line, or takes back what of it was written.
func (j *journal) line(v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	data = append(data, '\n')
	n, err := j.file.Write(data)
	if err != nil {
		if n > 0 {
			err = errors.Join(err, j.file.Truncate(j.size))
		}
		return fmt.Errorf("the journal cannot be written: %w", err)
	}
	j.size += int64(n)
	return nil
}

// close makes sure that the journal is on the disk.
func (j *journal) close() error {
	return errors.Join(j.file.Sync(), j.file.Close())
}
