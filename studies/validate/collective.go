package validate

import (
	"fmt"
	"strings"

	"maru/arch/system"
	"maru/sim/fabric"
	"maru/studies/run"
	"maru/workloads/parallel/collective"
)

// systems finds systems by the chips and links that tables name, and cuts each for every number of chips once.
type systems struct {
	names  map[string]string // by SYSTEM:TOPOLOGY
	loaded map[string]*system.System
	nets   map[string]*fabric.Net
}

func newSystems(sets []string) (*systems, error) {
	s := &systems{names: map[string]string{}, loaded: map[string]*system.System{}, nets: map[string]*fabric.Net{}}
	for _, name := range system.Names() {
		sys, _, err := system.Load(name, sets)
		if err != nil {
			return nil, err
		}
		s.loaded[name] = sys
		for _, m := range sys.Measured {
			s.names[measured(m)] = name
		}
	}
	return s, nil
}

// measured drops what spellings of chips and links differ in.
func measured(text string) string {
	chip, links, _ := strings.Cut(text, ":")
	return plain(chip) + ":" + plain(links)
}

// net returns the links between some chips of the system that a table means, nil if there is none.
func (s *systems) net(chip, topology string, ranks, nodes int) (*fabric.Net, error) {
	name := s.names[measured(chip+":"+topology)]
	if name == "" {
		name = s.names[measured(chip+":*")] // however its links are called
	}
	if name == "" {
		return nil, nil
	}
	key := fmt.Sprintf("%s %d %d", name, ranks, nodes)
	if net, ok := s.nets[key]; ok {
		return net, nil
	}
	sys := s.loaded[name]
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
	kind := r.word("kind", "all_reduce", "all_gather", "reduce_scatter", "alltoall", "broadcast", "send_recv")
	algo, topology := r.word("algo"), r.word("topology")
	ranks, nodes := r.count("ranks", 2), r.count("nodes", 1)
	bytes := int64(r.positive("bytes"))
	r.measured()
	r.row.Variant = fmt.Sprintf("%s %d", kind, ranks)
	r.row.Size = decade(bytes)
	if len(r.errs) > 0 {
		return job{}, nil
	}
	if algo != "nccl" {
		return job{}, skip("all-reduce kernels of frameworks are not predicted")
	}
	net, err := v.systems.net(r.row.System, topology, int(ranks), int(nodes))
	if err != nil {
		return job{}, err
	}
	if net == nil {
		return job{}, skip(fmt.Sprintf("no system has %s by %s", r.row.System, topology))
	}
	req := collective.Request{Kind: names[kind], Bytes: bytes, Format: r.row.DType}
	if nodes > 1 {
		// As many chips of each node.
		for i := range int(ranks) {
			per := int(ranks / nodes)
			req.Ranks = append(req.Ranks, i/per*net.Node()+i%per)
		}
	}
	plan, err := collective.New(net, req)
	if err != nil {
		return job{}, err
	}
	us := float64(net.Prepare(&plan.Job).Alone()) / 1e6
	return job{
		key:  fmt.Sprintf("%s:%d", r.row.File, r.row.Line),
		read: func(*run.Brief) prediction { return prediction{us: us, bytes: float64(bytes)} },
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
