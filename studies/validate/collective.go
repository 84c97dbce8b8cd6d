package validate

import (
	"fmt"
	"slices"
	"strings"

	"maru/arch/system"
	"maru/internal/config"
	"maru/sim/fabric"
	"maru/studies/run"
	"maru/workloads/parallel/collective"
)

// systems finds systems by the chips and links that tables name, and cuts each for every number of chips once.
type systems struct {
	sets  map[string][]string // by system, those whose section it has
	names map[string]string   // by SYSTEM:TOPOLOGY
	nets  map[string]*fabric.Net
	bad   error // of the options
}

func newSystems(sets []string) (*systems, error) {
	s := &systems{sets: map[string][]string{}, names: map[string]string{}, nets: map[string]*fabric.Net{}}
	docs := map[string]*config.Doc{}
	for _, name := range system.Names() {
		sys, doc, err := system.Load(name, nil)
		if err != nil {
			return nil, err
		}
		for _, m := range sys.Measured {
			s.names[measured(m)] = name
		}
		docs[name] = doc
	}
	for _, set := range sets {
		path, _, _ := strings.Cut(set, "=")
		section := path[:max(0, strings.LastIndexByte(path, '.'))]
		has := func(name string) bool { return docs[name].Has(section) }
		known := slices.ContainsFunc(system.Names(), has)
		for _, name := range system.Names() {
			if has(name) || !known {
				s.sets[name] = append(s.sets[name], set)
			}
		}
	}
	return s, nil
}

// measured drops what spellings of chips and links differ in.
func measured(text string) string {
	chip, links, _ := strings.Cut(text, ":")
	return plain(chip) + ":" + plain(links)
}

// net returns the links between some chips of the system that a table means by SYSTEM:TOPOLOGY, nil if there is none.
func (s *systems) net(what string, ranks, nodes int) (*fabric.Net, error) {
	name := s.names[measured(what)]
	if name == "" {
		chip, _, _ := strings.Cut(what, ":")
		name = s.names[measured(chip+":*")] // however its links are called
	}
	if name == "" {
		return nil, nil
	}
	key := fmt.Sprintf("%s %d %d", name, ranks, nodes)
	if net, ok := s.nets[key]; ok {
		return net, nil
	}
	sys, _, err := system.Load(name, s.sets[name])
	if err != nil {
		if s.bad == nil {
			s.bad = fmt.Errorf("%s with changed figures: %w", name, err)
		}
		return nil, err
	}
	chips := ranks
	if nodes > 1 {
		chips = nodes * int(sys.Node())
	}
	slice, err := sys.Slice(chips, nil)
	if err != nil {
		return nil, err
	}
	s.nets[key] = fabric.New(slice)
	return s.nets[key], nil
}

// among returns the links between some chips of the system that smallest names, nil if there is none.
func (s *systems) among(chip string, ranks int) (*fabric.Net, error) {
	found, err := s.smallest(chip, ranks)
	if found == "" || err != nil {
		return nil, err
	}
	sys, _, err := system.Load(found, s.sets[found])
	if err != nil {
		return nil, err
	}
	slice, err := sys.Slice(ranks, nil)
	if err != nil {
		return nil, err
	}
	return fabric.New(slice), nil
}

// smallest names the system that has just so many of a chip in a node, or otherwise the first that has more, "" if there is
// none.
func (s *systems) smallest(chip string, ranks int) (string, error) {
	found := ""
	for _, name := range system.Names() {
		sys, _, err := system.Load(name, nil)
		if err != nil {
			return "", err
		}
		switch {
		case sys.Chip != chip || sys.Node() < int64(ranks):
		case sys.Chips() == int64(ranks):
			found = name
		case found == "":
			found = name
		}
	}
	return found, nil
}

// splitSets tells figures of systems from those of chips.
func splitSets(sets []string) (ofChips, ofSystems []string) {
	for _, set := range sets {
		if strings.HasPrefix(set, "scale_") || strings.HasPrefix(set, "library.") {
			ofSystems = append(ofSystems, set)
		} else {
			ofChips = append(ofChips, set)
		}
	}
	return ofChips, ofSystems
}

