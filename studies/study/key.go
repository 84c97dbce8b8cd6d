package study

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"maru/arch"
	"maru/arch/dtype"
	"maru/arch/system"
	"maru/internal/config"
	"maru/workloads/compile"
	"maru/workloads/model"
	"maru/workloads/plan"
)

// owner is what a path belongs to.
type owner uint8

const (
	ofPlan owner = iota
	ofChip
	ofModel
	ofOp // a size of the operator: op.m
	ofSystem
)

// key is a path that a study may set or read.
type key struct {
	path  string
	owner owner
	doc   string
	typ   reflect.Type

	words func() []string              // plan: what is allowed, where it can be listed
	get   func(in *Input) string       // plan: the value; empty if there is none
	set   func(in *Input, text string) // plan: of a text that was checked
}

func text(path, doc string, words func() []string, field func(*Input) *string) key {
	return key{
		path: path, doc: doc, typ: reflect.TypeFor[string](), words: words,
		get: func(in *Input) string { return *field(in) },
		set: func(in *Input, text string) { *field(in) = text },
	}
}

func format(path, doc string, field func(*Input) *string) key {
	k := text(path, doc, dtype.Type(0).Enum, field)
	k.typ = reflect.TypeFor[dtype.Type]()
	return k
}

func count(path, doc string, get func(*Input) int64, set func(*Input, int64)) key {
	return key{
		path: path, doc: doc, typ: reflect.TypeFor[int64](),
		get: func(in *Input) string {
			if n := get(in); n != 0 {
				return strconv.FormatInt(n, 10)
			}
			return ""
		},
		set: func(in *Input, text string) {
			n, _ := strconv.ParseInt(text, 10, 64) // checked before
			set(in, n)
		},
	}
}

func truth(path, doc string, get func(*Input) bool, set func(*Input, bool)) key {
	return key{
		path: path, doc: doc, typ: reflect.TypeFor[bool](), words: func() []string { return []string{"true", "false"} },
		get: func(in *Input) string { return strconv.FormatBool(get(in)) },
		set: func(in *Input, text string) { set(in, text == "true") },
	}
}

// planKeys lists what a run has besides figures of the chip and the model: the
// flags of "maru run", with underscores.
var planKeys = []key{
	text("chip", "Chip: a built-in one, or a file relative to the study's folder.", nil, func(in *Input) *string { return &in.Chip }),
	text("model", "Model: a built-in one, or a file relative to the study's folder.", nil, func(in *Input) *string { return &in.Model }),
	text("op", "A single operator instead of a model, such as gemm:m=4096,n=4096,k=4096.", nil, func(in *Input) *string { return &in.Op }),
	text("phase", "Part of the model's life that is run; serve, on a system, is prefill and decoding on groups of their own.", phases, func(in *Input) *string { return &in.Phase }),
	count("batch", "Sequences or images.", func(in *Input) int64 { return in.Batch }, func(in *Input, n int64) { in.Batch = n }),
	count("seq", "Tokens of each prompt, or of the context that a decode step sees.", func(in *Input) int64 { return in.Seq }, func(in *Input, n int64) { in.Seq = n }),
	count("layers", "Run the first layers only.", func(in *Input) int64 { return int64(in.Layers) }, func(in *Input, n int64) { in.Layers = int(n) }),
	format("dtype", "Number format of weights and arithmetic.", func(in *Input) *string { return &in.DType }),
	format("kv_dtype", "Number format of the key/value cache.", func(in *Input) *string { return &in.KVDType }),
	truth("fuse", "Whether operators are fused.", func(in *Input) bool { return !in.NoFuse }, func(in *Input, v bool) { in.NoFuse = !v }),
	text("profile", "Library to compile like.", compile.Profiles, func(in *Input) *string { return &in.Profile }),
	text("cache", "What the shared cache holds at the start: cold, warm, or rotate:N.", nil, func(in *Input) *string { return &in.Cache }),
	text("launch", "How kernels start.", func() []string { return []string{"graph", "stream"} }, func(in *Input) *string { return &in.Launch }),
	text("data", "What the operands hold.", plan.DataNames, func(in *Input) *string { return &in.Data }),
	text("weights", "Memory that weights lie in: main, chip or external.", nil, func(in *Input) *string { return &in.Weights }),
	text("partition", "Run on an instance of this partition of the chip.", nil, func(in *Input) *string { return &in.Partition }),
	truth("shared", "Whether the instance shares all but its cores.", func(in *Input) bool { return in.Shared }, func(in *Input, v bool) { in.Shared = v }),
	count("tenants", "Instances at work.", func(in *Input) int64 { return in.Tenants }, func(in *Input, n int64) { in.Tenants = n }),
}

