//go:build !invariants

package event

// invariants enables the internal checks of the package.
const invariants = false
