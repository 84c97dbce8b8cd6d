package event

// Slots holds values that come and go under numbers, which events can carry. The
// number that was given back last is taken first, so that equal simulations use
// equal numbers. The zero Slots is empty.
type Slots[T any] struct {
	values []T
	free   []int32
}

// Add puts a value in a free slot, and returns its number.
func (s *Slots[T]) Add(v T) int32 {
	n := len(s.free)
	if n == 0 {
		s.values = append(s.values, v)
		return int32(len(s.values) - 1)
	}
	i := s.free[n-1]
	s.free = s.free[:n-1]
	s.values[i] = v
	return i
}

// At returns the value of a slot, which stays in place until the next Add.
func (s *Slots[T]) At(i int32) *T { return &s.values[i] }

// Free gives a slot back. Its value stays until the slot is taken again.
func (s *Slots[T]) Free(i int32) { s.free = append(s.free, i) }
