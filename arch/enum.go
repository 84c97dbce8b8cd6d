package arch

import "maru/internal/config"

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

// UnmarshalText reads a discipline by name.
func (d *Discipline) UnmarshalText(text []byte) error {
	v, err := config.ParseName("discipline", disciplineNames, text)
	*d = Discipline(v)
	return err
}

// String returns the name: "dispatch".
func (d Discipline) String() string { return config.NameOf(disciplineNames, uint8(d)) }

// Enum lists the names.
func (Discipline) Enum() []string { return disciplineNames }

// UnmarshalText reads an issue path by name.
func (i *Issue) UnmarshalText(text []byte) error {
	v, err := config.ParseName("issue path", issueNames, text)
	*i = Issue(v)
	return err
}

// String returns the name: "async".
func (i Issue) String() string { return config.NameOf(issueNames, uint8(i)) }

// Enum lists the names.
func (Issue) Enum() []string { return issueNames }

// UnmarshalText reads a dataflow by name.
func (d *Dataflow) UnmarshalText(text []byte) error {
	v, err := config.ParseName("dataflow", dataflowNames, text)
	*d = Dataflow(v)
	return err
}

// String returns the name: "ws".
func (d Dataflow) String() string { return config.NameOf(dataflowNames, uint8(d)) }

// Enum lists the names.
func (Dataflow) Enum() []string { return dataflowNames }

// UnmarshalText reads a fold mode by name.
func (f *Fold) UnmarshalText(text []byte) error {
	v, err := config.ParseName("fold mode", foldNames, text)
	*f = Fold(v)
	return err
}

// String returns the name: "overlapped".
func (f Fold) String() string { return config.NameOf(foldNames, uint8(f)) }

// Enum lists the names.
func (Fold) Enum() []string { return foldNames }
