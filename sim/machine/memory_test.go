package machine

import (
	"reflect"
	"testing"

	"maru/workloads/trace"
)

// What a cohort moves is remembered by all that a program says. A field that is
// added has to enter hashProgram, or be one that moves nothing.
func TestHashKnowsPrograms(t *testing.T) {
	for _, tc := range []struct {
		v      any
		fields int
	}{
		{trace.Program{}, 9}, {trace.Part{}, 4}, {trace.Step{}, 5}, {trace.Expr{}, 9}, {trace.Instr{}, 19}, {trace.Launch{}, 4},
		{traffic{}, 10}, {layout{}, 12},
	} {
		if n := reflect.TypeOf(tc.v).NumField(); n != tc.fields {
			t.Errorf("%T has %d fields, and memory.go knows %d", tc.v, n, tc.fields)
		}
	}
}
