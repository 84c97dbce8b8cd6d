package machine

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"maru/arch/dtype"
	"maru/workloads/graph"
	"maru/workloads/trace"
)

// list is the shared cache written down plainly: sets as lists, the block used
// last first.
type list struct {
	sets    [][]slot
	layouts []layout
}

func (c *list) set(o *cache, tensor int32, block int64) *[]slot {
	return &c.sets[int((o.relative(tensor, block)>>32)*uint64(len(c.sets))>>32)]
}

func (c *list) touch(o *cache, tensor int32, block int64, rows uint64, write bool) (missing uint64, writeback int64) {
	set := c.set(o, tensor, block)
	s := slot{tag: tag(tensor, block)}
	if i := slices.IndexFunc(*set, func(s slot) bool { return s.tag == tag(tensor, block) }); i >= 0 {
		s = (*set)[i]
		*set = slices.Delete(*set, i, i+1)
	} else if len(*set) == ways {
		old := (*set)[ways-1]
		if t, b := unpack(old.tag); old.dirty != 0 {
			writeback = c.layouts[t].bytes(b, old.dirty)
		}
		*set = (*set)[:ways-1]
	}
	missing = rows &^ s.have
	s.have |= rows
	if write {
		s.dirty |= rows
	}
	*set = slices.Insert(*set, 0, s)
	return missing, writeback
}

func (c *list) drop(tensor int32) {
	for i := range c.sets {
		c.sets[i] = slices.DeleteFunc(c.sets[i], func(s slot) bool { t, _ := unpack(s.tag); return t == tensor })
	}
}

// slots is what a set of the cache holds, the block used last first.
func (c *cache) ordered(set int) []slot {
	var out []slot
	for order, i := c.order[set], 0; i < ways; order, i = order>>4, i+1 {
		if s := c.slots[set*ways+int(order&15)]; s.tag != 0 {
			out = append(out, s)
		}
	}
	return out
}

// The cache does what plain lists do.
func TestCacheIsAListOfUses(t *testing.T) {
	g := grain{1024, 16}
	var layouts []layout
	for i := range 4 {
		layouts = append(layouts, newLayout(string(rune('a'+i)), &trace.Tensor{Rows: 64, Cols: 300 + int64(i), DType: dtype.BF16, Role: graph.Weight, Layer: i}, g))
	}
	rapid.Check(t, func(rt *rapid.T) {
		sets := rapid.IntRange(1, 5).Draw(rt, "sets")
		c := newCache(int64(sets)*ways*g.bytes, layouts, g)
		c.make()
		plain := &list{sets: make([][]slot, sets), layouts: layouts}
		for range rapid.IntRange(1, 300).Draw(rt, "steps") {
			tensor := int32(rapid.IntRange(0, 3).Draw(rt, "tensor"))
			l := &layouts[tensor]
			if rapid.IntRange(0, 60).Draw(rt, "drop") == 0 {
				c.drop(tensor)
				plain.drop(tensor)
				continue
			}
			block := rapid.Int64Range(0, ceilDiv(l.rows, l.br)*l.across-1).Draw(rt, "block")
			rows := rapid.Uint64Range(1, 1<<16-1).Draw(rt, "rows")
			write := rapid.Bool().Draw(rt, "write")
			m, w := c.touch(tensor, block, rows, write)
			pm, pw := plain.touch(c, tensor, block, rows, write)
			if m != pm || w != pw {
				rt.Fatalf("touch: missing %x, written back %d; lists say %x and %d", m, w, pm, pw)
			}
		}
		counts := make([]int32, len(layouts))
		for i := range sets {
			got, want := c.ordered(i), plain.sets[i]
			if d := cmp.Diff(append([]slot{}, want...), append([]slot{}, got...), cmp.AllowUnexported(slot{})); d != "" {
				rt.Fatalf("set %d (-lists +cache):\n%s", i, d)
			}
			for _, s := range got {
				tensor, _ := unpack(s.tag)
				counts[tensor]++
			}
		}
		if d := cmp.Diff(counts, c.count); d != "" {
			rt.Fatalf("slots of tensors (-held +counted):\n%s", d)
		}
		if n := c.clone(); !n.equal(c) {
			rt.Fatal("a copy differs")
		}
	})
}
