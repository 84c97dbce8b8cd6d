package result

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Limits on what Read takes, far above any result that a run writes: a file
// beyond them is refused before memory is spent on it.
const (
	maxBytes   = 256 << 20
	maxObjects = 1 << 20
)

// Write writes r as indented JSON with a final newline. Equal results give
// equal bytes: keys are in the order of the types, absent lists are written as
// [], and short objects stay on one line. It fails on values
// that JSON cannot hold (NaN, infinities) and on write errors.
func Write(w io.Writer, r *Result) error { return write(w, r) }

// write writes a value whose nullable parts are lists.
func write(w io.Writer, v any) error {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("result: %w", err)
	}
	out := layout(make([]byte, 0, buf.Len()+buf.Len()/4), bytes.TrimSpace(buf.Bytes()), 0)
	_, err := w.Write(append(out, '\n'))
	return err
}

// inlineWidth is the most bytes an object may have and stay on one line. It
// holds a kernel of the timeline, not an operator's row.
const inlineWidth = 320

// fits says that a value stays on one line: a list of plain values, or a short
// object with no object in it.
func fits(src []byte) bool {
	if src[0] == '[' {
		return objects(src) == 0
	}
	return len(src) <= inlineWidth && objects(src) == 1
}

// layout appends the compact JSON value src to dst, indented for a person.
func layout(dst, src []byte, depth int) []byte {
	switch {
	case string(src) == "null": // every nullable value is a list
		return append(dst, "[]"...)
	case src[0] != '{' && src[0] != '[':
		return append(dst, src...)
	case depth > 0 && fits(src):
		return inline(dst, src)
	}
	newline := func(depth int) {
		dst = append(dst, '\n')
		for range depth {
			dst = append(dst, ' ', ' ')
		}
	}
	dst = append(dst, src[0])
	body := src[1 : len(src)-1]
	for len(body) > 0 {
		newline(depth + 1)
		n := valueEnd(body)
		if src[0] == '{' {
			dst = append(append(dst, body[:n]...), ": "...)
			body = body[n+1:]
			n = valueEnd(body)
		}
		dst = layout(dst, body[:n], depth+1)
		if body = body[n:]; len(body) > 0 {
			dst = append(dst, ',')
			body = body[1:]
		}
	}
	newline(depth)
	return append(dst, src[len(src)-1])
}

// inline appends compact JSON with a space after each colon and comma.
func inline(dst, src []byte) []byte {
	for i := 0; i < len(src); i++ {
		switch c := src[i]; c {
		case '"':
			n := valueEnd(src[i:])
			dst = append(dst, src[i:i+n]...)
			i += n - 1
		case ':', ',':
			dst = append(dst, c, ' ')
		case 'n': // null: literals start with n only here, strings are skipped
			dst = append(dst, "[]"...)
			i += len("null") - 1
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// valueEnd is the length of the compact JSON value that b starts with.
func valueEnd(b []byte) int {
	nested, quoted := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
			if !quoted && nested == 0 {
				return i + 1
			}
		case quoted:
		case c == '{' || c == '[':
			nested++
		case c == '}' || c == ']':
			if nested--; nested == 0 {
				return i + 1
			}
			if nested < 0 {
				return i
			}
		case nested == 0 && (c == ',' || c == ':'):
			return i
		}
	}
	return len(b)
}

// Read reads a result that Write wrote, of this version of the format or an
// older one. Keys it does not know are ignored. It refuses newer versions,
// anything that is not one JSON object, and sizes no run produces. It does not
// check the figures: see Validate.
func Read(r io.Reader) (*Result, error) {
	data, err := load(r, "result")
	if err != nil {
		return nil, err
	}
	var head struct {
		Version *int64 `json:"version"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, located(data, err)
	}
	switch v := head.Version; {
	case v == nil:
		return nil, errors.New(`result: no "version": not a result file`)
	case *v > Version:
		return nil, &VersionError{"result", *v, Version}
	case *v < 1:
		return nil, fmt.Errorf("result: version %d; versions start at 1", *v)
	}
	res := new(Result)
	if err := json.Unmarshal(data, res); err != nil {
		return nil, located(data, err)
	}
	return res, nil
}

// read reads a result of one kind and of this version of the format; head tells both of what was read.
func read[T any](r io.Reader, kind string, head func(*T) (version int, kind string)) (*T, error) {
	data, err := load(r, "result")
	if err != nil {
		return nil, err
	}
	res := new(T)
	if err := json.Unmarshal(data, res); err != nil {
		return nil, located(data, err)
	}
	if v, k := head(res); v != Version || k != kind {
		return nil, fmt.Errorf("result: version %d of kind %q; this program reads version %d of %s", v, k, Version, kind)
	}
	return res, nil
}

// load reads a file of a size that a run may have.
func load(r io.Reader, what string) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if len(data) > maxBytes {
		return nil, fmt.Errorf("%s: larger than %d MiB", what, maxBytes>>20)
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, fmt.Errorf("%s: empty file", what)
	}
	if n := objects(data); n > maxObjects {
		return nil, fmt.Errorf("%s: %d objects; at most %d are read", what, n, maxObjects)
	}
	return data, nil
}

// objects counts the JSON objects in data without decoding it.
func objects(data []byte) int {
	n, quoted := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == '{' && !quoted:
			n++
		}
	}
	return n
}

// located adds line and column to a decoding error.
func located(data []byte, err error) error {
	var offset int64
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset
		if offset >= int64(len(data)) {
			err = errors.New("the file ends in the middle of a value; it may be truncated")
		}
	case errors.As(err, &kind):
		offset = kind.Offset
		if kind.Field == "" {
			err = fmt.Errorf("a result is a JSON object, not %s", kind.Value)
		} else {
			err = fmt.Errorf("%s: %s does not fit %s", kind.Field, kind.Value, kind.Type)
		}
	default:
		return fmt.Errorf("result: %w", err)
	}
	before := data[:min(max(offset, 0), int64(len(data)))]
	line := 1 + bytes.Count(before, []byte("\n"))
	col := len(before) - bytes.LastIndexByte(before, '\n') - 1
	return fmt.Errorf("result: line %d, column %d: %w", line, max(col, 1), err)
}
