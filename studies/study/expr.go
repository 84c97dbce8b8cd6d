package study

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// expr is arithmetic on numbers with units:
//
//	37 B/clk * cores.count
//	min(memory.dram.bandwidth, 2 * cores.count * 20 GB/s)
//
// Numbers have the units of arch/unit; names are paths of the chip, the model
// and the plan, and metrics; words are in double quotes. There are + - * /,
// brackets, and the functions min, max, floor, ceil, round and sqrt, of which
// the roundings count in the base unit (bytes, picoseconds) of what they round.
type expr struct {
	op   string // "number", "word", "name", "neg", + - * /, or a function
	at   int    // bytes from the beginning of the text
	num  number
	name string // of a name; a word's text
	args []*expr
}

// comparison is two expressions and what must hold between them.
type comparison struct {
	text        string
	left, right *expr
	op          string // <= >= == != < >
}

// exprError is what is wrong with the text of an expression.
type exprError struct {
	at                     int // bytes from the beginning of the text
	problem, allowed, hint string
}

func (e *exprError) Error() string {
	s := e.problem
	if e.allowed != "" {
		s += "; " + e.allowed
	}
	if e.hint != "" {
		s += "; did you mean " + e.hint
	}
	return s
}

// functions are those of expressions, with their number of operands; 0 is any.
var functions = map[string]int{"min": 0, "max": 0, "floor": 1, "ceil": 1, "round": 1, "sqrt": 1}

const functionNames = "allowed: min, max, floor, ceil, round, sqrt"

// maxNesting bounds the brackets in each other.
const maxNesting = 64

// parser reads an expression.
type parser struct {
	text string
	pos  int
	deep int
}

// parseExpr reads an expression. The error is an *exprError.
func parseExpr(text string) (*expr, error) {
	p := &parser{text: text}
	e, err := p.sum()
	if err != nil {
		return nil, err
	}
	if p.space(); p.pos < len(p.text) {
		return nil, p.unexpected("an operator (+ - * /) or the end")
	}
	return e, nil
}

// comparisons are the operators between two expressions, the longest first.
var comparisons = []string{"<=", ">=", "==", "!=", "<", ">"}

// parseComparison reads two expressions and an operator between them. The error
// is an *exprError.
func parseComparison(text string) (*comparison, error) {
	p := &parser{text: text}
	left, err := p.sum()
	if err != nil {
		return nil, err
	}
	p.space()
	for _, op := range comparisons {
		if !strings.HasPrefix(p.text[p.pos:], op) {
			continue
		}
		p.pos += len(op)
		right, err := p.sum()
		if err != nil {
			return nil, err
		}
		if p.space(); p.pos < len(p.text) {
			return nil, p.unexpected("an operator (+ - * /) or the end")
		}
		return &comparison{strings.TrimSpace(text), left, right, op}, nil
	}
	hint := ""
	if strings.HasPrefix(p.text[p.pos:], "=") {
		hint = "=="
	}
	err = p.unexpected("a comparison: <= < >= > == !=")
	err.(*exprError).hint = hint
	return nil, err
}

func (p *parser) space() {
	for p.pos < len(p.text) && (p.text[p.pos] == ' ' || p.text[p.pos] == '\t') {
		p.pos++
	}
}

// next returns the next byte that is no space, or 0.
func (p *parser) next() byte {
	p.space()
	if p.pos == len(p.text) {
		return 0
	}
	return p.text[p.pos]
}

// unexpected is the error about what stands at the place.
func (p *parser) unexpected(allowed string) error {
	if p.pos >= len(p.text) {
		return &exprError{p.pos, "the expression ends early", "allowed here: " + allowed, ""}
	}
	r, _ := utf8.DecodeRuneInString(p.text[p.pos:])
	return &exprError{p.pos, "unexpected " + strconv.QuoteRune(r), "allowed here: " + allowed, ""}
}

func (p *parser) sum() (*expr, error) {
	if p.deep++; p.deep > maxNesting {
		return nil, &exprError{p.pos, fmt.Sprintf("more than %d brackets in each other", maxNesting), "", ""}
	}
	defer func() { p.deep-- }()
	return p.chain("+-", func() (*expr, error) { return p.chain("*/", p.factor) })
}

