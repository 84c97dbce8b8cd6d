// Package system describes many chips that are joined by links: a node, a rack, a pod. A system is YAML like a chip is:
// figures with their sources, checked when they are read. It holds no behaviour; sim/fabric turns a description into
// links on which bytes take time.
//
// Described: one or two tiers. The inner one (scale_up) joins chips to a node, the outer one (scale_out) nodes to a
// system through their adapters. A tier is a switch, all-to-all wiring, a ring, a torus or mesh of up to three axes with
// rules for their wrap-around, a fat tree or a dragonfly. Beside them the library that moves data over the links:
// protocols with their costs and the rule by which it chooses an algorithm. Not described: hosts and their memory,
// packets, virtual channels, routing other than shortest paths, failures. Floor 1.
package system

import (
	"maru/arch/unit"
	"maru/internal/config"
)

// System is a number of equal chips and what joins them.
type System struct {
	Name     string            `yaml:"name" doc:"Name used on the command line."`
	Title    string            `yaml:"title" doc:"Full name."`
	Vendor   string            `yaml:"vendor" doc:"Maker."`
	Measured []string          `yaml:"measured,optional" doc:"SYSTEM:TOPOLOGY as measurement tables name these chips and links; * stands for any links."`
	Notes    []string          `yaml:"notes,optional" doc:"What a reader should know about these figures."`
	Sources  map[string]string `yaml:"sources,optional" doc:"Short keys for the sources that figures name."`
	Chip     string            `yaml:"chip" doc:"The chip: a name of \"maru list chips\", or a file relative to this one."`
	ScaleUp  Tier              `yaml:"scale_up" doc:"What joins the chips of a node."`
	ScaleOut *Tier             `yaml:"scale_out,optional" doc:"What joins nodes."`
	Uneven   []Uneven          `yaml:"uneven,optional" doc:"Chips that are slower than the others, or whose links are."`
	Library  Library           `yaml:"library" doc:"The communication library that runs on the system."`
	Training *Training         `yaml:"training,optional" doc:"What training frameworks do on the system, unless a plan says otherwise."`
}

// Training is what a framework does of which plans do not always speak. A plan's own words come first.
type Training struct {
	Profile   string                    `yaml:"profile,optional" doc:"Library profile that computes: one of those that --profile takes; that of the chip unless given."`
	Attention string                    `yaml:"attention" enum:"flash,standard" doc:"Kernels of attention: one, or products with a softmax between."`
	Dropout   bool                      `yaml:"dropout,optional" doc:"Models with learned positions drop activations and probabilities in training."`
	Spread    config.Figure[unit.Ratio] `yaml:"spread,optional" bound:">=0,<=0.2" doc:"Standard deviation of the speed of equal chips, of which a job that works in step waits for the slowest. None unless given."`
	Grads     string                    `yaml:"grads" enum:"fp16,fp32" doc:"Format in which gradients are kept and summed."`
	State     config.Figure[unit.Bytes] `yaml:"optimizer,optional" bound:">=0" doc:"State of the optimizer for each parameter; 12 B unless given, a copy and two momenta in fp32."`
	Apart     bool                      `yaml:"accumulate_apart,optional" doc:"A kernel of its own adds the gradients of each microbatch, and not the product that gives them."`
	Overlap   []string                  `yaml:"overlap" enum:"none,dp,pp,tp" doc:"Communication that computing hides: dp (sums of gradients), pp (transfers between stages), tp (of tensor parallelism), none."`
	Memory    *Memory                   `yaml:"memory,optional" doc:"What chips hold besides tensors; nothing unless given."`
	Shards    *Shards                   `yaml:"shards,optional" doc:"How weights that replicas share (ZeRO-3) are gathered tensor by tensor; each layer at once, from and to one buffer, unless given."`
	Source    string                    `yaml:"source" doc:"Where this is known from."`
}

