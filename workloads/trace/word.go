package trace

import (
	"fmt"
	"strconv"
	"strings"

	"maru/workloads/graph"
)

// kindWords are the instruction words of the text form, by InstrKind.
var kindWords = [...]string{
	Load:    "load",
	Store:   "store",
	MatMul:  "matmul",
	Vector:  "vector",
	Special: "special",
	Scratch: "scratch",
	Barrier: "barrier",
}

// String is the word of the text form: "load".
func (k InstrKind) String() string {
	if int(k) < len(kindWords) {
		return kindWords[k]
	}
	return fmt.Sprintf("instruction(%d)", uint8(k))
}

// roleWords are the words for what a tensor is for, by graph.Role.
var roleWords = [...]string{
	graph.Activation: "activation",
	graph.Weight:     "weight",
	graph.Input:      "input",
	graph.Output:     "output",
	graph.KV:         "kv",
	graph.Gradient:   "gradient",
	graph.State:      "state",
}

func roleWord(r graph.Role) string {
	if int(r) < len(roleWords) {
		return roleWords[r]
	}
	return fmt.Sprintf("role(%d)", uint8(r))
}

// homeWords are the words for where a tensor lies, by Home.
var homeWords = [...]string{Main: "main", Chip: "chip", External: "external"}

func homeWord(h Home) string {
	if int(h) < len(homeWords) {
		return homeWords[h]
	}
	return fmt.Sprintf("home(%d)", uint8(h))
}

// String is the word of the text form: "chip".
func (h Home) String() string { return homeWord(h) }

// The closed sets of words in the header.
var (
	unitWords   = []string{"token", "image", "sample", "op"}
	launchWords = []string{"graph", "stream"}
	dataWords   = []string{"random", "zero"}
)

// maxRotate is the most copies of the weights that may take turns.
const maxRotate = 64

// cacheRule says what Header.Cache may be.
var cacheRule = fmt.Sprintf("allowed are cold, warm and rotate:N with N from 1 to %d", maxRotate)

// validCache reports whether s is an initial residency.
func validCache(s string) bool {
	if s == "cold" || s == "warm" {
		return true
	}
	digits, ok := strings.CutPrefix(s, "rotate:")
	n, err := strconv.Atoi(digits)
	return ok && err == nil && n >= 1 && n <= maxRotate && strconv.Itoa(n) == digits
}

// reservedSlots are words of the launch line, which no slot may have as name.
var reservedSlots = []string{"layer", "free", "at"}

// isIdent reports whether s can be a key: a letter or "_", then letters,
// digits, "_", "." and "-".
func isIdent[T string | []byte](s T) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '_':
		case i > 0 && (c >= '0' && c <= '9' || c == '.' || c == '-'):
		default:
			return false
		}
	}
	return len(s) > 0
}

// Family is the name of a tensor, by its index, with the layer's index replaced
// by "*": "layer.*.attn.q.weight". Tensors outside the layers are their own
// family.
func (t *Trace) Family(tensor int) string {
	name := t.Tensors[tensor].Name
	layer, at, end := layerOf(name)
	if layer < 0 {
		return name
	}
	return name[:at] + "layer.*." + name[end:]
}

// layerOf finds the first "layer.7." in a name, at its start or after a ".".
// It returns the index, -1 if there is none, and where the words lie.
func layerOf(name string) (layer, at, end int) {
	const word = "layer."
	for from := 0; ; {
		i := strings.Index(name[from:], word)
		if i < 0 {
			return -1, 0, 0
		}
		at, from = from+i, from+i+len(word)
		if at > 0 && name[at-1] != '.' {
			continue
		}
		n, end := 0, from
		for end < len(name) && name[end] >= '0' && name[end] <= '9' && n < MaxLayers {
			n = 10*n + int(name[end]-'0')
			end++
		}
		if end == from || end == len(name) || name[end] != '.' || name[from] == '0' && end > from+1 {
			continue
		}
		return n, at, end + 1
	}
}

// hasAnyLayer reports whether an operator's name holds "layer.*.".
func hasAnyLayer(name string) bool {
	return strings.HasPrefix(name, "layer.*.") || strings.Contains(name, ".layer.*.")
}

// list joins words for a message, leaving out what would make it long.
func list(words []string) string {
	const most, longest = 16, 64
	var b strings.Builder
	for i, w := range words {
		if i == most {
			fmt.Fprintf(&b, " and %d more", len(words)-most)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		if len(w) > longest {
			w = w[:longest] + "..."
		}
		b.WriteString(w)
	}
	return b.String()
}