// chain reads operands with operators of one rank between them.
func (p *parser) chain(ops string, operand func() (*expr, error)) (*expr, error) {
	e, err := operand()
	for err == nil {
		c := p.next()
		if c == 0 || !strings.ContainsRune(ops, rune(c)) {
			return e, nil
		}
		at := p.pos
		p.pos++
		var right *expr
		if right, err = operand(); err == nil {
			e = &expr{op: string(c), at: at, args: []*expr{e, right}}
		}
	}
	return nil, err
}

const operandNames = "a number with its unit, a path, a metric, a bracket"

func (p *parser) factor() (*expr, error) {
	c := p.next()
	at := p.pos
	switch {
	case c == '-':
		p.pos++
		if p.deep++; p.deep > maxNesting {
			return nil, &exprError{at, fmt.Sprintf("more than %d signs in a row", maxNesting), "", ""}
		}
		defer func() { p.deep-- }()
		e, err := p.factor()
		return &expr{op: "neg", at: at, args: []*expr{e}}, err
	case c == '(':
		p.pos++
		e, err := p.sum()
		if err != nil {
			return nil, err
		}
		if p.next() != ')' {
			return nil, p.unexpected("a closing bracket")
		}
		p.pos++
		return e, nil
	case c == '"':
		quoted, err := strconv.QuotedPrefix(p.text[at:])
		if err != nil {
			return nil, &exprError{at, "no closing quote", "", ""}
		}
		p.pos += len(quoted)
		word, _ := strconv.Unquote(quoted)
		return &expr{op: "word", at: at, name: word}, nil
	case '0' <= c && c <= '9' || c == '.':
		return p.number()
	}
	name := p.name()
	if name == "" {
		return nil, p.unexpected(operandNames)
	}
	if p.next() == '(' {
		return p.call(name, at)
	}
	return &expr{op: "name", at: at, name: name}, nil
}

// name reads a path, of keys and indices.
func (p *parser) name() string {
	start := p.pos
	for p.pos < len(p.text) {
		r, size := utf8.DecodeRuneInString(p.text[p.pos:])
		if r != '_' && !unicode.IsLetter(r) && (p.pos == start || !unicode.IsDigit(r) && !strings.ContainsRune(".[]", r)) {
			break
		}
		p.pos += size
	}
	return p.text[start:p.pos]
}

// number reads a number with the longest unit that follows it.
func (p *parser) number() (*expr, error) {
	at := p.pos
	end := at + numeral(p.text[at:])
	digits := p.text[at:end]
	v, err := strconv.ParseFloat(digits, 64)
	if err != nil {
		return nil, &exprError{at, fmt.Sprintf("%q is not a number", digits), "", ""}
	}
	p.pos = end
	after := strings.TrimLeft(p.text[end:], " \t")
	for _, u := range units {
		rest, ok := strings.CutPrefix(after, u)
		if r, _ := utf8.DecodeRuneInString(rest); !ok || unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_' {
			continue
		}
		k := kindWith(u)
		v, err := k.parse(digits + " " + u)
		if err != nil {
			problem, allowed, hint := parts(err)
			return nil, &exprError{at, problem, allowed, hint}
		}
		p.pos = len(p.text) - len(rest)
		return &expr{op: "number", at: at, num: number{v, k.ten, k.d}}, nil
	}
	if r, _ := utf8.DecodeRuneInString(after); unicode.IsLetter(r) {
		q := parser{text: after}
		return nil, &exprError{len(p.text) - len(after), fmt.Sprintf("unknown unit %q", q.name()), "allowed: the units of chips, such as GB/s, B/clk, MiB, GHz, W, mm2", ""}
	}
	return &expr{op: "number", at: at, num: plain(v)}, nil
}

// call reads the operands of a function.
func (p *parser) call(name string, at int) (*expr, error) {
	need, ok := functions[name]
	if !ok {
		return nil, &exprError{at, fmt.Sprintf("unknown function %q", name), functionNames, ""}
	}
	e := &expr{op: name, at: at}
	for {
		p.pos++
		arg, err := p.sum()
		if err != nil {
			return nil, err
		}
		e.args = append(e.args, arg)
		switch p.next() {
		case ',':
			continue
		case ')':
			p.pos++
		default:
			return nil, p.unexpected("a comma or a closing bracket")
		}
		if need > 0 && len(e.args) != need {
			return nil, &exprError{at, fmt.Sprintf("%d operands of %s", len(e.args), name), fmt.Sprintf("allowed: %d", need), ""}
		}
		return e, nil
	}
}