// Memory is what a framework and its libraries take of a chip's memory besides tensors, and what it keeps of these longer than
// it has to.
type Memory struct {
	Context      config.Figure[unit.Bytes] `yaml:"context" bound:">=0" doc:"Context of the driver, with the kernels of all libraries."`
	Communicator config.Figure[unit.Bytes] `yaml:"communicator" bound:">=0" doc:"Buffers of one communicator."`
	Allocator    config.Figure[unit.Ratio] `yaml:"allocator" bound:">0,<=1" doc:"Share of what the allocator holds that tensors use at the peak."`
	Results      bool                      `yaml:"results,optional" doc:"Stages keep what they sent to the next until its gradient comes back."`
}

// Shards is how a framework gathers the weights that replicas share and scatters their gradients, if it does so for each
// tensor by collectives on lists of pieces, one for each replica.
type Shards struct {
	Whole   config.Figure[int64]         `yaml:"whole" bound:">=0" doc:"Elements of a tensor up to which all replicas keep all of it."`
	Piece   config.Figure[unit.Duration] `yaml:"piece" bound:">=0" doc:"Work of the host for the piece of one replica in one collective, in which chips and links wait."`
	Gather  config.Figure[unit.Ratio]    `yaml:"gather_copies" bound:">=0" doc:"How often a gathered tensor is copied from memory to memory; a fill counts half."`
	Scatter config.Figure[unit.Ratio]    `yaml:"scatter_copies" bound:">=0" doc:"The same of the gradients that are scattered."`
	Again   bool                         `yaml:"again,optional" doc:"Weights are gathered once more between what the backward pass computes again and its products."`
	Source  string                       `yaml:"source" doc:"Where this is known from."`
}

// Tier joins members, which are chips or nodes.
type Tier struct {
	Topology Topology             `yaml:"topology" doc:"How members are joined: switch, full (a link for each pair), ring, torus (axes wrap around), mesh (they do not), fat-tree, dragonfly."`
	Shape    []int64              `yaml:"shape" bound:"1..1000000" doc:"Members along each axis; of a torus or mesh up to three, of a dragonfly members of a group and groups, of all others one number."`
	Link     Link                 `yaml:"link" doc:"What a member has to its neighbours."`
	Adapters config.Figure[int64] `yaml:"adapters,optional" bound:"1..1024" doc:"Network adapters of a node, each with the links above; the chips of a node share them in equal parts. One unless given."`
	Wrap     Wrap                 `yaml:"wrap,optional" doc:"Which axes of a ring or torus close to a circle: always, whole (those that a slice uses in full), multiple (those whose length is a multiple of wrap_multiple)."`
	Multiple int64                `yaml:"wrap_multiple,optional" bound:"1..1024" doc:"Length of which an axis has to be a multiple to wrap."`
	Levels   []Level              `yaml:"levels,optional" doc:"Levels of switches of a fat tree below the topmost, from the leaves up."`
	Global   *Link                `yaml:"global,optional" doc:"Links of one member of a dragonfly to other groups."`
	Reduce   *Reduce              `yaml:"reduce,optional" doc:"Reduction and multicast in the switch."`
}

// Uneven is chips that fall behind the others, in the numbering of a slice. A link between two members has the lower share
// of the two; in a torus, a mesh or a dragonfly of nodes that of the node's slowest chip.
type Uneven struct {
	Chip    int64                     `yaml:"chip" bound:"0..1048575" doc:"The first chip concerned, as a slice numbers them."`
	Count   int64                     `yaml:"count,optional" bound:"1..1048576" doc:"How many follow each other. One unless given."`
	Up      config.Figure[unit.Ratio] `yaml:"scale_up,optional" bound:">0,<=1" doc:"Share of the rate that their links within a node have. All unless given."`
	Out     config.Figure[unit.Ratio] `yaml:"scale_out,optional" bound:">0,<=1" doc:"The same of their adapters."`
	Compute config.Figure[unit.Ratio] `yaml:"compute,optional" bound:">0,<=1" doc:"Share of the speed at which they compute. All unless given."`
}

