package trace

import (
	"fmt"
	"slices"
)

// placeKind is a sort of line.
type placeKind uint8

const (
	atTrace placeKind = iota // nothing in particular
	atRun
	atMemory
	atTensor
	atProgram
	atOp
	atPart
	atStep
	atInstr
	atLaunch
)

// place is something in a trace that an error can be about. It has one line in
// a file.
type place struct {
	kind                  placeKind
	index                 int    // of the tensor, program or launch
	op, part, step, instr int    // within the program
	key                   string // the attribute the error is about; may be empty
	value                 int    // the value without a key it is about, counted from 1; may be 0
}

// path names the place in words: "program 0: part 1: step 0: instruction 2".
func (p *place) path(t *Trace) string {
	program := func() string {
		return fmt.Sprintf("program %d (%s)", p.index, crop(t.Programs[p.index].Name))
	}
	switch p.kind {
	case atRun:
		return "run"
	case atMemory:
		return "memory"
	case atTensor:
		return fmt.Sprintf("tensor %d (%s)", p.index, crop(t.Tensors[p.index].Name))
	case atProgram:
		return program()
	case atOp:
		return fmt.Sprintf("%s: op %d", program(), p.op)
	case atPart:
		return fmt.Sprintf("%s: part %d", program(), p.part)
	case atStep:
		return fmt.Sprintf("%s: part %d: step %d", program(), p.part, p.step)
	case atInstr:
		kind := t.Programs[p.index].Parts[p.part].Code[p.step].Body[p.instr].Kind
		return fmt.Sprintf("%s: part %d: step %d: instruction %d (%s)", program(), p.part, p.step, p.instr, kind)
	case atLaunch:
		return fmt.Sprintf("launch %d", p.index)
	}
	return ""
}

// crop shortens a name for a message.
func crop(s string) string {
	const most = 64
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}

// source is the file a trace was read from. Positions are not kept while
// reading; they are found again for the few errors there are.
type source struct {
	name string
	data []byte
}

// find gives an error the position of a place. The file is known to be
// well-formed.
func (s *source) find(e *Error, p place) {
	e.File = s.name
	var (
		at    place // of the line
		count [atLaunch + 1]int
		toks  []token
		line  []byte
	)
	want := p
	want.key, want.value = "", 0
	for rest, no := s.data, 1; len(rest) > 0; no++ {
		line, rest = nextLine(rest)
		toks, _ = lex(line, toks[:0])
		if len(toks) == 0 {
			continue
		}
		kind := lineKind(string(toks[0].val))
		switch kind {
		case atTrace:
			continue
		case atRun, atMemory:
			at = place{kind: kind}
		case atTensor, atLaunch:
			at = place{kind: kind, index: count[kind]}
		case atProgram:
			at = place{kind: kind, index: count[kind]}
			clear(count[atOp:atLaunch])
		case atOp:
			at = place{kind: kind, index: count[atProgram] - 1, op: count[kind]}
		case atPart:
			at = place{kind: kind, index: count[atProgram] - 1, part: count[kind]}
			count[atStep] = 0
		case atStep:
			at = place{kind: kind, index: count[atProgram] - 1, part: count[atPart] - 1, step: count[kind]}
			count[atInstr] = 0
		case atInstr:
			at = place{kind: kind, index: count[atProgram] - 1, part: count[atPart] - 1, step: count[atStep] - 1, instr: count[kind]}
		}
		count[kind]++
		if at == want {
			e.Line, e.Col, e.Source = no, column(toks, p)+1, string(line)
			return
		}
	}
}

// lineKind says what a line that starts with a word describes.
func lineKind(word string) placeKind {
	switch word {
	case "run":
		return atRun
	case "memory":
		return atMemory
	case "tensor":
		return atTensor
	case "program":
		return atProgram
	case "op":
		return atOp
	case "part":
		return atPart
	case "loop", "do":
		return atStep
	case "launch":
		return atLaunch
	}
	if slices.Contains(kindWords[:], word) {
		return atInstr
	}
	return atTrace
}

// column finds the token that a place is about.
func column(toks []token, p place) int {
	value := 0
	for i := range toks[1:] {
		tok := &toks[i+1]
		if tok.key == nil {
			value++
		}
		if p.key != "" && string(tok.key) == p.key || p.value > 0 && tok.key == nil && value == p.value {
			return tok.at
		}
	}
	return toks[0].at
}
