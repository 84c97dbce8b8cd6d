package event

import "fmt"

// Server is a resource that serves one request after another at a rate, in the
// order in which they arrive: a memory channel, a link, an arithmetic unit. It
// carries the remainder of every division: n requests of b units that keep it
// busy from time 0 end at ceil(n·b·10¹²/rate) ps exactly. Create one with
// [NewServer].
//
// A request that arrives in the picosecond in which the server becomes free
// continues the work without a gap. Its end is then counted from the exact,
// fractional, end of the work before, less than 1 ps earlier.
type Server struct {
	rate uint64
	free Time   // the work accepted ends at free + rest/rate ps
	rest uint64 // below rate
	last Time   // latest arrival
}

// NewServer returns an idle server with a rate in units per second, or
// [ErrValue] unless the rate is positive.
func NewServer(rate int64) (*Server, error) {
	if rate <= 0 {
		return nil, fmt.Errorf("rate %d per second: %w", rate, ErrValue)
	}
	return &Server{rate: uint64(rate)}, nil
}

// Rate returns the rate in units per second.
func (s *Server) Rate() int64 { return int64(s.rate) }

// SetRate changes the rate to a number of units per second, for the requests to
// come: work that was accepted keeps its times. The fraction of a picosecond that
// is carried is rounded up to what the new rate can express. SetRate returns
// [ErrValue] unless the rate is positive.
func (s *Server) SetRate(rate int64) error {
	if rate <= 0 {
		return fmt.Errorf("rate %d per second: %w", rate, ErrValue)
	}
	// rest < s.rate, so the quotient is at most rate.
	s.rest, _, _ = mulDiv(s.rest, uint64(rate), s.rate-1, s.rate)
	s.rate = uint64(rate)
	if s.rest == s.rate {
		s.free, s.rest = s.free+1, 0
	}
	return nil
}

// Serve accepts a request for an amount of units that arrives at the time at, and
// returns from when to when the server works on it. Successive requests never
// overlap; they abut while the server is busy.
//
// It returns [ErrPast] if at is before the arrival of an earlier request,
// [ErrValue] if the amount is negative, and [ErrOverflow] if the work would end
// past [Forever]; the server is then unchanged.
func (s *Server) Serve(at Time, amount int64) (start, end Time, err error) {
	if at < s.last {
		return 0, 0, fmt.Errorf("request at %v after one at %v: %w", at, s.last, ErrPast)
	}
	if amount < 0 {
		return 0, 0, fmt.Errorf("request of %d units: %w", amount, ErrValue)
	}
	start = s.Free()
	free, rest := s.free, s.rest
	if at > start {
		start, free, rest = at, at, 0
	}
	quo, rest, ok := mulDiv(uint64(amount), psPerSecond, rest, s.rate)
	if ok {
		free, ok = later(free, quo)
	}
	if !ok || free == Forever && rest > 0 {
		return 0, 0, fmt.Errorf("request of %d units at %v: %w", amount, at, ErrOverflow)
	}
	s.last, s.free, s.rest = at, free, rest
	return start, s.Free(), nil
}

// Free returns the time at which the work accepted so far ends.
func (s *Server) Free() Time {
	if s.rest > 0 {
		return s.free + 1
	}
	return s.free
}

// Backlog returns the state of the server relative to the time at: for how long
// it stays busy, and what part of the last picosecond of that time is used, in
// units of 1/rate ps (0 when all of it is, or when the server was idle before).
// Servers of the same rate and backlog serve the same requests from then on in
// the same times.
func (s *Server) Backlog(at Time) (wait Time, part int64) {
	free := s.Free()
	if at > free {
		return 0, 0
	}
	return free - at, int64(s.rest)
}

// Reset makes the server idle at the time 0. It keeps the rate.
func (s *Server) Reset() { *s = Server{rate: s.rate} }

// Pipe delays what is sent through it by a fixed latency, in order, after an
// optional [Server] has let it in at its rate. Any number of transfers are in
// the pipe at a time. Create one with [NewPipe].
type Pipe struct {
	latency Time
	server  *Server
	last    Time // latest sending
}

// NewPipe returns a pipe with a latency. Several pipes may share a server; if it
// is nil, the rate is unlimited. A negative latency is [ErrValue].
func NewPipe(latency Time, server *Server) (*Pipe, error) {
	if latency < 0 {
		return nil, fmt.Errorf("latency %v: %w", latency, ErrValue)
	}
	return &Pipe{latency: latency, server: server}, nil
}

// Latency returns the latency.
func (p *Pipe) Latency() Time { return p.latency }

// Send sends an amount of units at the time at. It returns when the last of them
// has entered the pipe, and when it arrives at the other end. Arrivals are in the
// order of sending. Errors are those of [Server.Serve], also without a server;
// after an error nothing was sent.
func (p *Pipe) Send(at Time, amount int64) (sent, arrival Time, err error) {
	if at < p.last {
		return 0, 0, fmt.Errorf("sending at %v after %v: %w", at, p.last, ErrPast)
	}
	if amount < 0 {
		return 0, 0, fmt.Errorf("sending of %d units: %w", amount, ErrValue)
	}
	sent = at
	var before Server
	if p.server != nil {
		before = *p.server
		if _, sent, err = p.server.Serve(at, amount); err != nil {
			return 0, 0, err
		}
	}
	arrival, ok := later(sent, uint64(p.latency))
	if !ok {
		if p.server != nil {
			*p.server = before
		}
		return 0, 0, fmt.Errorf("sending of %d units at %v: %w", amount, at, ErrOverflow)
	}
	p.last = at
	return sent, arrival, nil
}

// Reset empties the pipe and returns it to the time 0. Its server is reset by
// itself.
func (p *Pipe) Reset() { p.last = 0 }