// keys lists all paths: of the plan, then of the chip, of the model and of the system.
var keys = func() []key {
	all := append(slices.Clone(planKeys), manyKeys...)
	add := func(o owner, v any, skip ...string) {
		for _, k := range config.Keys(v) {
			first, _, _ := strings.Cut(k.Path, ".")
			if !slices.Contains(skip, first) {
				all = append(all, key{path: k.Path, owner: o, doc: k.Doc, typ: k.Type})
			}
		}
	}
	// What a chip says of itself is no figure; profile is the plan's, which is
	// the chip's unless it is given.
	add(ofChip, arch.Chip{}, "name", "title", "vendor", "aliases", "notes", "sources", "profile")
	add(ofModel, model.Model{}, "title", "sources")
	add(ofSystem, system.System{}, "name", "title", "vendor", "measured", "notes", "sources", "chip")
	return slices.DeleteFunc(all, func(k key) bool { return k.path == "launch" && k.owner == ofChip }) // the plan's; launch.graph is the chip's
}()

// byPath finds keys.
var byPath = func() map[string]*key {
	m := map[string]*key{}
	for i := range keys {
		m[keys[i].path] = &keys[i]
	}
	return m
}()

// opPrefix starts the paths of an operator's sizes.
const opPrefix = "op."

// find returns the key of a path. The error says what was probably meant.
func find(path string) (*key, error) {
	if k := byPath[path]; k != nil {
		return k, nil
	}
	if size, ok := strings.CutPrefix(path, opPrefix); ok && size != "" {
		typ := reflect.TypeFor[int64]()
		if strings.HasSuffix(size, "dtype") || size == "to" {
			typ = reflect.TypeFor[dtype.Type]()
		}
		return &key{path: path, owner: ofOp, doc: "Size of the operator.", typ: typ}, nil
	}
	names := make([]string, len(keys))
	for i := range keys {
		names[i] = keys[i].path
	}
	return nil, &pathError{path, config.Suggest(path, names)}
}

// pathError says that nothing has a path.
type pathError struct{ path, hint string }

func (e *pathError) Parts() (problem, allowed, hint string) {
	return "no such path: " + e.path, "allowed: a path of the chip or the model, or a key of the plan (maru schema study lists them)", e.hint
}

func (e *pathError) Error() string {
	problem, allowed, hint := e.Parts()
	return (&exprError{0, problem, allowed, hint}).Error()
}

// parts takes an error apart for a message.
func parts(err error) (problem, allowed, hint string) {
	var p interface {
		Parts() (problem, allowed, hint string)
	}
	var e *exprError
	switch {
	case errors.As(err, &p):
		return p.Parts()
	case errors.As(err, &e):
		return e.problem, e.allowed, e.hint
	}
	return err.Error(), "", ""
}

// check tells what is wrong with a value of the key, before any point is made.
func (k *key) check(text string) error {
	switch {
	case k.words != nil && !slices.Contains(k.words(), text):
		return &wordError{k.path, text, k.words()}
	case isText(k.typ):
		return reflect.New(k.typ).Interface().(interface{ UnmarshalText([]byte) error }).UnmarshalText([]byte(text))
	case isWhole(k.typ):
		if _, err := strconv.ParseInt(text, 10, 64); err != nil {
			return fmt.Errorf("%q is not a whole number", text)
		}
	}
	return nil
}

// wordError is a word that is none of those allowed.
type wordError struct {
	path, text string
	words      []string
}

func (e *wordError) Parts() (problem, allowed, hint string) {
	return fmt.Sprintf("unknown %s %q", e.path, e.text), "allowed: " + strings.Join(e.words, ", "), config.Suggest(e.text, e.words)
}

func (e *wordError) Error() string {
	problem, allowed, hint := e.Parts()
	return (&exprError{0, problem, allowed, hint}).Error()
}