// value is a number or a word.
type value struct {
	n    number
	word string
	text bool // it is a word
}

func (v value) String() string {
	if v.text {
		return v.word
	}
	return v.n.String()
}

// eval computes an expression; lookup returns what names stand for. The error is
// an *exprError.
func (e *expr) eval(lookup func(name string) (value, error)) (value, error) {
	switch e.op {
	case "number":
		return value{n: e.num}, nil
	case "word":
		return value{word: e.name, text: true}, nil
	case "name":
		v, err := lookup(e.name)
		if err != nil {
			problem, allowed, hint := parts(err)
			return v, &exprError{e.at, problem, allowed, hint}
		}
		return v, nil
	}
	args := make([]number, len(e.args))
	for i, a := range e.args {
		v, err := a.eval(lookup)
		if err != nil {
			return v, err
		}
		if v.text {
			return v, &exprError{a.at, fmt.Sprintf("arithmetic with the word %q", v.word), "", ""}
		}
		args[i] = v.n
	}
	n, err := e.apply(args)
	if err == nil && (math.IsNaN(n.v) || math.IsInf(n.v, 0)) {
		err = &exprError{e.at, "the outcome is no number: a division by zero, or too large", "", ""}
	}
	return value{n: n}, err
}

// apply computes an operator or a function.
func (e *expr) apply(args []number) (number, error) {
	n := args[0]
	switch e.op {
	case "neg":
		n.v = -n.v
		return n, nil
	case "*":
		return n.times(args[1]), nil
	case "/":
		return n.over(args[1]), nil
	case "floor":
		n.v = math.Floor(n.v)
		return n, nil
	case "ceil":
		n.v = math.Ceil(n.v)
		return n, nil
	case "round":
		n.v = math.RoundToEven(n.v)
		return n, nil
	case "sqrt":
		for i, p := range n.d {
			if p%2 != 0 {
				return n, &exprError{e.at, "the root of " + n.d.noun(), "", ""}
			}
			n.d[i] = p / 2
		}
		return number{math.Sqrt(n.in(0)), 0, n.d}, nil
	}
	for _, m := range args[1:] {
		if m.d != n.d {
			return n, &exprError{e.at, fmt.Sprintf("%s of %s and %s", e.op, n.d.noun(), m.d.noun()), "", ""}
		}
		switch c := compare(m, n); {
		case e.op == "+":
			n = n.plus(m)
		case e.op == "-":
			m.v = -m.v
			n = n.plus(m)
		case e.op == "min" && c < 0 || e.op == "max" && c > 0:
			n = m
		}
	}
	return n, nil
}

// eval tells whether a comparison holds, and what its left side is.
func (c *comparison) eval(lookup func(name string) (value, error)) (holds bool, left value, err error) {
	l, err := c.left.eval(lookup)
	if err != nil {
		return false, l, err
	}
	r, err := c.right.eval(lookup)
	switch {
	case err != nil:
		return false, l, err
	case l.text != r.text:
		return false, l, &exprError{c.right.at, fmt.Sprintf("a word is compared with a number: %v %s %v", l, c.op, r), "", ""}
	case l.text && c.op == "==":
		return l.word == r.word, l, nil
	case l.text && c.op == "!=":
		return l.word != r.word, l, nil
	case l.text:
		return false, l, &exprError{c.right.at, "words have no order", "allowed: == !=", ""}
	case l.n.d != r.n.d:
		return false, l, &exprError{c.right.at, fmt.Sprintf("%s is compared with %s", l.n.d.noun(), r.n.d.noun()), "", ""}
	}
	order := compare(l.n, r.n)
	switch c.op {
	case "<=":
		holds = order <= 0
	case ">=":
		holds = order >= 0
	case "<":
		holds = order < 0
	case ">":
		holds = order > 0
	case "==":
		holds = order == 0
	default:
		holds = order != 0
	}
	return holds, l, nil
}

// names calls f for every name in the expression.
func (e *expr) names(f func(e *expr)) {
	if e.op == "name" {
		f(e)
	}
	for _, a := range e.args {
		a.names(f)
	}
}
