package trace

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Error is one thing wrong with a trace.
type Error struct {
	File      string // name given to Parse; "" for a trace that is not from a file
	Line, Col int    // from 1, Col in bytes; 0 where there is no file or no line
	Path      string // the part of the trace: "program 0: part 1"
	Problem   string
	Allowed   string // what is allowed; may be empty
	Hint      string // what was probably meant; may be empty
	Source    string // text of the line
}

// Error is "file:line:col: path: problem; what is allowed; did you mean X?",
// and below it the line with a caret, if there is one.
func (e *Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File)
		if e.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", e.Line, e.Col)
		}
		b.WriteString(": ")
	}
	text := e.Problem
	if e.Path != "" {
		text = e.Path + ": " + text
	}
	if e.Allowed != "" {
		text += "; " + e.Allowed
	}
	if e.Hint != "" {
		text += "; did you mean " + e.Hint + "?"
	}
	b.WriteString(visible(text))
	if e.Line > 0 {
		e.excerpt(&b)
	}
	return b.String()
}

// excerpt writes the line and a caret under Col; of a long line, the part
// around Col.
func (e *Error) excerpt(b *strings.Builder) {
	const before, width = 60, 100
	src, col := e.Source, min(e.Col-1, len(e.Source))
	if col > before {
		cut := col - before
		for cut > 0 && !utf8.RuneStart(src[cut]) {
			cut--
		}
		src, col = "..."+src[cut:], col-cut+3
	}
	if len(src) > width+3 {
		cut := max(width, col)
		for cut > 0 && cut < len(src) && !utf8.RuneStart(src[cut]) {
			cut--
		}
		if cut < len(src) {
			src = src[:cut] + "..."
		}
	}
	b.WriteString("\n    " + visible(src) + "\n    ")
	for _, r := range src[:col] {
		switch {
		case r == '\t':
			b.WriteByte('\t')
		case unicode.In(r, unicode.Han, unicode.Hangul, unicode.Hiragana, unicode.Katakana):
			b.WriteRune('\u3000') // a space as wide as these characters
		default:
			b.WriteByte(' ')
		}
	}
	b.WriteByte('^')
}

// visible replaces what would disturb a terminal.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

// Errors is what Parse and Validate return: at most twenty errors, in the order
// they were found.
type Errors []*Error

// Error is all messages, one after the other.
func (l Errors) Error() string {
	var b strings.Builder
	for i, e := range l {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(e.Error())
	}
	if len(l) >= maxErrors {
		fmt.Fprintf(&b, "\nstopped after %d errors", len(l))
	}
	return b.String()
}

// Unwrap gives the single errors to errors.As.
func (l Errors) Unwrap() []error {
	errs := make([]error, len(l))
	for i, e := range l {
		errs[i] = e
	}
	return errs
}

// quote is a name as messages show it.
func quote[T string | []byte](s T) string {
	const most = 64
	if len(s) > most {
		return strconv.Quote(string(s[:most])) + "..."
	}
	return strconv.Quote(string(s))
}

// amount is a number as messages show it: powers of two, which most limits
// are, as such.
func amount(n int64) string {
	for p := 16; p < 63; p++ {
		switch n {
		case 1 << p:
			return fmt.Sprintf("2^%d", p)
		case -1 << p:
			return fmt.Sprintf("-2^%d", p)
		}
	}
	return strconv.FormatInt(n, 10)
}
