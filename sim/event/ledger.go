package event

import (
	"errors"
	"fmt"
)

// Cause is what a unit does in a span of time: it is busy, or stalled on one of
// the causes registered with a [Ledger].
type Cause int32

// Busy is the cause of time in which a unit works. Every ledger has it.
const Busy Cause = 0

// Unit names a unit of one [Ledger].
type Unit int32

// Ledger accounts the time of units, from a common start, as busy or stalled.
// The accounted intervals of a unit follow one another without gap or overlap,
// so that its times sum up exactly to what elapsed. Create one with [NewLedger].
type Ledger struct {
	start  Time
	causes []string
	units  []unit
	index  map[string]Cause
	named  map[string]Unit
}

type unit struct {
	name  string
	until Time   // accounted up to here
	spent []Time // by cause
}

// NewLedger returns a ledger without units that accounts from the time start on.
func NewLedger(start Time) *Ledger {
	return &Ledger{
		start:  start,
		causes: []string{"busy"},
		index:  map[string]Cause{"busy": Busy},
		named:  map[string]Unit{},
	}
}

// AddCause returns the cause with a name, and registers it first if it is new.
// Causes are numbered from 1 in the order of their registration. An empty name
// is [ErrName].
func (l *Ledger) AddCause(name string) (Cause, error) {
	if name == "" {
		return 0, fmt.Errorf("cause: %w", ErrName)
	}
	c, ok := l.index[name]
	if !ok {
		c = Cause(len(l.causes))
		l.causes = append(l.causes, name)
		l.index[name] = c
		for i := range l.units {
			l.units[i].spent = append(l.units[i].spent, 0)
		}
	}
	return c, nil
}

// AddUnit registers a unit, of which nothing is accounted yet. Units are numbered
// from 0. An empty name, or one that is taken, is [ErrName].
func (l *Ledger) AddUnit(name string) (Unit, error) {
	if _, ok := l.named[name]; ok || name == "" {
		return 0, fmt.Errorf("unit %q: %w", name, ErrName)
	}
	u := Unit(len(l.units))
	l.units = append(l.units, unit{name: name, until: l.start, spent: make([]Time, len(l.causes))})
	l.named[name] = u
	return u, nil
}

// Account accounts the time from from to to of unit u to cause c. It returns
// [ErrName] if u or c is not registered, [ErrPast] if to is before from, and
// [ErrGap] unless from is where the accounted time of the unit ends; nothing is
// accounted then.
func (l *Ledger) Account(u Unit, c Cause, from, to Time) error {
	if err := l.known(u, c); err != nil {
		return err
	}
	r := &l.units[u]
	if from != r.until {
		return fmt.Errorf("unit %s: account from %v, last to %v: %w", r.name, from, r.until, ErrGap)
	}
	if to < from {
		return fmt.Errorf("unit %s: account from %v to %v: %w", r.name, from, to, ErrPast)
	}
	r.spent[c] += to - from
	r.until = to
	if invariants {
		if err := l.verify(r); err != nil {
			panic("event: " + err.Error())
		}
	}
	return nil
}

// Fill accounts the time of unit u that is not accounted yet, up to to, to cause
// c. It returns [ErrName] if u or c is not registered, and [ErrPast] if time
// after to is accounted already.
func (l *Ledger) Fill(u Unit, c Cause, to Time) error {
	if err := l.known(u, c); err != nil {
		return err
	}
	return l.Account(u, c, l.units[u].until, to)
}

func (l *Ledger) known(u Unit, c Cause) error {
	if uint32(u) >= uint32(len(l.units)) {
		return fmt.Errorf("unit %d of %d: %w", u, len(l.units), ErrName)
	}
	if uint32(c) >= uint32(len(l.causes)) {
		return fmt.Errorf("unit %s: cause %d of %d: %w", l.units[u].name, c, len(l.causes), ErrName)
	}
	return nil
}

// Verify checks that the time of every unit is accounted exactly up to end: that
// its times are not negative and sum up to the time elapsed since the start. It
// returns [ErrGap] for all units of which that is not true.
func (l *Ledger) Verify(end Time) error {
	var errs []error
	for i := range l.units {
		u := &l.units[i]
		if err := l.verify(u); err != nil {
			errs = append(errs, err)
		} else if u.until != end {
			errs = append(errs, fmt.Errorf("unit %s: accounted to %v, not to %v: %w", u.name, u.until, end, ErrGap))
		}
	}
	return errors.Join(errs...)
}

// verify checks the sum of one unit.
func (l *Ledger) verify(u *unit) error {
	elapsed := u.until - l.start
	rest := elapsed
	for c, t := range u.spent {
		if t < 0 || t > rest {
			return fmt.Errorf("unit %s: %v on %s, of %v left: %w", u.name, t, l.causes[c], rest, ErrGap)
		}
		rest -= t
	}
	if rest != 0 {
		return fmt.Errorf("unit %s: %v of %v on no cause: %w", u.name, rest, elapsed, ErrGap)
	}
	return nil
}

// Causes returns the number of causes, [Busy] included.
func (l *Ledger) Causes() int { return len(l.causes) }

// Units returns the number of units.
func (l *Ledger) Units() int { return len(l.units) }

// CauseName returns the name of a registered cause; that of [Busy] is "busy".
func (l *Ledger) CauseName(c Cause) string { return l.causes[c] }

// UnitName returns the name of a registered unit.
func (l *Ledger) UnitName(u Unit) string { return l.units[u].name }

// Spent returns the time of a registered unit accounted to a registered cause.
func (l *Ledger) Spent(u Unit, c Cause) Time { return l.units[u].spent[c] }

// Until returns the time up to which a registered unit is accounted.
func (l *Ledger) Until(u Unit) Time { return l.units[u].until }

// Reset forgets all accounted time and begins again at the time start. It keeps
// units and causes.
func (l *Ledger) Reset(start Time) {
	l.start = start
	for i := range l.units {
		l.units[i].until = start
		clear(l.units[i].spent)
	}
}
