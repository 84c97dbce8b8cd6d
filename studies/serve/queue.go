package serve

// wait is how long a customer waits on average for one of c servers, each of which takes the time s for one, when customers
// come at random at a rate, in seconds: half of what it would be with exponential service (M/D/c from M/M/c as Cosmetatos
// 1975, Operational Research Quarterly 26, has it in the leading order; exact for c = 1, where it is Pollaczek and
// Khinchine's). ok is false if the servers cannot keep up.
func wait(rate, s float64, c int) (seconds float64, ok bool) {
	load := float64(rate * s)
	if load >= float64(c) {
		return 0, false
	}
	// Erlang's loss formula, server by server.
	lost := 1.0
	for k := 1; k <= c; k++ {
		lost = load * lost / (float64(k) + float64(load*lost))
	}
	share := load / float64(c)
	waits := lost / (1 - float64(share*(1-lost))) // Erlang C: who has to wait
	seconds = waits * s / (float64(c) - load) / 2
	if seconds < 1e-12 {
		seconds = 0 // less than any clock tells
	}
	return seconds, true
}
