package arch

import (
	"fmt"
	"strings"

	"maru/internal/config"
)

// Discipline is how a machine issues work and moves data.
type Discipline uint8

const (
	Dispatch Discipline = iota // hardware hands tile programs to cores as they free up
	Queues                     // the compiler orders work for each core's engines
	BSP                        // all cores compute, wait for each other and exchange, again and again
	Static                     // the compiler says in which clock each instruction starts
	Spatial                    // operators are spread over a mesh of cores, between which data flows
)

// Issue is how a matrix unit gets its operands.
type Issue uint8

const (
	Async Issue = iota // from the scratchpad; one thread issues for all
	Sync               // through the registers of the threads
)

// Dataflow is what an array of multiply-adds keeps in place.
type Dataflow uint8

const (
	WeightStationary Dataflow = iota
	OutputStationary
	InputStationary
	RowStationary // a row of a filter, a window of a row of the input, and sums
)

// Fold is how consecutive folds of a systolic array follow each other.
type Fold uint8

const (
	Overlapped Fold = iota // the next operand loads behind the current one
	Serial                 // each fold fills and drains alone
)

var (
	disciplineNames = []string{"dispatch", "queues", "bsp", "static", "spatial"}
	issueNames      = []string{"async", "sync"}
	dataflowNames   = []string{"ws", "os", "is", "rs"}
	foldNames       = []string{"overlapped", "serial"}
)

// nameError says that a text is not one of the names that are allowed.
type nameError struct {
	what  string // the kind of name
	text  string
	names []string
	hint  string // what was probably meant, or empty
}

// Error returns the problem, what is allowed and the hint in one line.
func (e *nameError) Error() string {
	problem, allowed, hint := e.Parts()
	s := problem + "; " + allowed
	if hint != "" {
		s += "; did you mean " + hint
	}
	return s
}

// Parts returns the parts of the message for a file's error.
func (e *nameError) Parts() (problem, allowed, hint string) {
	text := e.text
	if len(text) > 60 {
		text = strings.ToValidUTF8(text[:60], "") + "..."
	}
	return fmt.Sprintf("unknown %s %q", e.what, text), "allowed: " + strings.Join(e.names, ", "), e.hint
}

// parseEnum returns the index of a name.
func parseEnum(what string, names []string, text []byte) (uint8, error) {
	for i, n := range names {
		if n == string(text) {
			return uint8(i), nil
		}
	}
	return 0, &nameError{what, string(text), names, config.Suggest(string(text), names)}
}

// enumName returns a name, or the number of a value that has none.
func enumName(names []string, i uint8) string {
	if int(i) >= len(names) {
		return fmt.Sprint(i)
	}
	return names[i]
}

// UnmarshalText reads a discipline by name.
func (d *Discipline) UnmarshalText(text []byte) error {
	v, err := parseEnum("discipline", disciplineNames, text)
	*d = Discipline(v)
	return err
}

// String returns the name: "dispatch".
func (d Discipline) String() string { return enumName(disciplineNames, uint8(d)) }

// Enum lists the names.
func (Discipline) Enum() []string { return disciplineNames }

// UnmarshalText reads an issue path by name.
func (i *Issue) UnmarshalText(text []byte) error {
	v, err := parseEnum("issue path", issueNames, text)
	*i = Issue(v)
	return err
}

// String returns the name: "async".
func (i Issue) String() string { return enumName(issueNames, uint8(i)) }

// Enum lists the names.
func (Issue) Enum() []string { return issueNames }

// UnmarshalText reads a dataflow by name.
func (d *Dataflow) UnmarshalText(text []byte) error {
	v, err := parseEnum("dataflow", dataflowNames, text)
	*d = Dataflow(v)
	return err
}

// String returns the name: "ws".
func (d Dataflow) String() string { return enumName(dataflowNames, uint8(d)) }

// Enum lists the names.
func (Dataflow) Enum() []string { return dataflowNames }

// UnmarshalText reads a fold mode by name.
func (f *Fold) UnmarshalText(text []byte) error {
	v, err := parseEnum("fold mode", foldNames, text)
	*f = Fold(v)
	return err
}

// String returns the name: "overlapped".
func (f Fold) String() string { return enumName(foldNames, uint8(f)) }

// Enum lists the names.
func (Fold) Enum() []string { return foldNames }
