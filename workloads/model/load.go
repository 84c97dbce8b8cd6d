package model

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"maru/configs"
	"maru/internal/config"
)

// kind is the folder of the built-in descriptions.
const kind = "models"

// Names lists the built-in models, sorted.
func Names() []string { return configs.Names(kind) }

// UnknownError says that there is no model of a name.
type UnknownError struct {
	Name string
	Hint string // the name that was probably meant, or empty
}

// Error says what is allowed and, where a name is close, what was probably meant.
func (e *UnknownError) Error() string {
	s := fmt.Sprintf("unknown model %q; allowed: %s, or the path of a .yaml file, a config.json or a folder that holds one",
		e.Name, strings.Join(Names(), ", "))
	if e.Hint != "" {
		s += "; did you mean " + e.Hint
	}
	return s
}

// Load reads a model's description: a built-in one by name, or a file by path,
// which is a .yaml file like those built in, a Hugging Face config.json (any
// .json file), or a folder that holds a config.json. The error is an
// *UnknownError, one of reading the file, or a config.Errors with positions.
func Load(nameOrPath string) (*Model, error) {
	m, _, err := LoadSet(nameOrPath, nil)
	return m, err
}

// LoadSet is Load with changes to the description ("PATH=VALUE", see
// config.Doc.Set), which a config.json does not take. The document is the
// changed description, and nil for a config.json.
func LoadSet(nameOrPath string, sets []string) (*Model, *config.Doc, error) {
	if file, data, err := configs.Read(kind, nameOrPath); err == nil {
		m, doc, err := parse(file, data, sets)
		if err != nil {
			return nil, nil, err
		}
		m.Name = nameOrPath
		return m, doc, nil
	}
	path := nameOrPath
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		path = filepath.Join(path, "config.json")
		info, err = os.Stat(path)
	}
	switch {
	case err == nil && !info.Mode().IsRegular():
		return nil, nil, fmt.Errorf("%s: not a regular file", path)
	case err != nil && !looksLikePath(nameOrPath):
		return nil, nil, &UnknownError{Name: nameOrPath, Hint: config.Suggest(nameOrPath, Names())}
	case err != nil:
		return nil, nil, err
	case info.Size() > maxFile:
		return nil, nil, fmt.Errorf("%s: larger than %d bytes; allowed is the description of a model", path, maxFile)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	if filepath.Ext(path) == ".json" {
		if len(sets) > 0 {
			return nil, nil, fmt.Errorf("%s: the description has none of the keys that are to be changed; allowed: a model in a .yaml file", path)
		}
		m, err := ParseHuggingFace(path, data)
		return m, nil, err
	}
	return parse(path, data, sets)
}

// maxFile bounds the size of a description, in bytes.
const maxFile = 1 << 20

func looksLikePath(s string) bool {
	return strings.ContainsAny(s, `/\`) || filepath.Ext(s) == ".json" || filepath.Ext(s) == ".yaml" || filepath.Ext(s) == ".yml"
}

// Parse reads a description in YAML; file is its name for messages. The error is
// a config.Errors.
func Parse(file string, data []byte) (*Model, error) {
	m, _, err := parse(file, data, nil)
	return m, err
}

// parse reads a description and changes it.
func parse(file string, data []byte, sets []string) (*Model, *config.Doc, error) {
	doc, err := config.Load(config.Source{Name: file, Data: data}, nil)
	if err != nil {
		return nil, nil, err
	}
	if err := doc.Apply(sets, "decoder.layers=40"); err != nil {
		return nil, nil, err
	}
	m := &Model{Name: baseName(file), File: file}
	if err := doc.Decode(m); err != nil {
		return nil, nil, err
	}
	var errs config.Errors
	m.check(func(key, problem, allowed string) {
		errs = append(errs, doc.Error(key, problem, allowed, ""))
	})
	if err := errs.Err(); err != nil {
		return nil, nil, err
	}
	return m, doc, nil
}

// baseName is the name of a model that is read from a file: that of the file, or
// of its folder if the file is a config.json.
func baseName(file string) string {
	base := filepath.Base(file)
	if base == "config.json" {
		if dir, err := filepath.Abs(filepath.Dir(file)); err == nil {
			base = filepath.Base(dir)
		}
	}
	return strings.TrimSuffix(base, filepath.Ext(base))
}
