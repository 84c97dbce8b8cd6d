package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Load reads a file and, with a resolver, the files that it is based on.
//
// "base: NAME" at the top level names a file that resolve returns. Mappings of the two are merged, deeply; single values,
// lists and whole figures of the file take the place of those of its base, and a key with the value null removes that of
// the base. A mapping with the key value, and none but range, source and calibrated besides, is a figure. Each value keeps
// the position in the file that it came from. With resolve nil, base is a key like any other.
//
// An error of resolve is reported at the name; if it has a method Parts() (problem, allowed, hint string), in parts.
// The error of Load is of type [Errors].
func Load(src Source, resolve func(name string) (Source, error)) (*Doc, error) {
	l := loader{resolve: resolve}
	root := l.load(src)
	if err := l.errs.Err(); err != nil {
		return nil, err
	}
	return &Doc{root: root}, nil
}

// loader loads a chain of files.
type loader struct {
	resolve func(name string) (Source, error)
	chain   []string // names of the files, the first one derived from the second and so on
	errs    Errors
}

// load reads a file and its bases. The tree is not usable if there are errors.
func (l *loader) load(src Source) *node {
	o := &origin{name: src.Name, text: string(src.Data), order: len(l.chain)}
	l.chain = append(l.chain, src.Name)
	root, errs := parseFile(o)
	l.errs = append(l.errs, errs...)
	if len(errs) > 0 || l.resolve == nil {
		return root
	}
	i := root.index("base")
	if i < 0 {
		return root
	}
	name := root.entries[i].value
	root.entries = slices.Delete(root.entries, i, i+1)
	fail := func(problem, allowed, hint string) *node {
		l.errs.add(name.mark.error("base", problem, allowed, hint))
		return root
	}
	if name.kind != scalar || name.isNull() {
		return fail("not a name", "allowed: the name of one file", "")
	}
	base, err := l.resolve(name.text)
	if err != nil {
		return fail(partsOf(err))
	}
	if i := slices.Index(l.chain, base.Name); i >= 0 {
		return fail("a file cannot be based on itself: "+strings.Join(append(l.chain[i:], base.Name), " -> "), "", "")
	}
	if len(l.chain) >= maxBases {
		return fail(fmt.Sprintf("more than %d files in a chain: %s", maxBases, strings.Join(append(l.chain, base.Name), " -> ")), "", "")
	}
	under := l.load(base)
	if len(l.errs) == 0 {
		renameSources(under, root)
		root = merge(under, root)
	}
	return root
}

// merge lays a value over that of the base. Both may be used in the result.
func merge(base, over *node) *node {
	if base.kind != mapping || over.kind != mapping || base.isFigure() || over.isFigure() {
		return over
	}
	n := &node{kind: mapping, mark: over.mark, removed: over.removed}
	at := make(map[string]int, len(over.entries))
	for i, e := range over.entries {
		at[e.key] = i
	}
	for _, e := range base.entries {
		i, ok := at[e.key]
		if !ok {
			n.entries = append(n.entries, e)
			continue
		}
		delete(at, e.key)
		o := over.entries[i]
		if o.value.isNull() {
			n.removed = append(n.removed, entry{key: e.key, mark: o.value.mark})
			continue
		}
		n.entries = append(n.entries, entry{e.key, o.mark, merge(e.value, o.value)})
	}
	for i, e := range over.entries {
		if j, ok := at[e.key]; ok && i == j {
			n.entries = append(n.entries, e)
		}
	}
	return n
}

// renameSources gives those sources of a base new keys that the file over it defines otherwise, so that the figures of
// the base keep their source.
func renameSources(base, over *node) {
	under, upper := base.get(sourcesKey), over.get(sourcesKey)
	if under == nil || upper == nil || under.kind != mapping || upper.kind != mapping {
		return
	}
	renamed := map[string]string{}
	for i, e := range under.entries {
		o := upper.get(e.key)
		if o == nil || o.isNull() || o.kind == scalar && e.value.kind == scalar && o.text == e.value.text {
			continue
		}
		name := ""
		for k := 2; name == "" || under.get(name) != nil || upper.get(name) != nil; k++ {
			name = e.key + "-" + strconv.Itoa(k)
		}
		renamed[e.key] = name
		under.entries[i].key = name
	}
	if len(renamed) > 0 {
		base.renameSource(renamed)
	}
}

// renameSource changes the source of the figures in the tree.
func (n *node) renameSource(renamed map[string]string) {
	for _, item := range n.items {
		item.renameSource(renamed)
	}
	for _, e := range n.entries {
		if e.key == "source" && e.value.kind == scalar && n.isFigure() {
			if name, ok := renamed[e.value.text]; ok {
				e.value.text = name
			}
			continue
		}
		e.value.renameSource(renamed)
	}
}