// Link is one direction of what joins a member to a neighbour, or to the switch.
type Link struct {
	Bandwidth config.Figure[unit.Bandwidth] `yaml:"bandwidth" bound:">0" doc:"Peak of one link in one direction; sums of both directions count twice."`
	Count     config.Figure[int64]          `yaml:"count" bound:"1..100000" doc:"Parallel links: of a chip to the switch, to each neighbour of a ring, torus or full wiring, of one adapter."`
	Sustained config.Figure[unit.Ratio]     `yaml:"sustained" bound:">0,<=1" doc:"Share of the peak that long transfers reach."`
	Latency   config.Figure[unit.Duration]  `yaml:"latency" bound:">=0" doc:"Time of a byte from one member to the next, through the switch between them."`
	Message   config.Figure[unit.Duration]  `yaml:"message,optional" bound:">=0" doc:"Cost of each message besides; none unless given."`
}

// Rate is what all parallel links carry in one direction in long transfers, in bytes per second.
func (l *Link) Rate() float64 {
	return float64(l.Bandwidth.Value) * float64(l.Count.Value) * float64(l.Sustained.Value)
}

// Level is a level of switches in a fat tree.
type Level struct {
	Members          int64                        `yaml:"members" bound:"1..1000000" doc:"Members below one switch of the level, or switches of the level below."`
	Oversubscription config.Figure[unit.Ratio]    `yaml:"oversubscription" bound:">=1" doc:"Bandwidth down over bandwidth up."`
	Latency          config.Figure[unit.Duration] `yaml:"latency" bound:">=0" doc:"Time that a path over the level above takes more."`
}

// Reduce is arithmetic in the switch.
type Reduce struct {
	Sustained config.Figure[unit.Ratio]    `yaml:"sustained" bound:">0,<=1" doc:"Share of the link's sustained rate that reductions and multicasts reach."`
	Latency   config.Figure[unit.Duration] `yaml:"latency" bound:">=0" doc:"Time that a reduction takes besides its transfers."`
	Formats   []string                     `yaml:"formats" doc:"Number formats that the switch adds."`
}

// Library is how data is moved: by which kernels, in which protocols, in which order.
type Library struct {
	Name       string                        `yaml:"name" doc:"Name of the library."`
	Choice     Choice                        `yaml:"choice" doc:"How it chooses algorithm and protocol: table (by the costs that NCCL publishes in its source), fastest (the least time)."`
	Algorithms []Algorithm                   `yaml:"algorithms" doc:"Algorithms that it has."`
	Launch     config.Figure[unit.Duration]  `yaml:"launch" bound:">=0" doc:"Time from one collective to the first step of the next, which follows it in a stream."`
	Channels   config.Figure[int64]          `yaml:"channels" bound:"1..1024" doc:"Cores or engines of a chip that move data."`
	Channel    config.Figure[unit.Bandwidth] `yaml:"channel" bound:">0" doc:"Bytes that one of them moves, in the protocol with the least overhead."`
	Low        *Protocol                     `yaml:"ll,optional" doc:"Low-latency protocol: a flag beside every few bytes."`
	Line       *Protocol                     `yaml:"ll128,optional" doc:"The same with a flag for each line of 128 bytes."`
	Bulk       Protocol                      `yaml:"simple" doc:"Bulk protocol: a flag for each slice of a chunk, behind a fence."`
	Table      *Table                        `yaml:"table,optional" doc:"Figures of the library's own cost table."`
	Exchange   *Exchange                     `yaml:"exchange,optional" doc:"How messages between pairs are moved (all-to-all, send); over all channels at once unless given."`
	OneShot    *Reads                        `yaml:"one_shot,optional" doc:"Kernels of inference engines in which every chip reads the data of all others."`
}

// Exchange is how messages between pairs share the channels.
type Exchange struct {
	Channels config.Figure[int64]      `yaml:"channels" bound:"1..1024" doc:"Channels, of which each peer gets an equal part, the chip itself among them."`
	Part     config.Figure[unit.Bytes] `yaml:"part" bound:">0" doc:"Bytes of a message below which it takes no further channel."`
	Slice    config.Figure[unit.Bytes] `yaml:"slice" bound:">0" doc:"Longest slice that the bulk protocol sends at once; the receiver takes the last one when it has arrived."`
	Share    config.Figure[unit.Ratio] `yaml:"share" bound:">0,<=1" doc:"Share of the links' sustained rate that messages of many peers reach together, which do not keep step as those of a ring do."`
}

