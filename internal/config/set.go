package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// setSource is the source of figures that were set by an override.
const setSource = "--set"

// Set changes the value at a path. The path is keys joined by dots, with [i] for items of lists and double quotes around
// keys that have other characters: memory.dram.bandwidth, cores[0].units."a b". The value is YAML in one line: a single
// value, a list [a, b] or a mapping {a: b}, which takes the place of the whole section. A figure that is set loses its
// range and source; its source is then "--set". The value null removes the key.
//
// Keys that do not exist yet are added. Whether they are allowed, and whether the value fits, turns out in Decode, whose
// errors then point at PATH=VALUE. The error of Set is of type [Errors] and the document is then unchanged.
func (d *Doc) Set(path, value string) error {
	arg := path + "=" + value
	o := &origin{name: setSource + " " + cut(arg), text: arg, set: true, order: maxBases + d.sets}
	d.sets++
	fail := func(column int, problem, allowed string) error {
		return Errors{mark{o, 1, column}.error(path, problem, allowed, "")}
	}
	start := utf8.RuneCountInString(path) + 2
	switch {
	case len(arg) > maxSetText:
		return fail(1, fmt.Sprintf("an override of %d bytes", len(arg)), fmt.Sprintf("at most %d are read", maxSetText))
	case strings.ContainsAny(arg, lineBreaks):
		return fail(1, "an override of several lines", "allowed: one line; lists are written [a, b] and mappings {a: b}")
	case strings.TrimSpace(value) == "":
		return fail(start, "no value", `allowed: null to remove the key, or "" for the empty text`)
	}
	if e := (&parser{origin: o}).checkText(arg); e != nil {
		return Errors{e}
	}
	segs, pathErr := parsePath(path)
	if pathErr != nil {
		return fail(pathErr.column, pathErr.problem, "a path is keys joined by dots, with [i] for the items of lists: memory.dram.bandwidth, cores[0].count")
	}
	p := parser{origin: o, shift: start - 1}
	n := p.parse(value)
	if len(p.errs) > 0 {
		for _, e := range p.errs {
			e.Path = path
		}
		return p.errs.Err()
	}
	if n.kind != scalar && !strings.HasPrefix(strings.TrimSpace(value), "[") && !strings.HasPrefix(strings.TrimSpace(value), "{") {
		return fail(start, "a list or mapping without brackets", "lists are written [a, b] and mappings {a: b}")
	}
	if size := d.root.size() + n.size(); size > maxNodes {
		return fail(start, fmt.Sprintf("more than %d values in the document", maxNodes), "")
	}
	if len(segs)+n.depth() > maxDepth {
		return fail(1, fmt.Sprintf("nested more than %d levels deep", maxDepth), "")
	}
	return d.set(segs, n, o, fail)
}

// Apply sets values from texts of the form PATH=VALUE, one after the other; example is one for the message about a text
// that has no equals sign. The error is of type [Errors], with everything that is wrong.
func (d *Doc) Apply(sets []string, example string) error {
	var errs Errors
	for _, set := range sets {
		path, value, ok := strings.Cut(set, "=")
		if !ok {
			errs = append(errs, &Error{Pos: Pos{File: setSource + " " + set}, Problem: "no equals sign", Allowed: "allowed: PATH=VALUE, such as " + example})
			continue
		}
		var wrong Errors
		if errors.As(d.Set(strings.TrimSpace(path), value), &wrong) {
			errs = append(errs, wrong...)
		}
	}
	return errs.Err()
}

// set puts a value at a path.
func (d *Doc) set(segs []segment, value *node, o *origin, fail func(int, string, string) error) error {
	// A figure is set as a whole, also by its value.
	if last := len(segs) - 1; last > 0 && segs[last].key == "value" {
		switch n, _, rest := d.root.find(segs[:last]); {
		case rest == 0 && n.isFigure() && !value.isNull():
			*n = node{kind: mapping, mark: value.mark, entries: []entry{{"value", value.mark, value}}}
			return nil
		case rest == 0 && n.kind == scalar:
			segs = segs[:last]
		}
	}
	n, _, rest := d.root.find(segs)
	if rest == 0 && !value.isNull() {
		*n = *value
		return nil
	}
	parent := n
	if rest == 0 {
		parent, _, _ = d.root.find(segs[:len(segs)-1])
		rest = 1
	}
	missing := segs[len(segs)-rest:]
	first := missing[0]
	if value.isNull() {
		if i := parent.index(first.key); rest == 1 && i >= 0 {
			parent.entries = slices.Delete(parent.entries, i, i+1)
			parent.removed = append(parent.removed, entry{key: first.key, mark: value.mark})
			return nil
		}
		if first.isIndex && parent.kind == sequence && first.index < len(parent.items) {
			return fail(first.column, "items of a list cannot be removed", "allowed: to set the whole list")
		}
	}
	if i := slices.IndexFunc(missing[1:], func(s segment) bool { return s.isIndex }); i >= 0 && parent.kind == mapping && !first.isIndex {
		return fail(missing[1+i].column, "not a list", "")
	}
	switch {
	case first.isIndex && parent.kind == sequence:
		return fail(first.column, fmt.Sprintf("no item %d", first.index), fmt.Sprintf("the list has %d, counted from 0", len(parent.items)))
	case first.isIndex:
		return fail(first.column, "not a list", "")
	case parent.kind == sequence:
		return fail(first.column, "a key of a list", fmt.Sprintf("allowed: [i] with i below %d", len(parent.items)))
	case parent.kind == scalar && rest == 1 && slices.Contains(figureKeys, first.key) && !value.isNull():
		// The figure was written as a plain value.
		plain := *parent
		*parent = node{kind: mapping, mark: plain.mark, entries: []entry{{"value", plain.mark, &plain}}}
	case parent.kind == scalar:
		return fail(first.column, "a key of a single value", "")
	case value.isNull():
		return fail(first.column, "no such key to remove", "")
	}
	for i, s := range missing {
		at := mark{o, 1, s.column}
		next := value
		if i < len(missing)-1 {
			next = &node{kind: mapping, mark: at}
		}
		parent.entries = append(parent.entries, entry{s.key, at, next})
		parent = next
	}
	return nil
}
