package sweep

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"maru/studies/parquet"
)

// MergeError says why folders are not the parts of one study.
type MergeError struct{ text string }

func (e *MergeError) Error() string { return e.text }

func mergeErrorf(format string, args ...any) error {
	return &MergeError{fmt.Sprintf(format, args...)}
}

// Merge makes the tables of a study from those of its parts, which sweeps with
// shards wrote into folders. They are equal to the tables of a sweep of the
// whole, byte for byte. The error is a MergeError if a part is missing, is there
// twice, is not finished or is of another study.
func Merge(dirs []string, to string) (*Report, error) {
	var parts []*part
	for _, dir := range dirs {
		p, err := readPart(dir)
		if err != nil {
			return nil, err
		}
		parts = append(parts, p)
	}
	first := parts[0]
	whole := make([]*part, first.shard.Count)
	for _, p := range parts {
		switch {
		case p.Study != first.Study || p.Points != first.Points || p.Program != first.Program || !slices.Equal(p.Columns, first.Columns):
			return nil, mergeErrorf("%s is of another study, or another version of it or of the program, than %s", p.dir, first.dir)
		case p.shard.Count != first.shard.Count:
			return nil, mergeErrorf("%s is part %s, and %s is part %s", p.dir, p.Shard, first.dir, first.Shard)
		case whole[p.shard.Index-1] != nil:
			return nil, mergeErrorf("%s and %s are the same part, %s", whole[p.shard.Index-1].dir, p.dir, p.Shard)
		}
		whole[p.shard.Index-1] = p
	}
	var missing []string
	for i, p := range whole {
		if p == nil {
			missing = append(missing, Shard{i + 1, len(whole)}.String())
		}
	}
	if len(missing) > 0 {
		return nil, mergeErrorf("parts are missing: %s", strings.Join(missing, ", "))
	}
	t := &table{rows: int(first.Points)}
	for i, c := range first.Columns {
		out := t.add(c.Name, c.Type)
		for r := range t.rows {
			p := whole[r%len(whole)]
			at := r / len(whole)
			from := &p.table.columns[i]
			out.Missing[r] = from.Missing[at]
			switch {
			case out.Texts != nil:
				out.Texts[r] = from.Texts[at]
			case out.Wholes != nil:
				out.Wholes[r] = from.Wholes[at]
			default:
				out.Numbers[r] = from.Numbers[at]
			}
		}
	}
	if err := os.MkdirAll(to, 0o777); err != nil {
		return nil, err
	}
	unlock, err := lock(to)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return finish(to, t, first.Study, first.Points, Shard{})
}

// part is a folder with the tables of a part of a study.
type part struct {
	Summary
	dir   string
	shard Shard
	table *table
}

// readPart reads the tables of a folder.
func readPart(dir string) (*part, error) {
	p := &part{dir: dir}
	data, err := os.ReadFile(filepath.Join(dir, summaryName))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(dir); err != nil {
			return nil, err
		}
		return nil, mergeErrorf("%s has no %s; allowed: the folder of a sweep that is finished (--resume goes on with one that is not)", dir, summaryName)
	case err != nil:
		return nil, err
	}
	if err := json.Unmarshal(data, &p.Summary); err != nil {
		return nil, mergeErrorf("%s: %v", filepath.Join(dir, summaryName), err)
	}
	if p.shard, err = ParseShard(p.Shard); err != nil || p.Rows != p.shard.points(p.Points) || p.Points > maxRows || p.Version != 1 {
		return nil, mergeErrorf("%s does not describe a part of a study", filepath.Join(dir, summaryName))
	}
	name := filepath.Join(dir, "results.jsonl")
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p.table = &table{rows: int(p.Rows)}
	for _, c := range p.Columns {
		p.table.add(c.Name, c.Type)
	}
	d := json.NewDecoder(bufio.NewReader(f))
	for r := range p.table.rows {
		var row map[string]json.RawMessage
		if err := d.Decode(&row); err != nil {
			return nil, mergeErrorf("%s: row %d: %v", name, r+1, err)
		}
		for i := range p.table.columns {
			if err := setCell(&p.table.columns[i], r, row[p.table.columns[i].Name]); err != nil {
				return nil, mergeErrorf("%s: row %d: %s: %v", name, r+1, p.table.columns[i].Name, err)
			}
		}
	}
	if err := d.Decode(new(json.RawMessage)); err != io.EOF {
		return nil, mergeErrorf("%s has more than %d rows", name, p.table.rows)
	}
	return p, nil
}

// setCell reads a cell.
func setCell(c *parquet.Column, r int, data json.RawMessage) error {
	switch {
	case string(data) == "null":
		c.Missing[r] = true
		return nil
	case c.Texts != nil:
		return json.Unmarshal(data, &c.Texts[r])
	case c.Wholes != nil:
		return json.Unmarshal(data, &c.Wholes[r])
	}
	return json.Unmarshal(data, &c.Numbers[r])
}
