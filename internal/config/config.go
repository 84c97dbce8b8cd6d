// Package config reads YAML files into Go structs, strictly and with positions.
//
// A file is loaded into a [Doc], which may inherit from other files ("base: NAME") and be changed by overrides
// ([Doc.Set]); [Doc.Decode] then fills a struct by its tags:
//
//	yaml:"name"           the key; without this tag, or with "-", the field is left alone
//	yaml:"name,optional"  the key may be missing; the field keeps the value that it had before, so defaults can be set first
//	doc:"a sentence"      what the key means, for messages and the JSON schema
//	bound:">0"            >0 >=0 <1 <=1 0..1 (both ends belong to it), or several joined by commas; numbers count in the
//	                      base unit of a quantity, or are written with a unit: bound:"1 MHz..10 GHz"
//	enum:"a,b,c"          the strings that are allowed
//
// Bounds and enumerations apply to the values at the leaves: to the elements of a list, the values of a map, the value and
// range of a [Figure]. Fields may be strings, booleans, integers, floats, anything that implements
// encoding.TextUnmarshaler, structs (embedded ones add their keys to the struct around them), pointers (for optional
// sections), slices, arrays, maps with string or TextUnmarshaler keys, and Figures of these. A wrong tag or an unsupported
// type is a mistake of the program and panics.
//
// A TextUnmarshaler may say more about itself: a method Units() []string lists the units of a quantity, Enum() []string
// lists all values, Pattern() string is a regular expression for the JSON schema, and an error with a method
// Parts() (problem, allowed, hint string) is taken apart for the message.
//
// Everything that is wrong with a file is reported at once, as [Errors], each error with its position, the line and a
// caret. Unknown and duplicate keys, tags, merge keys ("<<"), several documents in a file, and text that is not UTF-8 are
// errors. So are files that are larger, deeper or, by aliases, longer than any honest description.
//
// Not modelled: comments are not kept by [Doc.YAML], and there are no expressions or references between values.
//
// Floor 0: the package imports the standard library and is the only one to import YAML.
package config

import (
	"fmt"
	"reflect"
)

// Limits on what is read.
const (
	maxFile    = 1 << 20  // bytes in a file
	maxDepth   = 64       // nested mappings and lists
	maxNodes   = 200_000  // values in a file, aliases expanded
	maxBases   = 16       // files in a chain of bases
	maxErrors  = 100      // errors that are reported
	maxSetText = 64 << 10 // bytes in an override
)

// Source is a file to load.
type Source struct {
	Name string // the file's name, for messages
	Data []byte
}

// Doc is a loaded document: a tree of values, each of which knows where it was written. It is not safe for concurrent
// use; Clone it instead.
type Doc struct {
	root *node
	sets int // overrides so far
}

// Clone returns a copy that can be changed on its own.
func (d *Doc) Clone() *Doc { return &Doc{root: d.root.clone(), sets: d.sets} }

// Has reports whether there is a value at the path. A path that is not well formed has none.
func (d *Doc) Has(path string) bool {
	segs, err := parsePath(path)
	if err != nil {
		return false
	}
	_, _, rest := d.root.find(segs)
	return rest == 0
}

// Error returns an error about the value at the path, for checks that go beyond what tags can say. If there is no such
// value, its position is that of the innermost section around it that exists. The parts may be empty, except for the
// problem; the hint is what was probably meant, as in "did you mean HINT".
func (d *Doc) Error(path, problem, allowed, hint string) *Error {
	at := d.root.mark
	if segs, err := parsePath(path); err == nil {
		n, key, rest := d.root.find(segs)
		at = n.mark
		switch {
		case rest > 0:
			at = key
		case n.isFigure():
			at = n.get("value").mark
		}
	}
	return at.error(path, problem, allowed, hint)
}

// Decode fills the struct that v points to. It returns [Errors] with everything that does not fit; the struct is then
// filled only in part.
func (d *Doc) Decode(v any) error {
	p := reflect.ValueOf(v)
	if p.Kind() != reflect.Pointer || p.IsNil() || p.Elem().Kind() != reflect.Struct {
		panic(fmt.Sprintf("config: Decode of %T, which is not a pointer to a struct", v))
	}
	dec := decoder{root: d.root}
	dec.decode(d.root, place{key: d.root.mark}, p.Elem(), rule{})
	return dec.errs.Err()
}
