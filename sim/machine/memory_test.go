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
		{trace.Program{}, 10}, {trace.Part{}, 6}, {trace.Step{}, 7}, {trace.Expr{}, 9}, {trace.Instr{}, 21}, {trace.Launch{}, 5},
		{traffic{}, 12}, {layout{}, 15},
	} {
		if n := reflect.TypeOf(tc.v).NumField(); n != tc.fields {
			t.Errorf("%T has %d fields, and memory.go knows %d", tc.v, n, tc.fields)
		}
	}
}
