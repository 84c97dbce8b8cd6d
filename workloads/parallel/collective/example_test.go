package collective_test

import (
	"fmt"

	"maru/arch/system"
	"maru/sim/event"
	"maru/sim/fabric"
	"maru/workloads/parallel/collective"
)

// A collective among some chips, planned once and started twice in a simulation: the second time while a message between
// two of them is under way. Whatever else happens in the simulation goes on at the same time.
func Example() {
	sys, _, err := system.Load("dgx-h100", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	slice, err := sys.Slice(8, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	net := fabric.New(slice)
	reduce, err := collective.New(net, collective.Request{Kind: collective.AllReduce, Bytes: 64 << 20, Ranks: []int{0, 1, 2, 3}, Format: "bf16"})
	if err != nil {
		fmt.Println(err)
		return
	}
	send, err := collective.New(net, collective.Request{Kind: collective.Send, Bytes: 64 << 20, Ranks: []int{1, 5}})
	if err != nil {
		fmt.Println(err)
		return
	}
	sim := event.New()
	links := fabric.NewEngine(net, sim)
	sum, message := net.Prepare(&reduce.Job), net.Prepare(&send.Job)
	var began event.Time
	var done event.HandlerID
	done = sim.Register(func(now event.Time, what, round int32) error {
		if what == 1 {
			return nil // the message
		}
		fmt.Printf("all-reduce %d by %v, %s: %.0f us\n", round, reduce.Algorithm, reduce.Protocol, float64(now-began)/1e6)
		if began = now; round == 1 {
			links.Start(sum, done, 0, 2)
			links.Start(message, done, 1, 0)
		}
		return nil
	})
	links.Start(sum, done, 0, 1)
	if err := sim.Run(); err != nil {
		fmt.Println(err)
	}
	// Output:
	// all-reduce 1 by ring, simple: 327 us
	// all-reduce 2 by ring, simple: 471 us
}
