// Package lint holds the rules of the source tree that no compiler checks: who
// may import whom, where text may be printed and the time of day read, which
// floating-point functions may touch a result, how files look. The rules are
// tests; the package has no code of its own. It checks text and syntax, not
// types. Floor 0.
package lint
