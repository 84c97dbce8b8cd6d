package config

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Pos is a position in a file. The zero value means that there is none.
type Pos struct {
	File         string // name of the file; "--set PATH=VALUE" for values from an override
	Line, Column int    // from 1, in characters; Line is 0 in an override, and Column counts in PATH=VALUE
}

// String returns file:line:column, or the override.
func (p Pos) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Error is one thing that is wrong with a document.
type Error struct {
	Pos     Pos
	Path    string // dotted path of the value; empty for the whole file
	Problem string // what is wrong
	Allowed string // what is allowed, or empty
	Hint    string // what was probably meant, or empty
	Line    string // the line at Pos

	order int // position of the file among those that were loaded
}

// Error returns the message in one line, followed by the line at fault and a caret below the place.
func (e *Error) Error() string {
	var b strings.Builder
	if at := e.Pos.String(); at != "" {
		b.WriteString(at + ": ")
	}
	b.WriteString(e.Message())
	if line, caret := excerpt(e.Line, e.Pos.Column); line != "" {
		b.WriteString("\n  " + line + "\n  " + caret)
	}
	return b.String()
}

// Message returns the message without its position: path: problem; what is allowed; did you mean X.
func (e *Error) Message() string {
	var b strings.Builder
	if e.Path != "" && !(e.Pos.Line == 0 && strings.HasPrefix(e.Line, e.Path+"=")) {
		b.WriteString(e.Path + ": ")
	}
	b.WriteString(e.Problem)
	if e.Allowed != "" {
		b.WriteString("; " + e.Allowed)
	}
	if e.Hint != "" {
		b.WriteString("; did you mean " + e.Hint)
	}
	return b.String()
}

// Errors is everything that is wrong with a document, sorted by position.
type Errors []*Error

// Error returns the messages, one after the other.
func (e Errors) Error() string {
	texts := make([]string, len(e))
	for i, err := range e {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "\n")
}

// Unwrap returns the errors.
func (e Errors) Unwrap() []error {
	errs := make([]error, len(e))
	for i, err := range e {
		errs[i] = err
	}
	return errs
}

// Err returns the errors sorted by position, or nil if there are none.
func (e Errors) Err() error {
	if len(e) == 0 {
		return nil
	}
	slices.SortStableFunc(e, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.order, b.order), cmp.Compare(a.Pos.Line, b.Pos.Line), cmp.Compare(a.Pos.Column, b.Pos.Column))
	})
	return e
}

// add appends an error and reports whether there may be more.
func (e *Errors) add(err *Error) bool {
	if len(*e) >= maxErrors {
		return false
	}
	if len(*e) == maxErrors-1 {
		err = &Error{Problem: "more errors follow", order: math.MaxInt}
	}
	*e = append(*e, err)
	return len(*e) < maxErrors
}

// origin is a text that values come from.
type origin struct {
	name  string
	text  string
	set   bool // an override: the text is PATH=VALUE
	order int
}

// mark is a place in an origin.
type mark struct {
	origin       *origin
	line, column int
}

// pos returns the position for messages.
func (m mark) pos() Pos {
	if m.origin.set {
		return Pos{File: m.origin.name, Column: m.column}
	}
	return Pos{File: m.origin.name, Line: m.line, Column: m.column}
}

// error returns an error at the place.
func (m mark) error(path, problem, allowed, hint string) *Error {
	return &Error{Pos: m.pos(), Path: path, Problem: problem, Allowed: allowed, Hint: hint, Line: m.origin.line(m.line),
		order: m.origin.order}
}

// line returns line n, from 1, without its end, or the empty string.
func (o *origin) line(n int) string {
	text := strings.TrimPrefix(o.text, "\ufeff")
	for {
		i := strings.IndexAny(text, lineBreaks)
		if n <= 1 {
			if i >= 0 {
				text = text[:i]
			}
			return text
		}
		if i < 0 {
			return ""
		}
		_, size := utf8.DecodeRuneInString(text[i:])
		if strings.HasPrefix(text[i:], "\r\n") {
			size = 2
		}
		text, n = text[i+size:], n-1
	}
}

// lineBreaks are the characters at which YAML ends a line.
const lineBreaks = "\n\r\u0085\u2028\u2029"

// excerpt returns a line for a message and a line with a caret below the column. A long line is cut to the part around it.
func excerpt(line string, column int) (text, caret string) {
	const before, after, longest = 80, 40, 120
	if column < 1 || strings.TrimSpace(line) == "" {
		return "", ""
	}
	first := 1
	var runes []rune
	for _, r := range line {
		if runes = append(runes, r); len(runes) > max(column+after, longest) {
			runes = append(runes[:len(runes)-1], []rune("...")...)
			break
		}
	}
	if len(runes) > longest && column > before {
		first = column - before
		runes = append([]rune("..."), runes[first-1:]...)
		first -= 3
	}
	var b strings.Builder
	for i, r := range runes {
		if unicode.IsControl(r) && r != '\t' {
			runes[i] = ' '
		}
		if first+i < column {
			b.WriteString(blank(r))
		}
	}
	b.WriteString(strings.Repeat(" ", max(0, column-first-len(runes))) + "^")
	return strings.TrimRight(string(runes), " \t"), b.String()
}

// blank returns white space as wide as a character on a terminal.
func blank(r rune) string {
	switch {
	case r == '\t':
		return "\t"
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return ""
	case unicode.In(r, unicode.Hangul, unicode.Han, unicode.Hiragana, unicode.Katakana), 0xff01 <= r && r <= 0xff60:
		return "  "
	}
	return " "
}
