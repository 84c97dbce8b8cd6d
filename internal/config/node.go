package config

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

type kind uint8

const (
	scalar kind = iota
	sequence
	mapping
)

// node is a value in a document.
type node struct {
	kind    kind
	mark    mark
	text    string // of a scalar
	quoted  bool   // the scalar was written in quotes or as a block: it is a string, whatever it looks like
	items   []*node
	entries []entry
	removed []entry // keys that a null took away, with the place of the null

	// setFigure says that the value, or a part of it, came from an override and was decoded as a figure, so it prints as
	// one with that source.
	setFigure bool
}

// entry is a key of a mapping and its value.
type entry struct {
	key   string
	mark  mark
	value *node
}

// clone returns a deep copy. Origins are shared.
func (n *node) clone() *node {
	c := *n
	c.items = slices.Clone(n.items)
	for i, item := range c.items {
		c.items[i] = item.clone()
	}
	c.entries = slices.Clone(n.entries)
	for i := range c.entries {
		c.entries[i].value = c.entries[i].value.clone()
	}
	c.removed = slices.Clone(n.removed)
	return &c
}

// index returns the index of a key among the entries, or -1.
func (n *node) index(key string) int {
	return slices.IndexFunc(n.entries, func(e entry) bool { return e.key == key })
}

// get returns the value of a key, or nil.
func (n *node) get(key string) *node {
	if i := n.index(key); i >= 0 {
		return n.entries[i].value
	}
	return nil
}

// isNull reports whether the value was written as null, or not at all.
func (n *node) isNull() bool {
	return n.kind == scalar && !n.quoted && slices.Contains([]string{"", "~", "null", "Null", "NULL"}, n.text)
}

// isFigure reports whether the value is a figure with more than its value.
func (n *node) isFigure() bool {
	if n.kind != mapping || n.index("value") < 0 {
		return false
	}
	return !slices.ContainsFunc(n.entries, func(e entry) bool { return !slices.Contains(figureKeys, e.key) })
}

// isSet reports whether the value, or a part of it, came from an override.
func (n *node) isSet() bool {
	return n.mark.origin.set || slices.ContainsFunc(n.items, (*node).isSet) ||
		slices.ContainsFunc(n.entries, func(e entry) bool { return e.value.isSet() })
}

// size returns the number of values in the tree.
func (n *node) size() int {
	size := 1
	for _, item := range n.items {
		size += item.size()
	}
	for _, e := range n.entries {
		size += e.value.size()
	}
	return size
}

// depth returns the number of levels below the value.
func (n *node) depth() int {
	depth := 0
	for _, item := range n.items {
		depth = max(depth, 1+item.depth())
	}
	for _, e := range n.entries {
		depth = max(depth, 1+e.value.depth())
	}
	return depth
}

// find follows a path as far as it goes. It returns the last value that exists, the place of its key, and the number of
// segments that are left.
func (n *node) find(segs []segment) (found *node, key mark, rest int) {
	key = n.mark
	for i, s := range segs {
		switch {
		case s.isIndex && n.kind == sequence && s.index < len(n.items):
			n = n.items[s.index]
			key = n.mark
		case !s.isIndex && n.kind == mapping && n.index(s.key) >= 0:
			e := n.entries[n.index(s.key)]
			n, key = e.value, e.mark
		default:
			return n, key, len(segs) - i
		}
	}
	return n, key, 0
}

// place is where a value stands in the document.
type place struct {
	parent *place
	seg    segment
	key    mark // of its key, or of the value itself in a list
}

// path returns the dotted path.
func (p place) path() string {
	var segs []segment
	for q := &p; q.parent != nil; q = q.parent {
		segs = append(segs, q.seg)
	}
	slices.Reverse(segs)
	var b strings.Builder
	for _, s := range segs {
		s.append(&b)
	}
	return b.String()
}

// segment is one step of a path: a key or an index.
type segment struct {
	key     string
	isIndex bool
	index   int
	column  int // in the text of the path, from 1, in characters
}

// append writes the segment after those that are already in b.
func (s segment) append(b *strings.Builder) {
	if s.isIndex {
		b.WriteString("[" + strconv.Itoa(s.index) + "]")
		return
	}
	if b.Len() > 0 {
		b.WriteByte('.')
	}
	if plainKey(s.key) {
		b.WriteString(s.key)
	} else {
		b.WriteString(strconv.Quote(cut(s.key)))
	}
}

// plainKey reports whether a key stands in a path without quotes.
func plainKey(key string) bool {
	return key != "" && len(key) <= 256 && !strings.ContainsFunc(key, func(r rune) bool {
		return r <= ' ' || r == 0x7f || strings.ContainsRune(`.[]"'=:\`, r) || r == utf8.RuneError
	})
}

// cut shortens a text for a message.
func cut(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	i := most
	for i > 0 && !utf8.RuneStart(s[i]) {
		i--
	}
	return s[:i] + "..."
}

// pathError says where a path is not well formed.
type pathError struct {
	column  int
	problem string
}

// parsePath splits a path: keys joined by dots, keys with other characters in double quotes, items of lists as [i].
func parsePath(path string) ([]segment, *pathError) {
	var segs []segment
	rest, column := path, 1
	skip := func(n int) {
		column += utf8.RuneCountInString(rest[:n])
		rest = rest[n:]
	}
	for rest != "" || len(segs) == 0 {
		if len(segs) >= maxDepth {
			return nil, &pathError{column, "path is too long"}
		}
		if len(segs) > 0 && rest[0] == '.' {
			skip(1)
		} else if len(segs) > 0 && rest[0] != '[' {
			return nil, &pathError{column, "no dot between two keys"}
		}
		seg := segment{column: column}
		switch {
		case strings.HasPrefix(rest, "[") && (len(segs) == 0 || path[len(path)-len(rest)-1] != '.'):
			end := strings.IndexByte(rest, ']')
			if end < 0 {
				return nil, &pathError{column, "no closing bracket"}
			}
			i, err := strconv.Atoi(rest[1:end])
			if err != nil || i < 0 || rest[1] == '+' {
				return nil, &pathError{column + 1, "no index in brackets"}
			}
			seg.isIndex, seg.index = true, i
			skip(end + 1)
		case strings.HasPrefix(rest, `"`):
			quoted, err := strconv.QuotedPrefix(rest)
			if err != nil {
				return nil, &pathError{column, "no closing quote"}
			}
			seg.key, _ = strconv.Unquote(quoted)
			if seg.key == "" || !utf8.ValidString(seg.key) {
				return nil, &pathError{column, "a key that is empty or not UTF-8"}
			}
			skip(len(quoted))
		default:
			end := strings.IndexAny(rest, ".[")
			if end < 0 {
				end = len(rest)
			}
			seg.key = rest[:end]
			if !plainKey(seg.key) {
				if seg.key == "" {
					return nil, &pathError{column, "empty key"}
				}
				return nil, &pathError{column, "key " + strconv.Quote(cut(seg.key)) + " needs double quotes"}
			}
			skip(end)
		}
		segs = append(segs, seg)
	}
	return segs, nil
}
