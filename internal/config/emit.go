package config

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// YAML prints the document as it is after inheritance and overrides: first the keys of the base, in its order, then those
// that were added. It loads again, without a resolver, and decodes to an equal struct, positions apart. Figures that came
// from overrides are printed with their source once the document has been decoded.
func (d *Doc) YAML() []byte {
	var b strings.Builder
	d.root.block(&b, "")
	return []byte(b.String())
}

// block prints a mapping or a sequence, in lines.
func (n *node) block(b *strings.Builder, indent string) {
	for _, e := range n.entries {
		b.WriteString(indent + keyWord(e.key) + ":")
		if e.value.inline() {
			b.WriteByte(' ')
			e.value.flow(b)
			b.WriteByte('\n')
		} else {
			b.WriteByte('\n')
			e.value.block(b, indent+"  ")
		}
	}
	for _, item := range n.items {
		var inner strings.Builder
		if item.inline() {
			item.flow(&inner)
			inner.WriteByte('\n')
		} else {
			item.block(&inner, indent+"  ")
		}
		b.WriteString(indent + "- " + strings.TrimPrefix(inner.String(), indent+"  "))
	}
}

// inline reports whether the value is printed in one line.
func (n *node) inline() bool {
	if n.kind == scalar || n.isFigure() || n.setFigure || len(n.items)+len(n.entries) == 0 {
		return true
	}
	for _, item := range n.items {
		if item.kind != scalar {
			return false
		}
	}
	return n.kind == sequence
}

// flow prints a value in one line.
func (n *node) flow(b *strings.Builder) {
	if n.setFigure && !n.isFigure() {
		plain := *n
		plain.setFigure = false
		b.WriteString("{value: ")
		plain.flow(b)
		b.WriteString(", source: " + quote(setSource) + "}")
		return
	}
	separator := ""
	switch n.kind {
	case scalar:
		if n.quoted {
			b.WriteString(quote(n.text))
		} else {
			b.WriteString(word(n.text))
		}
	case sequence:
		b.WriteByte('[')
		for _, item := range n.items {
			b.WriteString(separator)
			item.flow(b)
			separator = ", "
		}
		b.WriteByte(']')
	case mapping:
		b.WriteByte('{')
		for _, e := range n.entries {
			if n.setFigure && e.key == "source" {
				continue
			}
			b.WriteString(separator + keyWord(e.key) + ": ")
			e.value.flow(b)
			separator = ", "
		}
		if n.setFigure {
			b.WriteString(separator + "source: " + quote(setSource))
		}
		b.WriteByte('}')
	}
}

// plainWord matches texts that YAML reads back as they are, without quotes, wherever they stand.
var plainWord = regexp.MustCompile(`^([A-Za-z0-9_/$]|[+-]?\.?[0-9])([A-Za-z0-9_./$%+()-]| [A-Za-z0-9_./$%+()-])*$`)

// word prints a single value that was written without quotes, in quotes if need be. A number or null stays one.
func word(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	if s == "~" || s == "" {
		return "null"
	}
	return quote(s)
}

var plainKeyWord = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_./+-]*$`)

// keyWord prints a key, in quotes if others than this package could take it for something else than a text.
func keyWord(s string) string {
	switch strings.ToLower(s) {
	case "null", "true", "false", "yes", "no", "on", "off":
		return quote(s)
	}
	if plainKeyWord.MatchString(s) {
		return s
	}
	return quote(s)
}

// quote prints a text in double quotes.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteString(`\` + string(r))
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < ' ' || r == '\ufeff' || r >= 0x7f && !unicode.IsPrint(r):
			fmt.Fprintf(&b, `\U%08X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
