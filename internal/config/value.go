package config

import (
	"reflect"
	"strings"
	"unicode/utf8"
)

// Value is a part of a document as it was written, for keys whose form depends on other keys. A struct field of type
// Value, or of a type that embeds one, takes whatever stands there; a method Schema() any of such a type is the JSON
// schema of what it accepts.
type Value struct {
	n  *node
	at place
}

// raw is implemented by pointers to Value and to types that embed it.
type raw interface{ keep(*node, place) }

func (v *Value) keep(n *node, p place) { v.n, v.at = n, p }

// isRaw reports whether values of the type are kept as they were written.
func isRaw(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && reflect.PointerTo(t).Implements(reflect.TypeFor[raw]())
}

// rawSchema returns the schema of a type that embeds Value.
func rawSchema(t reflect.Type) object {
	var o object
	if s, ok := reflect.Zero(t).Interface().(interface{ Schema() any }); ok {
		o = append(o, property{"allOf", []any{s.Schema()}})
	}
	return o
}

// Entry is a key of a mapping with its value.
type Entry struct {
	Key   string
	Value Value
}

// IsZero reports whether there is no value.
func (v Value) IsZero() bool { return v.n == nil }

// Text returns a single value as a text; ok is false for lists, mappings and null.
func (v Value) Text() (text string, ok bool) {
	if v.n == nil || v.n.kind != scalar || v.n.isNull() {
		return "", false
	}
	return v.n.text, true
}

// Items returns the items of a list; ok is false for what is no list.
func (v Value) Items() (items []Value, ok bool) {
	if v.n == nil || v.n.kind != sequence {
		return nil, false
	}
	for i, n := range v.n.items {
		items = append(items, Value{n, place{parent: &v.at, seg: segment{isIndex: true, index: i}, key: n.mark}})
	}
	return items, true
}

// Entries returns the keys of a mapping in the order in which they were written; ok is false for what is no mapping.
func (v Value) Entries() (entries []Entry, ok bool) {
	if v.n == nil || v.n.kind != mapping {
		return nil, false
	}
	for _, e := range v.n.entries {
		entries = append(entries, Entry{e.key, Value{e.value, place{parent: &v.at, seg: segment{key: e.key}, key: e.mark}}})
	}
	return entries, true
}

// Flow returns the value as YAML in one line, as [Doc.Set] takes it.
func (v Value) Flow() string {
	var b strings.Builder
	v.n.flow(&b)
	return b.String()
}

// Decode fills the struct that p points to from a mapping, as [Doc.Decode] does. The error is of type [Errors].
func (v Value) Decode(p any) error {
	dec := decoder{root: v.n}
	dec.decode(v.n, v.at, reflect.ValueOf(p).Elem(), rule{})
	return dec.errs.Err()
}

// Error returns an error about the value; see [Doc.Error].
func (v Value) Error(problem, allowed, hint string) *Error {
	return v.n.mark.error(v.at.path(), problem, allowed, hint)
}

// ErrorAt is Error for a place in a single value, given in bytes from its beginning.
func (v Value) ErrorAt(offset int, problem, allowed, hint string) *Error {
	at := v.n.mark
	if v.n.kind == scalar && offset <= len(v.n.text) && !strings.ContainsAny(v.n.text, lineBreaks) {
		at.column += utf8.RuneCountInString(v.n.text[:offset])
		if v.n.quoted {
			at.column++
		}
	}
	return at.error(v.at.path(), problem, allowed, hint)
}

// KeyError returns an error about the key of the value, or about the value itself in a list.
func (v Value) KeyError(problem, allowed, hint string) *Error {
	return v.at.key.error(v.at.path(), problem, allowed, hint)
}

// Key is a key that documents of a type may have.
type Key struct {
	Path string       // dotted, as for [Doc.Set]
	Doc  string       // what it means
	Type reflect.Type // of the value; of a figure, that of its value
}

// Keys lists the keys of the struct v, or the struct that v points to, in the order of its fields: sections before what
// is in them, and of a map whose keys can be enumerated each of them. Keys inside lists are left out.
func Keys(v any) []Key {
	t := reflect.TypeOf(v)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	var keys []Key
	walkKeys(t, "", &keys)
	return keys
}

func walkKeys(t reflect.Type, prefix string, keys *[]Key) {
	info := structOf(t)
	for _, name := range info.names {
		f := info.fields[name]
		add(f.typ, prefix+name, f.doc, keys)
	}
}

// add lists a key and those below it.
func add(t reflect.Type, path, doc string, keys *[]Key) {
	for t.Kind() == reflect.Pointer || isFigureType(t) {
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		} else {
			t = valueType(t)
		}
	}
	*keys = append(*keys, Key{path, doc, t})
	switch {
	case isText(t) || isRaw(t):
	case t.Kind() == reflect.Struct:
		walkKeys(t, path+".", keys)
	case t.Kind() == reflect.Map:
		if e, ok := reflect.Zero(t.Key()).Interface().(interface{ Enum() []string }); ok {
			for _, word := range e.Enum() {
				add(t.Elem(), path+"."+word, doc, keys)
			}
		}
	}
}

// Text returns the single value at a path, of a figure its value. It is false if there is none.
func (d *Doc) Text(path string) (string, bool) {
	segs, err := parsePath(path)
	if err != nil {
		return "", false
	}
	n, _, rest := d.root.find(segs)
	if rest > 0 {
		return "", false
	}
	if n.isFigure() {
		n = n.get("value")
	}
	if n.kind != scalar || n.isNull() {
		return "", false
	}
	return n.text, true
}