// Reads is the kernel of an engine that reads what all others have.
type Reads struct {
	Hop   config.Figure[unit.Duration] `yaml:"hop" bound:">=0" doc:"Time until a chip knows that all others have their data ready, besides the latency of the links."`
	Share config.Figure[unit.Ratio]    `yaml:"share" bound:">0,<=1" doc:"Share of the links' sustained rate that its reads reach."`
}

// Protocol is a way to tell the receiver that data has arrived.
type Protocol struct {
	Hop     config.Figure[unit.Duration] `yaml:"hop" bound:">=0" doc:"Time of one step besides its transfer and the latency of the links."`
	Network config.Figure[unit.Duration] `yaml:"network,optional" bound:">=0" doc:"The same of a step between nodes; that of all others unless given."`
	Format  config.Figure[unit.Ratio]    `yaml:"format" bound:">0,<=1" doc:"Data over data with flags."`
	Share   config.Figure[unit.Ratio]    `yaml:"share,optional" bound:">0,<=1" doc:"Share of the links' sustained rate that data reaches; that of the format unless given."`
	Least   config.Figure[unit.Bytes]    `yaml:"least,optional" bound:">0" doc:"Bytes of a collective below which it takes no further channel; all channels unless given."`
	Ranks   bool                         `yaml:"least_of_rank,optional" doc:"Whether these bytes count for each rank of a ring."`
	Most    config.Figure[unit.Bytes]    `yaml:"most,optional" bound:">0" doc:"Longest message to one peer that uses the protocol outside of rings and trees; no limit unless given."`
	Each    bool                         `yaml:"most_of_channel,optional" doc:"Whether these bytes count for each channel of that peer."`
}

// Table holds what NCCL's cost table (src/graph/tuning.cc) has for a generation of chips.
type Table struct {
	Low  config.Figure[unit.Bandwidth] `yaml:"ll_bandwidth" bound:">0" doc:"Most that the low-latency protocol is taken to move in one node."`
	Line config.Figure[unit.Bandwidth] `yaml:"ll128_channel" bound:">0" doc:"Most that a channel is taken to move in the protocol of 128-byte lines."`
	Tree config.Figure[unit.Bandwidth] `yaml:"tree_channel" bound:">0" doc:"Most that a channel is taken to move in a tree."`
	Node config.Figure[unit.Bandwidth] `yaml:"node,optional" bound:">0" doc:"Sustained rate of a chip's links within a node for which the table was tuned: faster ones change nothing of the choice. No limit unless given."`
	Net  config.Figure[unit.Bandwidth] `yaml:"net,optional" bound:">0" doc:"The same of a node's adapters together."`
}

// Chips is the number of chips of the whole system.
func (s *System) Chips() int64 {
	n := s.Node()
	if s.ScaleOut != nil {
		n *= s.ScaleOut.Members()
	}
	return n
}

// Paces are the shares of the usual rates that the first n chips have: of links within a node, of adapters, of computing.
func (s *System) Paces(n int) (up, out, compute []float64) {
	lists := [3][]float64{}
	for k := range lists {
		lists[k] = make([]float64, n)
		for i := range lists[k] {
			lists[k][i] = 1
		}
	}
	for _, u := range s.Uneven {
		for i := int(u.Chip); i < min(n, int(u.Chip+u.Count)); i++ {
			for k, f := range []config.Figure[unit.Ratio]{u.Up, u.Out, u.Compute} {
				lists[k][i] = min(lists[k][i], float64(f.Value))
			}
		}
	}
	return lists[0], lists[1], lists[2]
}

// Node is the number of chips that the inner tier joins.
func (s *System) Node() int64 { return s.ScaleUp.Members() }

// Members is the number of members of a tier.
func (t *Tier) Members() int64 {
	n := int64(1)
	for _, k := range t.Shape {
		n *= k
	}
	return n
}

// Figures lists the figures of a system.
func (s *System) Figures() []config.NamedFigure { return config.Figures(s) }
