package study

// Form says what the values of a path are in a table.
type Form uint8

// The forms of values.
const (
	Text   Form = iota
	Whole       // whole numbers
	Number      // numbers without unit
)

// Form returns the form of the values of one of the study's paths.
func (s *Study) Form(path string) Form {
	k, err := find(path)
	switch {
	case err != nil || !isNumber(k.typ) || dimsOf(k.typ) != (dims{}):
		return Text
	case isWhole(k.typ):
		return Whole
	}
	return Number
}

// columnUnits are the units in which columns of numbers are written, and the
// ends of their names.
var columnUnits = map[string]struct{ unit, suffix string }{
	"size": {"B", "_bytes"}, "duration": {"us", "_us"}, "bandwidth": {"B/s", "_bytes_per_s"},
	"transfer per clock": {"B/clk", "_bytes_per_clk"}, "frequency": {"MHz", "_mhz"}, "number of cycles": {"clk", "_clk"},
	"work per clock": {"FLOP/clk", "_flop_per_clk"}, "work per second": {"FLOP/s", "_flop_per_s"}, "power": {"W", "_w"},
	"energy": {"J", "_j"}, "energy per byte": {"pJ/B", "_pj_per_byte"}, "energy per operation": {"pJ/FLOP", "_pj_per_flop"},
	"area": {"mm2", "_mm2"}, "price": {"USD", "_usd"}, "voltage": {"V", "_v"},
}

// NumberColumn returns the name of the column in which the values of a path that
// have a unit stand as numbers; it is empty for all others.
func (s *Study) NumberColumn(path string) string {
	k, err := find(path)
	if err != nil || !isNumber(k.typ) || dimsOf(k.typ) == (dims{}) {
		return ""
	}
	return path + columnUnits[kindOf(k.typ).noun].suffix
}

// Number is a value of a path as a number: in the unit of its NumberColumn, or
// plain. It is false for what is none.
func (s *Study) Number(path, text string) (float64, bool) {
	n, ok := read(text)
	if !ok || n.d == (dims{}) {
		return n.in(0), ok
	}
	for i := range kinds {
		if k := &kinds[i]; k.d == n.d {
			one, err := k.parse("1 " + columnUnits[k.noun].unit)
			return n.in(k.ten) / one, err == nil
		}
	}
	return 0, false
}
