package validate

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"maru/arch"
)

// chip is one that is loaded.
type chip struct {
	*arch.Chip
	file   string   // or name, to load it by
	fallen []string // calibrated figures that fell back to those of the family
}

// chips finds chips by the names that tables give them, and loads each once.
type chips struct {
	opt    Options
	known  []*chip
	found  map[string]*chip
	missed map[string]bool
	bad    error // of the options
}

func newChips(opt Options) (*chips, error) {
	c := &chips{opt: opt, found: map[string]*chip{}, missed: map[string]bool{}}
	for _, name := range append(slices.Clone(opt.Chips), arch.Names()...) {
		loaded, _, err := arch.Load(name, nil)
		if err != nil {
			return nil, err
		}
		c.known = append(c.known, &chip{Chip: loaded, file: name})
	}
	return c, nil
}

// change loads a chip again with the figures that the options change.
func (c *chips) change(k *chip) error {
	if c.opt.Uncalibrated {
		k.fallen, _ = k.Uncalibrated()
	}
	sets := append(slices.Clone(k.fallen), c.opt.Set...)
	if len(sets) == 0 {
		return nil
	}
	changed, _, err := arch.Load(k.file, sets)
	if err != nil {
		return fmt.Errorf("%s with changed figures: %w", k.Name, err)
	}
	k.Chip = changed
	return nil
}

// find returns the chip that a table means by a system, nil if there is none.
// Names and aliases are compared without regard for case, hyphens and
// underscores. Where none is equal, the size of the memory at the end may be
// missing on either side, if one chip alone is left then.
func (c *chips) find(system string) (*chip, error) {
	if f, ok := c.found[system]; ok {
		return f, nil
	}
	if c.missed[system] {
		return nil, nil
	}
	f, err := c.search(system)
	if err != nil {
		return nil, err
	}
	if f == nil {
		c.missed[system] = true
		return nil, nil
	}
	if !slices.Contains(slices.Collect(maps.Values(c.found)), f) {
		if err := c.change(f); err != nil && c.bad == nil {
			c.bad = err
		}
	}
	c.found[system] = f
	return f, nil
}

func (c *chips) search(system string) (*chip, error) {
	want := plain(system)
	for _, k := range c.known {
		if slices.ContainsFunc(k.names(), func(n string) bool { return plain(n) == want }) {
			return k, nil
		}
	}
	var near []*chip
	bare, size := cutSize(system)
	for _, k := range c.known {
		alike, other := false, false
		for _, n := range k.names() {
			b, s := cutSize(n)
			alike = alike || b == bare
			other = other || b == bare && s != "" && size != "" // equal ones were found above
		}
		if alike && !other {
			near = append(near, k)
		}
	}
	switch len(near) {
	case 0:
		return nil, nil
	case 1:
		return near[0], nil
	}
	var names []string
	for _, k := range near {
		names = append(names, k.Name)
	}
	return nil, fmt.Errorf("system %s may be %s; the aliases of a chip file decide", system, strings.Join(names, " or "))
}

// names are the names that a chip goes by.
func (c *chip) names() []string { return append([]string{c.Name}, c.Aliases...) }

// unknown lists the systems without a chip.
func (c *chips) unknown() []string {
	var names []string
	for s := range c.missed {
		names = append(names, s)
	}
	slices.Sort(names)
	return names
}

// fallen lists the figures that fell back, by chip that was used.
func (c *chips) fallen() map[string][]string {
	out := map[string][]string{}
	for _, k := range c.found {
		out[k.Name] = k.fallen
	}
	return out
}

// plain drops what spellings of a name differ in.
func plain(name string) string {
	return strings.NewReplacer("-", "", "_", "", " ", "").Replace(strings.ToLower(name))
}

var memorySize = regexp.MustCompile(`[0-9]+gb$`)

// cutSize takes the size of the memory off a name and makes the rest plain. Separators tell where it starts: of
// h100_sxm5_80gb it is 80gb.
func cutSize(name string) (bare, size string) {
	name = strings.ToLower(name)
	at := memorySize.FindStringIndex(name)
	if at == nil {
		return plain(name), ""
	}
	return plain(name[:at[0]]), name[at[0]:]
}
