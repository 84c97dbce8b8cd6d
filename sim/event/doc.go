// Package event is the discrete-event kernel: simulated time, an exactly
// ordered event queue, clocks, and the resources that simulated parts share.
//
// # What is modelled
//
//   - Time is a whole number of picoseconds. Events are handled in the order of
//     (time, sequence): earlier times first, and among equal times the event
//     that was scheduled first. The order does not depend on the processor, the
//     run, or what was cancelled in between.
//   - [Clock] places edge n at floor(n·10¹²/f) ps, so that no edge drifts.
//   - [Server] and [Pipe] reserve a rate and a latency; the remainder of every
//     division is carried, so that n transfers of b units end at
//     ceil(n·b·10¹²/rate) ps exactly.
//   - [Pool] is a counted resource with a real capacity and a fair queue.
//   - [Slots] holds what events refer to, under numbers that are used again.
//   - [Ledger] accounts every picosecond of a unit as busy or as stalled on a
//     named cause.
//
// # What is not modelled
//
// The kernel knows nothing of chips, tiles or networks. Fair sharing of one
// server among several requests in flight is left to the parts built on it: a
// Server is first come, first served. There is no concurrency: one [Sim] and all
// that is attached to it belong to one goroutine. Many simulations may run at
// the same time, each on its own Sim.
//
// # Floor
//
// Floor 0: the package imports only the standard library.
//
// # Checks
//
// Built with the tag invariants, the kernel checks the order of the events it
// hands out, the place of every event it holds, the capacity of pools and the
// sums of ledgers as it goes, and panics if one of them is wrong.
package event
