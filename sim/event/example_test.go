package event_test

import (
	"fmt"

	"maru/sim/event"
)

// Two requesters share a memory channel; each asks for its next block when the
// one before has arrived.
func Example() {
	sim := event.New()
	channel, err := event.NewServer(1e12) // 1 byte per picosecond
	if err != nil {
		fmt.Println(err)
		return
	}
	pipe, err := event.NewPipe(400*event.Nanosecond, channel)
	if err != nil {
		fmt.Println(err)
		return
	}
	const block = 64 << 10

	var arrived event.HandlerID
	arrived = sim.Register(func(now event.Time, requester, left int32) error {
		fmt.Printf("%7d ps: requester %d, %d blocks left\n", now, requester, left)
		if left == 0 {
			return nil
		}
		_, arrival, err := pipe.Send(now, block)
		if err != nil {
			return err
		}
		sim.At(arrival, arrived, requester, left-1)
		return nil
	})
	sim.At(0, arrived, 1, 2)
	sim.At(0, arrived, 2, 1)
	if err := sim.Run(); err != nil {
		fmt.Println(err)
	}
	fmt.Println(sim.Handled(), "events")
	// Output:
	//       0 ps: requester 1, 2 blocks left
	//       0 ps: requester 2, 1 blocks left
	//  465536 ps: requester 1, 1 blocks left
	//  531072 ps: requester 2, 0 blocks left
	//  931072 ps: requester 1, 0 blocks left
	// 5 events
}
