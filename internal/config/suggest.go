package config

import "strings"

// Suggest returns the candidate that was probably meant by word, or the empty string if none is close. Case, hyphens,
// underscores and spaces do not count; otherwise a third of the characters may be wrong, where a swap of two neighbours
// counts once. Of equally close candidates the first wins.
func Suggest(word string, candidates []string) string {
	const longest = 64
	w := fold(word)
	if len(w) == 0 || len(w) > longest {
		return ""
	}
	best, bestDistance := "", -1
	for _, c := range candidates {
		f := fold(c)
		if len(f) > longest {
			continue
		}
		d := distance(w, f)
		if d <= max(len(w), len(f))/3 && (bestDistance < 0 || d < bestDistance) {
			best, bestDistance = c, d
		}
	}
	return best
}

// fold maps spellings of a name that differ only in case and separators to one.
func fold(s string) string {
	if len(s) > 256 {
		return s
	}
	return strings.NewReplacer("-", "", "_", "", " ", "").Replace(strings.ToLower(s))
}

// distance returns the number of insertions, deletions, substitutions and swaps of neighbours between two texts (optimal
// string alignment, in bytes).
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			same := 1
			if a[i-1] == b[j-1] {
				same = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+same)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
