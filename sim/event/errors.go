package event

import "errors"

// Reasons for the errors of this package; test for them with [errors.Is].
var (
	// ErrPast reports a time before one that was reached already, or a negative
	// span of time.
	ErrPast = errors.New("time is in the past")
	// ErrOverflow reports a time past [Forever].
	ErrOverflow = errors.New("time is past the end of time")
	// ErrHandler reports a handler that is nil or not registered.
	ErrHandler = errors.New("no such handler")
	// ErrRunning reports a call that a handler must not make.
	ErrRunning = errors.New("called from a handler")
	// ErrValue reports a frequency, rate, capacity or amount out of its range.
	ErrValue = errors.New("value is out of range")
	// ErrGrant reports a grant that is not held: not yet, or not any more.
	ErrGrant = errors.New("grant is not held")
	// ErrName reports a unit or cause that is not registered, a name that is
	// taken, or an empty name.
	ErrName = errors.New("unknown, empty or duplicate name")
	// ErrGap reports accounted intervals that overlap or leave a gap.
	ErrGap = errors.New("accounted time has a gap or an overlap")
)
