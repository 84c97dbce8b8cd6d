package event

import "testing"

// Numbers are counted up while none is free, the one that was given back last is
// taken first, and a value stays what it is beside others.
func TestSlots(t *testing.T) {
	var s Slots[string]
	add := func(v string, want int32) {
		t.Helper()
		if i := s.Add(v); i != want || *s.At(i) != v {
			t.Errorf("%s is %s in slot %d, want %d", v, *s.At(i), i, want)
		}
	}
	add("a", 0)
	add("b", 1)
	add("c", 2)
	s.Free(0)
	s.Free(1)
	add("d", 1)
	add("e", 0)
	add("f", 3)
	if *s.At(2) != "c" {
		t.Errorf("slot 2 holds %s, want c", *s.At(2))
	}
}
