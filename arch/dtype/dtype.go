// Package dtype holds the number formats that accelerators compute in and store.
//
// A format has a storage width, a class (floating point or not) and the format that products of it are summed up in. The
// scale factors of block formats (mxfp4, nvfp4, mxfp8) are not part of the element: whoever lays out such a tensor counts
// them as data of their own. Not modelled either: the split between exponent and mantissa (fp8 is e4m3 and e5m2 alike,
// they cost the same), and rounding.
//
// Floor 0: the package imports only the standard library.
package dtype

import (
	"fmt"
	"slices"
	"strings"
)

// Type is a number format. The zero value is not a format.
type Type uint8

// The number formats.
const (
	FP64 Type = iota + 1
	FP32
	TF32 // fp32 in memory, rounded to 19 bits by the multiplier
	BF16
	FP16
	FP8 // e4m3 or e5m2
	FP6 // e3m2 or e2m3
	FP4 // e2m1: mxfp4, nvfp4
	Int32
	Int16
	Int8
	Int4
	Bool
)

// formats describes the formats, in the order of their constants.
var formats = []struct {
	typ         Type
	name        string
	bits        int
	float       bool
	accumulator Type
	aliases     []string // not accepted, only understood for a hint
}{
	{FP64, "fp64", 64, true, FP64, []string{"float64", "f64", "double"}},
	{FP32, "fp32", 32, true, FP32, []string{"float32", "f32", "float", "single"}},
	{TF32, "tf32", 32, true, FP32, []string{"tensorfloat32", "tf19"}},
	{BF16, "bf16", 16, true, FP32, []string{"bfloat16", "bfp16", "bfloat"}},
	{FP16, "fp16", 16, true, FP32, []string{"float16", "f16", "half"}},
	{FP8, "fp8", 8, true, FP32, []string{"float8", "f8", "e4m3", "e5m2", "fp8e4m3", "fp8e5m2", "mxfp8", "float8e4m3fn", "float8e5m2"}},
	{FP6, "fp6", 6, true, FP32, []string{"float6", "f6", "e3m2", "e2m3", "fp6e3m2", "fp6e2m3", "mxfp6"}},
	{FP4, "fp4", 4, true, FP32, []string{"float4", "f4", "e2m1", "fp4e2m1", "mxfp4", "nvfp4"}},
	{Int32, "int32", 32, false, Int32, []string{"i32", "s32", "int", "uint32"}},
	{Int16, "int16", 16, false, Int32, []string{"i16", "s16", "short", "uint16", "fixed16"}},
	{Int8, "int8", 8, false, Int32, []string{"i8", "s8", "uint8", "byte", "w8a8"}},
	{Int4, "int4", 4, false, Int32, []string{"i4", "s4", "uint4"}},
	{Bool, "bool", 8, false, Int32, []string{"boolean", "i1", "pred"}},
}

// Error says that a text is not the name of a format.
type Error struct {
	Text string // the text that was parsed
	Hint string // the name that was probably meant, or empty
}

// Error returns the problem, what is allowed and the hint in one line.
func (e *Error) Error() string {
	problem, allowed, hint := e.Parts()
	s := problem + "; " + allowed
	if hint != "" {
		s += "; did you mean " + hint
	}
	return s
}

// Parts returns the three parts of the message: what is wrong, what is allowed, and what was probably meant (or empty).
func (e *Error) Parts() (problem, allowed, hint string) {
	return fmt.Sprintf("unknown number format %q", e.Text), "allowed: one of " + strings.Join(Type(0).Enum(), ", "), e.Hint
}

// Parse returns the format of a name, such as "bf16". The error is an *Error.
func Parse(s string) (Type, error) {
	for _, f := range formats {
		if f.name == s {
			return f.typ, nil
		}
	}
	if len(s) > 32 {
		s = s[:32] + "..."
	}
	return 0, &Error{Text: s, Hint: suggest(s)}
}

// suggest returns the name that was probably meant by s, or the empty string.
func suggest(s string) string {
	s = strings.NewReplacer("-", "", "_", "", " ", "", ".", "").Replace(strings.ToLower(s))
	for _, f := range formats {
		if f.name == s || slices.Contains(f.aliases, s) {
			return f.name
		}
	}
	for _, f := range formats {
		if sorted(f.name) == sorted(s) {
			return f.name
		}
	}
	for _, f := range formats {
		if oneLetterOff(f.name, s) {
			return f.name
		}
	}
	return ""
}

// oneLetterOff reports whether two texts differ in one letter, but in no digit.
func oneLetterOff(name, s string) bool {
	if len(name) != len(s) {
		return false
	}
	wrong := 0
	for i := range len(s) {
		switch {
		case name[i] == s[i]:
		case '0' <= name[i] && name[i] <= '9':
			return false
		default:
			wrong++
		}
	}
	return wrong == 1
}

// sorted returns the characters of a text in order, to tell texts that differ only in theirs: pf16, f8p.
func sorted(s string) string {
	b := []byte(s)
	slices.Sort(b)
	return string(b)
}

// All returns the formats, floating point first, then by falling width.
func All() []Type {
	types := make([]Type, len(formats))
	for i, f := range formats {
		types[i] = f.typ
	}
	return types
}

// Valid reports whether t is one of the formats.
func (t Type) Valid() bool { return t > 0 && int(t) <= len(formats) }

// String returns the name: "bf16".
func (t Type) String() string {
	if !t.Valid() {
		return fmt.Sprintf("dtype(%d)", uint8(t))
	}
	return formats[t-1].name
}

// Bits returns the width of an element in memory, in bits. It is 0 if t is not valid.
func (t Type) Bits() int {
	if !t.Valid() {
		return 0
	}
	return formats[t-1].bits
}

// Bytes returns the size of n elements stored one after the other, in bytes, rounded up to whole bytes. Sizes beyond an
// int64 are not detected.
func (t Type) Bytes(n int64) int64 {
	bits := int64(t.Bits())
	return n/8*bits + (n%8*bits+7)/8
}

// IsFloat reports whether the format is floating point.
func (t Type) IsFloat() bool { return t.Valid() && formats[t-1].float }

// Accumulator returns the format in which products of t are summed up: fp32 for floating point up to 32 bits, fp64 for
// fp64, int32 for integers.
func (t Type) Accumulator() Type {
	if !t.Valid() {
		return 0
	}
	return formats[t-1].accumulator
}

// MarshalText returns the name. It fails if t is not valid.
func (t Type) MarshalText() ([]byte, error) {
	if !t.Valid() {
		return nil, fmt.Errorf("%v is not a number format", t)
	}
	return []byte(t.String()), nil
}

// UnmarshalText is Parse in place. The error is an *Error.
func (t *Type) UnmarshalText(text []byte) (err error) {
	*t, err = Parse(string(text))
	return err
}

// Enum returns the names of all formats.
func (Type) Enum() []string {
	names := make([]string, len(formats))
	for i, f := range formats {
		names[i] = f.name
	}
	return names
}
