package configs

import (
	"bytes"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	names := Names("models")
	if len(names) == 0 || !slices.IsSorted(names) {
		t.Errorf("names %q, want some in order", names)
	}
	for _, n := range names {
		file, data, err := Read("models", n)
		if err != nil {
			t.Error(err)
		}
		if file != "models/"+n+".yaml" || len(data) == 0 {
			t.Errorf("%s: file %q of %d bytes", n, file, len(data))
		}
	}
	if n := Names("nothing"); n != nil {
		t.Errorf("names %q of a kind that does not exist", n)
	}
}

func TestReadErrors(t *testing.T) {
	for _, name := range []string{"", "none", "../models/gpt2", "a/b", "gpt2.yaml", "."} {
		if _, _, err := Read("models", name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: got error %v, want one that wraps fs.ErrNotExist", name, err)
		}
	}
}

// TestFiles checks what all descriptions have in common: plain text that names
// its sources.
func TestFiles(t *testing.T) {
	err := fs.WalkDir(FS(), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(FS(), p)
		if err != nil {
			return err
		}
		if path.Ext(p) != ".yaml" || strings.Count(p, "/") != 1 {
			t.Errorf("%s: want KIND/NAME.yaml", p)
		}
		if bytes.ContainsAny(data, "\t\r") || !bytes.HasSuffix(data, []byte("\n")) {
			t.Errorf("%s: has tabs or carriage returns, or does not end in a line break", p)
		}
		if path.Dir(p) == "models" && !bytes.Contains(data, []byte("\nsources:\n")) {
			t.Errorf("%s: names no sources", p)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
