// Package systemtest makes systems for tests, small enough to check by hand: links of 1 GB/s, so that 1000 bytes take a
// microsecond, without latency, and a library whose steps cost nothing. Floor 1.
package systemtest

import (
	"fmt"
	"testing"

	"maru/arch/system"
)

// Link is the text of a link of some bandwidth and latency, whose long transfers reach all of it.
func Link(bandwidth, latency string) string {
	return fmt.Sprintf("{bandwidth: %s, count: 1, sustained: 1, latency: %s}", bandwidth, latency)
}

// Free is a link of 1 GB/s without latency.
var Free = Link("1 GB/s", "0 us")

// Library is the text of a library that chooses what is fastest, with steps of a cost.
func Library(hop string) string {
	return fmt.Sprintf(`library:
  name: test
  choice: fastest
  algorithms: [ring, tree, hierarchical, torus, halving, direct, in-switch]
  launch: 0 us
  channels: 1
  channel: 1000000 GB/s
  simple: {hop: %s, format: 1}
`, hop)
}

// Parse makes a system of the texts of its tiers, the outer one of which may be empty, and of its library.
func Parse(t testing.TB, up, out, library string) *system.System {
	t.Helper()
	text := "name: test\ntitle: Test\nvendor: none\nchip: h100-sxm\nscale_up: " + up + "\n"
	if out != "" {
		text += "scale_out: " + out + "\n"
	}
	s, _, err := system.Parse([]byte(text+library), "test.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Slice makes a system with a free library and cuts it.
func Slice(t testing.TB, up, out string, chips int) *system.Slice {
	t.Helper()
	s, err := Parse(t, up, out, Library("0 us")).Slice(chips, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
