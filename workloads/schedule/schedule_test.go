package schedule

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// By hand: three stages, three microbatches.
func TestOneOne(t *testing.T) {
	order, err := Order("1f1b", 3, 3, 1)
	if err != nil {
		t.Fatal(err)
	}
	f, b := Forward, Backward
	want := [][]Item{
		{{f, 0, 0}, {f, 0, 1}, {f, 0, 2}, {b, 0, 0}, {b, 0, 1}, {b, 0, 2}},
		{{f, 0, 0}, {f, 0, 1}, {b, 0, 0}, {f, 0, 2}, {b, 0, 1}, {b, 0, 2}},
		{{f, 0, 0}, {b, 0, 0}, {f, 0, 1}, {b, 0, 1}, {f, 0, 2}, {b, 0, 2}},
	}
	if diff := cmp.Diff(want, order); diff != "" {
		t.Error(diff)
	}
}

// One microbatch after the other: no stage begins with one ahead of the last one's gradients.
func TestSequential(t *testing.T) {
	order, err := Order("sequential", 2, 2, 1)
	if err != nil {
		t.Fatal(err)
	}
	one := []Item{{Forward, 0, 0}, {Backward, 0, 0}, {Forward, 0, 1}, {Backward, 0, 1}}
	if diff := cmp.Diff([][]Item{one, one}, order); diff != "" {
		t.Error(diff)
	}
}

// Every schedule does each pass of each chunk and microbatch once, forward ahead of backward ahead of weights.
func TestComplete(t *testing.T) {
	for _, name := range Names() {
		for _, stages := range []int{1, 2, 4} {
			for _, rounds := range []int{1, 3} {
				chunks, micro := 1, stages*rounds
				if name == "interleaved" {
					chunks = 3
				}
				order, err := Order(name, stages, micro, chunks)
				if err != nil {
					t.Fatal(err)
				}
				kinds := 2
				if name == "zero-bubble" {
					kinds = 3
				}
				for s, items := range order {
					if len(items) != kinds*chunks*micro {
						t.Fatalf("%s: stage %d has %d passes, want %d", name, s, len(items), kinds*chunks*micro)
					}
					next := map[[2]int32]Kind{}
					for _, it := range items {
						at := [2]int32{it.Chunk, it.Micro}
						if it.Kind != next[at] {
							t.Fatalf("%s: stage %d does %v in place of %d", name, s, it, next[at])
						}
						next[at]++
					}
				}
			}
		}
	}
	for _, bad := range [][3]int{{0, 1, 1}, {2, 3, 2}} {
		if _, err := Order("interleaved", bad[0], bad[1], bad[2]); err == nil {
			t.Errorf("%v is allowed", bad)
		}
	}
	if _, err := Order("1f1b", 2, 2, 2); err == nil {
		t.Error("1f1b with two chunks is allowed")
	}
}
