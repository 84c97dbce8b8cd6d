package config

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Figure is a value together with where it is known from. In YAML it is written in one of four ways:
//
//	3.35 TB/s
//	{value: 3.35 TB/s, source: datasheet}
//	{value: 390 ns, range: [350 ns, 430 ns], source: "text"}
//	{value: 390 ns, source: "text", calibrated: "name of the microbenchmark"}
//
// A range says that the value is an estimate. The source is a key of the file's top-level mapping "sources", or free
// text; a word of letters, digits, hyphens and underscores is always taken for a key.
type Figure[T any] struct {
	Value      T
	Low, High  T      // the range of an estimate; both equal Value if there is none
	Source     string // the text of the source; "--set" for overrides; may be empty
	Estimate   bool   // a range was given
	Calibrated string // the microbenchmark that the value was fitted to, or empty
	Pos        Pos    // of the value
}

// IsSet reports whether the figure was read from a document; an optional one may be missing.
func (f Figure[T]) IsSet() bool { return f.Pos != Pos{} }

// String returns the value and, for an estimate, the range.
func (f Figure[T]) String() string {
	if f.Estimate {
		return fmt.Sprintf("%v (%v to %v)", f.Value, f.Low, f.High)
	}
	return fmt.Sprint(f.Value)
}

func (f *Figure[T]) parts() figureParts {
	v := reflect.ValueOf(f).Elem()
	return figureParts{v.FieldByName("Value"), v.FieldByName("Low"), v.FieldByName("High"), &f.Source, &f.Calibrated, &f.Estimate, &f.Pos}
}

// figureParts gives access to a figure of any type.
type figureParts struct {
	value, low, high   reflect.Value
	source, calibrated *string
	estimate           *bool
	pos                *Pos
}

type figure interface{ parts() figureParts }

var figureType = reflect.TypeFor[figure]()

// isFigureType reports whether t is a Figure.
func isFigureType(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && reflect.PointerTo(t).Implements(figureType)
}

// figureKeys are the keys of a figure that is written as a mapping.
var figureKeys = []string{"value", "range", "source", "calibrated"}

// sourcesKey is the top-level key of the mapping of sources.
const sourcesKey = "sources"

// NamedFigure is a figure of a decoded struct.
type NamedFigure struct {
	Path       string // dotted path, as for Set
	Value      string // as it can be set again
	Low, High  string // the range of an estimate, else empty
	Source     string
	Estimate   bool
	Calibrated string
	Pos        Pos
}

// Figures lists the figures in a struct that Decode has filled, or in a part of it, in the order of its fields; maps in
// the order of their keys. Optional figures that were not set are left out.
func Figures(v any) []NamedFigure {
	var figures []NamedFigure
	value := reflect.ValueOf(v)
	if value.Kind() != reflect.Pointer { // figures are read by address
		p := reflect.New(value.Type())
		p.Elem().Set(value)
		value = p
	}
	walkFigures(value.Elem(), place{}, &figures)
	return figures
}

// walkFigures adds the figures below v.
func walkFigures(v reflect.Value, p place, figures *[]NamedFigure) {
	t := v.Type()
	switch {
	case isFigureType(t):
		f := v.Addr().Interface().(figure).parts()
		if *f.pos == (Pos{}) {
			return
		}
		named := NamedFigure{Path: p.path(), Value: flowOf(f.value), Source: *f.source, Estimate: *f.estimate,
			Calibrated: *f.calibrated, Pos: *f.pos}
		if named.Estimate {
			named.Low, named.High = flowOf(f.low), flowOf(f.high)
		}
		*figures = append(*figures, named)
	case isText(t):
	case t.Kind() == reflect.Pointer:
		if !v.IsNil() {
			walkFigures(v.Elem(), p, figures)
		}
	case t.Kind() == reflect.Struct:
		info := structOf(t)
		for _, name := range info.names {
			walkFigures(v.FieldByIndex(info.fields[name].index), place{parent: &p, seg: segment{key: name}}, figures)
		}
	case t.Kind() == reflect.Slice || t.Kind() == reflect.Array:
		for i := range v.Len() {
			walkFigures(v.Index(i), place{parent: &p, seg: segment{isIndex: true, index: i}}, figures)
		}
	case t.Kind() == reflect.Map:
		for _, key := range mapKeys(v) {
			elem := reflect.New(t.Elem()).Elem() // values of a map have no address
			elem.Set(v.MapIndex(key))
			walkFigures(elem, place{parent: &p, seg: segment{key: fmt.Sprint(key)}}, figures)
		}
	}
}

// mapKeys returns the keys of a map: strings in alphabetical order, numbers in their own.
func mapKeys(m reflect.Value) []reflect.Value {
	keys := m.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int {
		x, ok := magnitude(a)
		y, _ := magnitude(b)
		if ok && x != y {
			return cmp.Compare(x, y)
		}
		return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b))
	})
	return keys
}

// flowOf prints a value as YAML in one line.
func flowOf(v reflect.Value) string {
	t := v.Type()
	var b strings.Builder
	separator := ""
	switch {
	case isText(t):
		return word(fmt.Sprint(v))
	case isFigureType(t):
		return flowOf(v.FieldByName("Value"))
	case t.Kind() == reflect.String:
		if s := v.String(); plainWord.MatchString(s) && !(&node{text: s}).isNull() {
			return s
		}
		return quote(v.String())
	case t.Kind() == reflect.Pointer:
		if v.IsNil() {
			return "null"
		}
		return flowOf(v.Elem())
	case t.Kind() == reflect.Slice || t.Kind() == reflect.Array:
		for i := range v.Len() {
			b.WriteString(separator + flowOf(v.Index(i)))
			separator = ", "
		}
		return "[" + b.String() + "]"
	case t.Kind() == reflect.Map:
		for _, key := range mapKeys(v) {
			b.WriteString(separator + keyWord(fmt.Sprint(key)) + ": " + flowOf(v.MapIndex(key)))
			separator = ", "
		}
		return "{" + b.String() + "}"
	case t.Kind() == reflect.Struct:
		info := structOf(t)
		for _, name := range info.names {
			b.WriteString(separator + name + ": " + flowOf(v.FieldByIndex(info.fields[name].index)))
			separator = ", "
		}
		return "{" + b.String() + "}"
	}
	return fmt.Sprint(v)
}
