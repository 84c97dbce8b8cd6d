package human_test

import (
	"math"
	"testing"

	"maru/reports/human"
)

func TestQuantities(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{human.SI(3.35e12, "B/s"), "3.35 TB/s"},
		{human.SI(989e12, "flop/s"), "989 Tflop/s"},
		{human.SI(999.6e9, "B"), "1.00 TB"},
		{human.SI(0, "W"), "0 W"},
		{human.SI(700, "W"), "700 W"},
		{human.SI(12, ""), "12.0"},
		{human.SI(-0.0021, "J"), "-2.10 mJ"},
		{human.SI(math.Inf(1), "W"), "+Inf W"},
		{human.SI(5e22, "flop"), "50000 Eflop"},
		{human.Time(36_400_000_000), "36.4 ms"},
		{human.Time(999_600), "1.00 µs"},
		{human.Time(12), "12.0 ps"},
		{human.Time(0), "0 s"},
		{human.Time(-5_000_000), "-5.00 µs"},
		{human.Time(90_000_000_000_000), "90.0 s"},
		{human.Time(7_200_000_000_000_000), "7200 s"},
		{human.US(1344.5), "1.34 ms"},
		{human.Bytes(12_100_000_000), "12.1 GB"},
		{human.Bytes(512), "512 B"},
		{human.Bytes(0), "0 B"},
		{human.Percent(0.061), "6.1 %"},
		{human.Percent(0.824), "82 %"},
		{human.Percent(0.0996), "10 %"},
		{human.Percent(0.0001), "<0.1 %"},
		{human.Percent(0), "0 %"},
		{human.Percent(-0.02), "-2.0 %"},
		{human.Count(1234567), "1 234 567"},
		{human.Count(-123), "-123"},
		{human.Count(0), "0"},
		{human.Digits(12345), "12345"},
		{human.Digits(0.0001), "0.0001"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}