// collective is a row of one collective among chips that do nothing else.
func (v *validation) collective(_ *Harness, _ *chip, r *record) (job, error) {
	h := v.harness(r.table.Name, r)
	if h == nil {
		return job{}, fmt.Errorf("no harness describes source %q", r.row.Source)
	}
	r.row.Harness = h.Name
	names := map[string]collective.Kind{"all_reduce": collective.AllReduce, "all_gather": collective.AllGather, "reduce_scatter": collective.ReduceScatter,
		"alltoall": collective.AllToAll, "broadcast": collective.Broadcast, "send_recv": collective.Send}
	word := r.word("kind", "all_reduce", "all_gather", "reduce_scatter", "alltoall", "broadcast", "send_recv")
	kind := names[word]
	algo, topology := r.word("algo"), r.word("topology")
	ranks, nodes := r.count("ranks", 2), r.count("nodes", 1)
	bytes := int64(r.positive("bytes"))
	r.measured()
	r.row.Variant = fmt.Sprintf("%s %d", word, ranks)
	r.row.Size = decade(bytes)
	if len(r.errs) > 0 {
		return job{}, nil
	}
	at := r.row.System + ":" + topology
	if meant, ok := h.Systems[at]; ok {
		at = meant
	}
	if h.Least.IsSet() && bytes < int64(h.Least.Value) {
		r.row.Apart, r.row.Reason = true, fmt.Sprintf("below the %v from which rows of %s count", h.Least, h.Name)
	}
	net, err := v.systems.net(at, int(ranks), int(nodes))
	if err != nil {
		return job{}, err
	}
	if net == nil {
		return job{}, skip(fmt.Sprintf("no system has %s by %s", r.row.System, topology))
	}
	req := collective.Request{Kind: kind, Bytes: bytes, Format: r.row.DType}
	if nodes > 1 {
		// As many chips of each node.
		for i := range int(ranks) {
			per := int(ranks / nodes)
			req.Ranks = append(req.Ranks, i/per*net.Node()+i%per)
		}
	}
	own := algo != "nccl"
	if own {
		most, known := h.OneShot[fmt.Sprint(ranks)]
		if !known || kind != collective.AllReduce {
			return job{}, skip(fmt.Sprintf("%v of %s among %d chips is not described", kind, algo, ranks))
		}
		if own = bytes <= int64(most.Value); own {
			req.Algorithm = system.OneShot.String()
		}
	}
	us, err := alone(net, req)
	if err != nil {
		return job{}, err
	}
	c, err := v.chips.find(net.Slice.System.Chip)
	switch {
	case err != nil:
		return job{}, err
	case c == nil:
	case own:
		// A kernel of a graph instead of one that the library queues, which reads its operand and writes its result.
		us += float64(c.Launch.Graph.Value-net.Slice.System.Library.Launch.Value+c.Cores.Start.Value.At(c.Clock.Max.Value)+2*c.Memory.DRAM.Latency.Value) / 1e6
	case h.Launch == "none":
		us -= float64(c.Launch.Stream.Value) / 1e6 // a profiler does not count the gap ahead of a kernel
	}
	bound, err := collective.Bound(net, req)
	if err != nil {
		return job{}, err
	}
	return job{
		key: fmt.Sprintf("%s:%d", r.row.File, r.row.Line),
		read: func(*run.Brief) prediction {
			return prediction{us: us, bound: float64(bound) / 1e6, bytes: float64(bytes)}
		},
	}, nil
}

// decade names the power of ten that a number of bytes is in.
func decade(bytes int64) string {
	units := []string{"B", "kB", "MB", "GB", "TB"}
	low := int64(1)
	for i := 0; ; i++ {
		if bytes < low*10 || i == 3*len(units)-1 {
			unit := units[i/3]
			size := []int{1, 10, 100}[i%3]
			return fmt.Sprintf("%d %s and more", size, unit)
		}
		low *= 10
	}
}
