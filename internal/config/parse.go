package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// parser turns the YAML of an origin into nodes.
type parser struct {
	origin *origin
	shift  int // added to the columns: where the YAML begins in the origin
	errs   Errors
	nodes  int
	open   map[*yaml.Node]bool // anchored values that are being converted
	full   bool                // a limit was hit
}

// parse reads one document. It returns nil and errors if there is none.
func (p *parser) parse(text string) *node {
	if e := p.checkText(text); e != nil {
		p.errs.add(e)
		return nil
	}
	var doc, second yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader([]byte(text)))
	switch err := safeDecode(decoder, &doc); {
	case err == io.EOF || err == nil && (len(doc.Content) == 0 || isEmpty(doc.Content[0])):
		p.errs.add(p.at(1, 1).error("", "nothing but white space and comments", "", ""))
		return nil
	case err != nil:
		p.errs.add(p.syntaxError(text, err))
		return nil
	}
	switch err := safeDecode(decoder, &second); {
	case err == nil:
		p.errs.add(p.at(second.Line, second.Column).error("", "a second document", "a file holds one document", ""))
		return nil
	case err != io.EOF:
		p.errs.add(p.syntaxError(text, err))
		return nil
	}
	p.open = map[*yaml.Node]bool{}
	return p.node(doc.Content[0], place{}, 0)
}

// safeDecode decodes the next document. A panic of the library becomes an error.
func safeDecode(d *yaml.Decoder, n *yaml.Node) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("yaml: %v", r)
		}
	}()
	return d.Decode(n)
}

// isEmpty reports whether the content of a document is only comments.
func isEmpty(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Value == "" && n.Style == 0 && n.Anchor == ""
}

// at returns a place, given the position in the YAML.
func (p *parser) at(line, column int) mark {
	return mark{p.origin, line, column + p.shift}
}

// checkText finds text that is not UTF-8, or that YAML does not allow.
func (p *parser) checkText(text string) *Error {
	if len(text) > maxFile {
		return p.at(1, 1).error("", fmt.Sprintf("the file has %d bytes", len(text)), fmt.Sprintf("at most %d are read", maxFile), "")
	}
	line, column := 1, 1
	for i, r := range text {
		bad := ""
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(text[i:], "\ufffd"):
			bad = fmt.Sprintf("byte %#02x is not UTF-8", text[i])
		case r == '\ufeff' && i == 0:
			continue
		case r < ' ' && r != '\t' && r != '\n' && r != '\r', r >= 0x7f && r < 0xa0 && r != 0x85, r == '\ufeff', r == 0xfffe, r == 0xffff:
			bad = fmt.Sprintf("control character %U", r)
		}
		if bad != "" {
			return p.at(line, column).error("", bad, "allowed: UTF-8 text", "")
		}
		if strings.ContainsRune(lineBreaks, r) && !strings.HasPrefix(text[i:], "\r\n") {
			line, column = line+1, 1
		} else {
			column++
		}
	}
	return nil
}

var yamlError = regexp.MustCompile(`^yaml: (?:line ([0-9]+): )?(.*)$`)

// syntaxError turns an error of the library into one with a position. The library knows the line, more or less, and no
// column.
func (p *parser) syntaxError(text string, err error) *Error {
	const maxSearch = 64 << 10
	text = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u0085", "\n", "\u2028", "\n", "\u2029", "\n").Replace(text)
	line, problem := 1, err.Error()
	if m := yamlError.FindStringSubmatch(problem); m != nil {
		problem = m[2]
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = max(n, 1)
			if strings.HasPrefix(problem, "did not find expected") {
				line++ // this stage of the library counts from 0
			}
		}
	}
	const anchorError = "unknown anchor '"
	if name, ok := strings.CutPrefix(problem, anchorError); ok {
		name, _, _ = strings.Cut(name, "'")
		if i := strings.Index(text, "*"+name); i >= 0 {
			line = 1 + strings.Count(text[:i], "\n")
		}
	}
	lines := strings.Split(text, "\n")
	endOfBlock := strings.HasSuffix(problem, "expected key") || strings.HasSuffix(problem, "expected '-' indicator")
	if endOfBlock && len(text) <= maxSearch {
		// The line is that of the beginning of the block; the error is at the end of the shortest text that has it.
		line = 1 + sort.Search(len(lines)-1, func(i int) bool {
			err := safeDecode(yaml.NewDecoder(strings.NewReader(strings.Join(lines[:i+1], "\n")+"\n")), new(yaml.Node))
			return err != nil && strings.HasSuffix(err.Error(), problem)
		})
	}
	for line = min(line, len(lines)); line > 1 && strings.TrimSpace(lines[line-1]) == ""; {
		line--
	}
	src := lines[line-1]
	indent := src[:len(src)-len(strings.TrimLeft(src, " \t\ufeff"))]
	at, allowed := len(indent), ""
	move := func(i int) {
		if i >= 0 {
			at = i
		}
	}
	switch {
	case strings.Contains(indent, "\t"):
		at, allowed = strings.Index(indent, "\t"), "YAML is indented with spaces, not tabs"
	case strings.HasPrefix(problem, "mapping values"):
		allowed = "check the indentation"
		if key := strings.Index(src, ": "); key >= 0 && strings.Contains(src[key+2:], ": ") {
			move(key + 2 + strings.Index(src[key+2:], ": "))
			allowed = `a text with ": " in it needs quotes`
		}
	case strings.HasPrefix(problem, "found character that cannot start"):
		move(strings.IndexAny(src, "@`%\t"))
		allowed = "a text that begins with " + strconv.Quote(src[at:min(at+1, len(src))]) + " needs quotes"
	case strings.HasPrefix(problem, "found unexpected end of stream"):
		move(strings.IndexAny(src, `"'`))
		allowed = "a quote is not closed"
	case strings.HasPrefix(problem, "did not find expected ',' or"):
		move(strings.LastIndexAny(src, "[{"))
		allowed = "a bracket is not closed, or a comma is missing"
	case strings.HasPrefix(problem, anchorError):
		move(strings.Index(src, "*"))
	}
	return p.at(line, utf8.RuneCountInString(strings.TrimPrefix(src[:at], "\ufeff"))+1).error("", "not YAML: "+problem, allowed, "")
}

