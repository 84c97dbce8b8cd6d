package arch

import (
	"strings"
	"testing"
)

// Every calibrated figure of an embedded chip has one of its family to fall
// back to, and the chip is valid with those.
func TestUncalibrated(t *testing.T) {
	any := false
	for _, name := range Names() {
		c, _, err := Load(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		sets, without := c.Uncalibrated()
		if len(without) > 0 {
			t.Errorf("%s: nothing in place of %s", name, strings.Join(without, ", "))
		}
		d, _, err := Load(name, sets)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if again, _ := d.Uncalibrated(); len(again) > 0 {
			t.Errorf("%s: still calibrated: %s", name, strings.Join(again, ", "))
		}
		any = any || len(sets) > 0
	}
	if !any {
		t.Error("no chip has a calibrated figure")
	}
}
