package compile

import "slices"

// sortDown sorts from the largest.
func sortDown(v []int64) {
	slices.Sort(v)
	slices.Reverse(v)
}
