package trace

import (
	"bytes"
	"math"
	"unicode/utf8"
)

// token is one word of a line: a keyword, a value, or key=value.
type token struct {
	key   []byte // nil without "key="
	val   []byte // unescaped
	at    int    // offset of the token in its line
	valAt int    // offset of the value
}

// fault is a problem at an offset in a text.
type fault struct {
	at               int
	problem, allowed string
}

// Classes of bytes.
const (
	wordByte = iota
	spaceByte
	controlByte
	quoteByte
	equalByte
	highByte // of a character outside ASCII
)

var byteClass = func() (class [256]uint8) {
	for c := range class {
		switch {
		case c == ' ' || c == '\t':
			class[c] = spaceByte
		case c < ' ' || c == 0x7f:
			class[c] = controlByte
		case c == '"':
			class[c] = quoteByte
		case c == '=':
			class[c] = equalByte
		case c >= utf8.RuneSelf:
			class[c] = highByte
		}
	}
	return class
}()

// lex appends the tokens of a line to toks, up to a comment.
func lex(line []byte, toks []token) ([]token, *fault) {
	for i := 0; ; {
		for i < len(line) && byteClass[line[i]] == spaceByte {
			i++
		}
		if i == len(line) || line[i] == '#' {
			return toks, nil
		}
		tok := token{at: i, valAt: i}
		high := false
	word:
		for ; i < len(line); i++ {
			switch byteClass[line[i]] {
			case wordByte:
			case spaceByte:
				break word
			case equalByte:
				// "64,min=1" is a value: what stands before the "=" is no key.
				if tok.key == nil && isIdent(line[tok.at:i]) {
					tok.key, tok.valAt = line[tok.at:i], i+1
				}
			case quoteByte:
				if i > tok.valAt {
					return toks, &fault{i, "quote inside a word", `quotes stand around a whole name: "a b", key="a b"`}
				}
				val, end, f := unquote(line, i)
				if f != nil {
					return toks, f
				}
				tok.val, i = val, end
				break word
			case controlByte:
				return toks, &fault{i, "control character", "allowed are printable characters, spaces and tabs"}
			case highByte:
				high = true
			}
		}
		if tok.val == nil {
			tok.val = line[tok.valAt:i]
		}
		if high && !utf8.Valid(tok.val) {
			return toks, &fault{tok.valAt, "bytes that are not UTF-8", ""}
		}
		toks = append(toks, tok)
	}
}

// unquote reads the quoted text that starts at line[at]. It returns the text,
// never nil, and the offset after the closing quote.
func unquote(line []byte, at int) (val []byte, end int, f *fault) {
	val = []byte{}
	for i := at + 1; i < len(line); i++ {
		switch c := line[i]; {
		case c == '"':
			if i+1 < len(line) && byteClass[line[i+1]] != spaceByte {
				return nil, 0, &fault{i + 1, "no space after a quoted name", ""}
			}
			if !utf8.Valid(val) {
				return nil, 0, &fault{at, "bytes that are not UTF-8", ""}
			}
			return val, i + 1, nil
		case c == '\\':
			i++
			if i == len(line) || line[i] != '"' && line[i] != '\\' {
				return nil, 0, &fault{i - 1, "unknown escape", `allowed are \" and \\`}
			}
			val = append(val, line[i])
		case byteClass[c] == controlByte:
			return nil, 0, &fault{i, "control character", "allowed are printable characters, spaces and tabs"}
		default:
			val = append(val, c)
		}
	}
	return nil, 0, &fault{at, "quote is never closed", ""}
}

// number reads a whole decimal number.
func number(s []byte) (n int64, problem string) {
	digits, neg := s, false
	if len(s) > 0 && s[0] == '-' {
		digits, neg = s[1:], true
	}
	if len(digits) == 0 {
		return 0, "is not a whole number"
	}
	var u uint64
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, "is not a whole number"
		}
		if u > math.MaxInt64/10 {
			return 0, "does not fit in 64 bits"
		}
		u = 10*u + uint64(c-'0')
	}
	switch {
	case neg && u <= math.MaxInt64+1:
		return -int64(u), ""
	case !neg && u <= math.MaxInt64:
		return int64(u), ""
	}
	return 0, "does not fit in 64 bits"
}

// nextLine splits off the first line of data, without its line end.
func nextLine(data []byte) (line, rest []byte) {
	line, rest, _ = bytes.Cut(data, []byte{'\n'})
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line, rest
}
