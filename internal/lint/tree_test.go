package lint

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// module is the path of the module, the first part of its import paths.
const module = "maru"

// source is one file of the tree that people wrote.
type source struct {
	path string // relative to the root, with slashes
	data []byte
	file *ast.File // nil unless it is Go
	fset *token.FileSet
}

// dir is the package's path relative to the module.
func (s *source) dir() string { return path.Dir(s.path) }

func (s *source) test() bool { return strings.HasSuffix(s.path, "_test.go") }

// imports lists the import paths of a Go file.
func (s *source) imports() []string {
	var paths []string
	for _, i := range s.file.Imports {
		if p, err := strconv.Unquote(i.Path.Value); err == nil {
			paths = append(paths, p)
		}
	}
	return paths
}

// at is a position for messages.
func (s *source) at(p token.Pos) string {
	pos := s.fset.Position(p)
	return s.path + ":" + strconv.Itoa(pos.Line)
}

// generated lists folders that a build or a run makes.
var generated = map[string]bool{".git": true, "bin": true, "out": true, "dist": true, "node_modules": true}

var tree = sync.OnceValues(func() ([]*source, error) {
	root := "."
	for i := 0; ; i++ {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			break
		} else if i == 16 {
			return nil, err
		}
		root = filepath.Join(root, "..")
	}
	var all []*source
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		switch {
		case d.IsDir() && (generated[rel] || strings.HasSuffix(rel, "testdata/rapid")):
			return fs.SkipDir
		case !d.Type().IsRegular() || rel == ".git": // a file in a linked work tree
			return nil
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		s := &source{path: rel, data: data}
		if strings.HasSuffix(rel, ".go") && !strings.Contains(rel, "testdata/") {
			s.fset = token.NewFileSet()
			if s.file, err = parser.ParseFile(s.fset, rel, data, parser.ParseComments|parser.SkipObjectResolution); err != nil {
				return err
			}
		}
		all = append(all, s)
		return nil
	})
	return all, err
})

// sources returns all files of the tree.
func sources(t *testing.T) []*source {
	t.Helper()
	all, err := tree()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// goFiles returns the Go files of the tree.
func goFiles(t *testing.T) []*source {
	t.Helper()
	var files []*source
	for _, s := range sources(t) {
		if s.file != nil {
			files = append(files, s)
		}
	}
	return files
}

// text says whether a file holds text.
func (s *source) text() bool { return !bytes.ContainsRune(s.data[:min(len(s.data), 8000)], 0) }