// add records an error, and gives up if there are too many.
func (p *parser) add(e *Error) {
	if !p.errs.add(e) {
		p.full = true
	}
}

// node converts a value. It returns nil where it cannot.
func (p *parser) node(y *yaml.Node, where place, depth int) *node {
	at := p.at(y.Line, y.Column)
	if p.full {
		return nil
	}
	if p.nodes++; p.nodes > maxNodes {
		p.errs.add(at.error(where.path(), fmt.Sprintf("more than %d values, with aliases expanded", maxNodes), "", ""))
		p.full = true
		return nil
	}
	if depth > maxDepth {
		p.errs.add(at.error("", fmt.Sprintf("nested more than %d levels deep", maxDepth), "", ""))
		p.full = true
		return nil
	}
	if y.Style&yaml.TaggedStyle != 0 {
		p.add(at.error(where.path(), fmt.Sprintf("tag %q", cut(y.Tag)), "values have no tags", ""))
		return nil
	}
	if y.Anchor != "" {
		p.open[y] = true
		defer delete(p.open, y)
	}
	switch y.Kind {
	case yaml.AliasNode:
		if p.open[y.Alias] {
			p.add(at.error(where.path(), fmt.Sprintf("alias *%s stands inside of the value that it repeats", cut(y.Value)), "", ""))
			return nil
		}
		return p.node(y.Alias, where, depth)
	case yaml.ScalarNode:
		return &node{kind: scalar, mark: at, text: y.Value,
			quoted: y.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0}
	case yaml.SequenceNode:
		n := &node{kind: sequence, mark: at}
		for i, item := range y.Content {
			if v := p.node(item, place{parent: &where, seg: segment{isIndex: true, index: i}}, depth+1); v != nil {
				n.items = append(n.items, v)
			}
		}
		return n
	}
	return p.mapping(y, at, where, depth)
}

// mapping converts a mapping and checks its keys.
func (p *parser) mapping(y *yaml.Node, at mark, where place, depth int) *node {
	n := &node{kind: mapping, mark: at}
	seen := make(map[string]int, len(y.Content)/2)
	for i := 0; i+1 < len(y.Content) && !p.full; i += 2 {
		k := y.Content[i]
		key := p.at(k.Line, k.Column)
		if k.Kind == yaml.AliasNode {
			k = k.Alias
		}
		switch {
		case k.Kind != yaml.ScalarNode:
			p.add(key.error(where.path(), "a key that is a list or a mapping", "keys are words", ""))
			continue
		case k.Tag == "!!merge":
			p.add(key.error(where.path(), "merge key <<", "a whole file is extended with base: NAME", ""))
			continue
		case k.Style&yaml.TaggedStyle != 0:
			p.add(key.error(where.path(), fmt.Sprintf("tag %q", cut(k.Tag)), "keys have no tags", ""))
			continue
		case k.Value == "":
			p.add(key.error(where.path(), "a key without a name", "keys are words", ""))
			continue
		}
		inner := place{parent: &where, seg: segment{key: k.Value}}
		if line, ok := seen[k.Value]; ok {
			allowed := "a key stands once in a mapping"
			if line != k.Line {
				allowed = fmt.Sprintf("the first is in line %d", line)
			}
			p.add(key.error(inner.path(), "duplicate key", allowed, ""))
			continue
		}
		seen[k.Value] = k.Line
		if v := p.node(y.Content[i+1], inner, depth+1); v != nil {
			n.entries = append(n.entries, entry{k.Value, key, v})
		}
	}
	return n
}

// parseFile reads a file whose document is a mapping.
func parseFile(o *origin) (*node, Errors) {
	p := parser{origin: o}
	root := p.parse(o.text)
	if root != nil && root.kind != mapping && len(p.errs) == 0 {
		p.errs.add(root.mark.error("", "the file is not a mapping", `allowed: lines such as "key: value"`, ""))
	}
	return root, p.errs
}

// partsOf takes an error apart for a message.
func partsOf(err error) (problem, allowed, hint string) {
	var e interface {
		Parts() (problem, allowed, hint string)
	}
	if errors.As(err, &e) {
		return e.Parts()
	}
	return err.Error(), "", ""
}
