package parallel

import (
	"testing"

	"maru/arch"
	"maru/arch/system"
	"maru/internal/config"
	"maru/sim/event"
)

// Communication of 1320 beside work of 600 leaves 720 and takes 16 of 132 cores from the 600.
func TestCoresTaken(t *testing.T) {
	chip := &arch.Chip{}
	chip.Cores.Count = config.Figure[int64]{Value: 132}
	sys := &system.System{Training: &system.Training{Taken: config.Figure[int64]{Value: 16}}}
	e := &evaluation{s: &Session{sys: sys, chip: chip}, train: true}
	for _, c := range [][3]event.Time{{1320, 600, 720 + 72}, {1320, 13200, 160}, {0, 600, 0}, {1320, 0, 1320}} {
		if got := e.beside(c[0], c[1]); got != c[2] {
			t.Errorf("%d beside %d adds %d, want %d", c[0], c[1], got, c[2])
		}
	}
	sys.Training = nil
	if got := e.beside(1320, 600); got != 720 {
		t.Errorf("a framework that is not known loses cores: %d", got)
	}
}
