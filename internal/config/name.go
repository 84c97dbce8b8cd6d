package config

import (
	"fmt"
	"strings"
)

// NameError says that a text is not one of the names that are allowed.
type NameError struct {
	What  string // the kind of name
	Text  string
	Names []string
	Hint  string // what was probably meant, or empty
}

// Error returns the problem, what is allowed and the hint in one line.
func (e *NameError) Error() string {
	problem, allowed, hint := e.Parts()
	s := problem + "; " + allowed
	if hint != "" {
		s += "; did you mean " + hint
	}
	return s
}

// Parts returns the parts of the message for a file's error.
func (e *NameError) Parts() (problem, allowed, hint string) {
	text := e.Text
	if len(text) > 60 {
		text = strings.ToValidUTF8(text[:60], "") + "..."
	}
	return fmt.Sprintf("unknown %s %q", e.What, text), "allowed: " + strings.Join(e.Names, ", "), e.Hint
}

// ParseName returns the index of a name among those of a kind, or a [*NameError].
func ParseName(what string, names []string, text []byte) (uint8, error) {
	for i, n := range names {
		if n == string(text) {
			return uint8(i), nil
		}
	}
	return 0, &NameError{what, string(text), names, Suggest(string(text), names)}
}

// NameOf returns a name by its index, or the number of a value that has none.
func NameOf(names []string, i uint8) string {
	if int(i) >= len(names) {
		return fmt.Sprint(i)
	}
	return names[i]
}
