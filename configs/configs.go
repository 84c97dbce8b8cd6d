// Package configs holds the descriptions that are built into the program: one
// YAML file for each chip, model, system or study, in the folder of its kind.
// The package holds data only; what the files mean is up to the packages that
// read them. Every figure in them names its source. Floor 0.
package configs

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

//go:embed */*.yaml
var files embed.FS

// FS returns the files: KIND/NAME.yaml.
func FS() fs.FS { return files }

// Names lists the descriptions of a kind ("chips", "models"), sorted. It is empty
// for a kind that does not exist.
func Names(kind string) []string {
	entries, err := fs.ReadDir(files, kind)
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".yaml"); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Read returns a description and the name of its file for messages. The error
// wraps fs.ErrNotExist if there is none of that kind and name.
func Read(kind, name string) (file string, data []byte, err error) {
	file = path.Join(kind, name+".yaml")
	if !fs.ValidPath(file) || strings.Contains(name, "/") {
		return "", nil, fmt.Errorf("%s %q: %w", kind, name, fs.ErrNotExist)
	}
	data, err = files.ReadFile(file)
	if err != nil {
		return "", nil, fmt.Errorf("%s %q: %w", kind, name, fs.ErrNotExist)
	}
	return file, data, nil
}
