package unit_test

import (
	"encoding"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"maru/arch/unit"
)

// quantity is one of the types, for tests that hold for all of them.
type quantity struct {
	name  string
	parse func(string) (unit.Quantity, error)
	make  func(float64) unit.Quantity // of a number of base units
	whole func(int64) unit.Quantity   // the same for integer types, else nil
}

func float[T interface {
	~float64
	unit.Quantity
}](name string, parse func(string) (T, error)) quantity {
	return quantity{name, func(s string) (unit.Quantity, error) { return parse(s) },
		func(v float64) unit.Quantity { return T(v) }, nil}
}

func integer[T interface {
	~int64
	unit.Quantity
}](name string, parse func(string) (T, error)) quantity {
	return quantity{name, func(s string) (unit.Quantity, error) { return parse(s) },
		func(v float64) unit.Quantity { return T(v) }, func(v int64) unit.Quantity { return T(v) }}
}

var quantities = []quantity{
	integer("Bytes", unit.ParseBytes),
	integer("Duration", unit.ParseDuration),
	float("Bandwidth", unit.ParseBandwidth),
	float("BytesPerClock", unit.ParseBytesPerClock),
	float("Frequency", unit.ParseFrequency),
	float("Cycles", unit.ParseCycles),
	float("Rate", unit.ParseRate),
	float("FlopRate", unit.ParseFlopRate),
	float("Power", unit.ParsePower),
	float("Voltage", unit.ParseVoltage),
	float("Energy", unit.ParseEnergy),
	float("EnergyPerByte", unit.ParseEnergyPerByte),
	float("EnergyPerFlop", unit.ParseEnergyPerFlop),
	float("Area", unit.ParseArea),
	float("Money", unit.ParseMoney),
	float("Ratio", unit.ParseRatio),
}

func byName(t *testing.T, name string) quantity {
	t.Helper()
	i := slices.IndexFunc(quantities, func(q quantity) bool { return q.name == name })
	if i < 0 {
		t.Fatalf("no quantity %s", name)
	}
	return quantities[i]
}

func TestParse(t *testing.T) {
	tests := []struct {
		quantity, text string
		want           float64
		printed        string
	}{
		{"Bytes", "80 GB", 80e9, "80 GB"},
		{"Bytes", "80GB", 80e9, "80 GB"},
		{"Bytes", "  80   GB  ", 80e9, "80 GB"},
		{"Bytes", "50 MiB", 50 << 20, "50 MiB"},
		{"Bytes", "1.5 KiB", 1536, "1.5 KiB"},
		{"Bytes", "512 B", 512, "512 B"},
		{"Bytes", "1024 B", 1024, "1 KiB"},
		{"Bytes", "1000 B", 1000, "1 kB"},
		{"Bytes", "0.5 kB", 500, "500 B"},
		{"Bytes", "1e3 B", 1000, "1 kB"},
		{"Bytes", "12e-1 kB", 1200, "1.2 kB"},
		{"Bytes", "8 TiB", 8 << 40, "8 TiB"},
		{"Bytes", "141 GB", 141e9, "141 GB"},
		{"Bytes", "0 GiB", 0, "0 B"},
		{"Bytes", "-3 kB", -3000, "-3 kB"},
		{"Bytes", "+3 kB", 3000, "3 kB"},
		{"Bytes", "1048577 B", 1048577, "1.048577 MB"},
		{"Duration", "390 ns", 390e3, "390 ns"},
		{"Duration", "1.5us", 1.5e6, "1.5 us"},
		{"Duration", "1.5 µs", 1.5e6, "1.5 us"},
		{"Duration", "2 ms", 2e9, "2 ms"},
		{"Duration", "90 s", 90e12, "90 s"},
		{"Duration", "7 ps", 7, "7 ps"},
		{"Bandwidth", "3.35 TB/s", 3.35e12, "3.35 TB/s"},
		{"Bandwidth", "900GB/s", 900e9, "900 GB/s"},
		{"Bandwidth", "400 Gb/s", 50e9, "50 GB/s"},
		{"Bandwidth", "1 GiB/s", 1 << 30, "1.073741824 GB/s"},
		{"Bandwidth", "21 PB/s", 21e15, "21 PB/s"},
		{"Bandwidth", "1e30 B/s", 1e30, "1000000000000000 PB/s"},
		{"Bandwidth", "1e40 B/s", 1e40, "1e25 PB/s"},
		{"Bandwidth", "1.25e40 B/s", 1.25e40, "1.25e25 PB/s"},
		{"Bandwidth", "0.001 B/s", 0.001, "0.001 B/s"},
		{"Bandwidth", "1e-9 B/s", 1e-9, "1e-9 B/s"},
		{"BytesPerClock", "128 B/clk", 128, "128 B/clk"},
		{"Frequency", "1.98 GHz", 1.98e9, "1.98 GHz"},
		{"Frequency", "1755 MHz", 1.755e9, "1.755 GHz"},
		{"Frequency", "32768 Hz", 32768, "32.768 kHz"},
		{"Cycles", "33.5 clk", 33.5, "33.5 clk"},
		{"Rate", "4096 FLOP/clk", 4096, "4096 FLOP/clk"},
		{"Rate", "2048 MAC/clk", 4096, "4096 FLOP/clk"},
		{"Rate", "64 op/clk", 64, "64 FLOP/clk"},
		{"FlopRate", "989.4 TFLOP/s", 989.4e12, "989.4 TFLOP/s"},
		{"FlopRate", "1979 TOP/s", 1979e12, "1.979 PFLOP/s"},
		{"FlopRate", "1 EFLOP/s", 1e18, "1 EFLOP/s"},
		{"Power", "700 W", 700, "700 W"},
		{"Power", "0.7 kW", 700, "700 W"},
		{"Power", "5 mW", 0.005, "5 mW"},
		{"Power", "5 MW", 5e6, "5 MW"},
		{"Voltage", "850 mV", 0.85, "850 mV"},
		{"Voltage", "1.05 V", 1.05, "1.05 V"},
		{"Energy", "1.5 pJ", 1.5, "1.5 pJ"},
		{"Energy", "640 fJ", 0.64, "640 fJ"},
		{"Energy", "2 µJ", 2e6, "2 uJ"},
		{"Energy", "3 kJ", 3e15, "3 kJ"},
		{"EnergyPerByte", "3.9 pJ/bit", 31.2, "31.2 pJ/B"},
		{"EnergyPerByte", "0.1 pJ/B", 0.1, "0.1 pJ/B"},
		{"EnergyPerFlop", "0.5 pJ/FLOP", 0.5, "500 fJ/FLOP"},
		{"EnergyPerFlop", "1 pJ/MAC", 0.5, "500 fJ/FLOP"},
		{"EnergyPerFlop", "2 pJ/op", 2, "2 pJ/FLOP"},
		{"Area", "814 mm2", 814, "814 mm2"},
		{"Area", "0.021 um2", 2.1e-8, "0.021 um2"},
		{"Area", "3 mm²", 3, "3 mm2"},
		{"Money", "30000 USD", 30000, "30000 USD"},
		{"Ratio", "0.9", 0.9, "0.9"},
		{"Ratio", "90 %", 0.9, "0.9"},
		{"Ratio", "7%", 0.07, "0.07"},
		{"Ratio", "-.5", -0.5, "-0.5"},
		{"Ratio", "1.", 1, "1"},
		{"Ratio", "-0", 0, "0"},
	}
	for _, test := range tests {
		q := byName(t, test.quantity)
		got, err := q.parse(test.text)
		if err != nil {
			t.Errorf("%s %q: %v", test.quantity, test.text, err)
			continue
		}
		if want := q.make(test.want); got != want {
			t.Errorf("%s %q: got %#v, want %#v", test.quantity, test.text, got, want)
		}
		if got.String() != test.printed {
			t.Errorf("%s %q prints as %q, want %q", test.quantity, test.text, got, test.printed)
		}
	}
}

func TestParseErrors(t *testing.T) {
	const (
		sizes      = "; allowed: a size in B, kB, MB, GB, TB, KiB, MiB, GiB, TiB"
		times      = "; allowed: a duration in ps, ns, us, µs, ms, s"
		bandwidths = "; allowed: a bandwidth in B/s, kB/s, MB/s, GB/s, TB/s, PB/s, KiB/s, MiB/s, GiB/s, TiB/s, Mb/s, Gb/s, Tb/s"
		clocks     = "; allowed: a frequency in Hz, kHz, MHz, GHz"
		ratios     = "; allowed: a ratio, plain or in %"
		flops      = "; allowed: a work per second in FLOP/s, MFLOP/s, GFLOP/s, TFLOP/s, PFLOP/s, EFLOP/s, GOP/s, TOP/s, POP/s"
		rates      = "; allowed: a work per clock in FLOP/clk, op/clk, MAC/clk"
	)
	tests := []struct{ quantity, text, want string }{
		{"Bytes", "80", `no unit in "80"` + sizes},
		{"Bytes", "", `"" does not begin with a number` + sizes},
		{"Bytes", "GB", `"GB" does not begin with a number` + sizes},
		{"Bytes", "80 gb", `unknown unit "gb"` + sizes + "; did you mean GB"},
		{"Bytes", "80 Mib", `unknown unit "Mib"` + sizes + "; did you mean MiB"},
		{"Bytes", "80 KB", `unknown unit "KB"` + sizes + "; did you mean kB"},
		{"Bytes", "80 G", `unknown unit "G"` + sizes + "; did you mean GB"},
		{"Bytes", "80 GB/s", `unknown unit "GB/s"` + sizes + "; did you mean GB"},
		{"Bytes", "80 bytes", `unknown unit "bytes"` + sizes + "; did you mean B"},
		{"Bytes", "80 furlongs", `unknown unit "furlongs"` + sizes},
		{"Bytes", "80 GB GB", `unknown unit "GB GB"` + sizes},
		{"Bytes", "80\tGB", `unknown unit "\tGB"` + sizes + "; did you mean GB"},
		{"Bytes", "0.5 B", `"0.5 B" is not a whole number of bytes` + sizes},
		{"Bytes", "0.0001 KiB", `"0.0001 KiB" is not a whole number of bytes` + sizes},
		{"Bytes", "1e-99 TB", `"1e-99 TB" is not a whole number of bytes` + sizes},
		{"Bytes", "1e7 TB", `"1e7 TB" is too large` + sizes},
		{"Bytes", "9223372036854775808 B", `"9223372036854775808 B" is too large` + sizes},
		{"Bytes", "1e99999999999999999999 B", `"1e99999999999999999999 B" is too large` + sizes},
		{"Bytes", "1,5 GB", `unknown unit ",5 GB"` + sizes},
		{"Bytes", "0x10 B", `unknown unit "x10 B"` + sizes},
		{"Bytes", "1_000 B", `unknown unit "_000 B"` + sizes},
		{"Bytes", ". GB", `". GB" does not begin with a number` + sizes},
		{"Bytes", "1e GB", `unknown unit "e GB"` + sizes + "; did you mean GB"},
		{"Bytes", strings.Repeat("1", 70) + " B", "text of 72 bytes is too long for a size" + sizes},
		{"Duration", "3 sec", `unknown unit "sec"` + times + "; did you mean s"},
		{"Duration", "3 μs", `unknown unit "μs"` + times + "; did you mean us"},
		{"Duration", "0.5 ps", `"0.5 ps" is not a whole number of picoseconds` + times},
		{"Duration", "1 h", `unknown unit "h"` + times},
		{"Bandwidth", "3 gB/s", `unknown unit "gB/s"` + bandwidths + "; did you mean GB/s"},
		{"Bandwidth", "3 gb/s", `unknown unit "gb/s"` + bandwidths + "; did you mean Gb/s"},
		{"Bandwidth", "3 TB", `unknown unit "TB"` + bandwidths + "; did you mean TB/s"},
		{"Bandwidth", "3 GBps", `unknown unit "GBps"` + bandwidths + "; did you mean GB/s"},
		{"Bandwidth", "3 GB/sec", `unknown unit "GB/sec"` + bandwidths + "; did you mean GB/s"},
		{"Bandwidth", "3 BG/s", `unknown unit "BG/s"` + bandwidths + "; did you mean GB/s"},
		{"Bandwidth", "1e400 B/s", `"1e400 B/s" is too large` + bandwidths},
		{"Bandwidth", "1e308 GiB/s", `"1e308 GiB/s" is too large` + bandwidths},
		{"Bandwidth", "1e-400 B/s", `"1e-400 B/s" is too small to be told from zero` + bandwidths},
		{"Bandwidth", "NaN B/s", `"NaN B/s" does not begin with a number` + bandwidths},
		{"Bandwidth", "-Inf B/s", `"-Inf B/s" does not begin with a number` + bandwidths},
		{"Frequency", "1 Ghz", `unknown unit "Ghz"` + clocks + "; did you mean GHz"},
		{"Frequency", "1 HMz", `unknown unit "HMz"` + clocks + "; did you mean MHz"},
		{"Frequency", "1 GHzz", `unknown unit "GHzz"` + clocks + "; did you mean GHz"},
		{"Ratio", "90 per cent", `unknown unit "per cent"` + ratios + "; did you mean %"},
		{"Ratio", "90 percent", `unknown unit "percent"` + ratios + "; did you mean %"},
		{"Ratio", "90 a unit that is much too long to be one", `unknown unit "a unit that is much too long to be one"` + ratios},
		{"FlopRate", "3 TFLOPS", `unknown unit "TFLOPS"` + flops + "; did you mean TFLOP/s"},
		{"FlopRate", "3 TOPs", `unknown unit "TOPs"` + flops + "; did you mean TOP/s"},
		{"FlopRate", "3 TFLOP", `unknown unit "TFLOP"` + flops + "; did you mean TFLOP/s"},
		{"Rate", "3 FLOPS/cycle", `unknown unit "FLOPS/cycle"` + rates + "; did you mean FLOP/clk"},
		{"Rate", "3 ops/clk", `unknown unit "ops/clk"` + rates + "; did you mean op/clk"},
		{"Money", "3 $", `unknown unit "$"; allowed: a price in USD; did you mean USD`},
		{"Energy", "3 kWh", `unknown unit "kWh"; allowed: an energy in fJ, pJ, nJ, uJ, µJ, mJ, J, kJ`},
		{"Area", "3 mm^2", `unknown unit "mm^2"; allowed: an area in um2, mm2, µm², mm²; did you mean mm2`},
	}
	for _, test := range tests {
		got, err := byName(t, test.quantity).parse(test.text)
		var e *unit.Error
		if !errors.As(err, &e) {
			t.Errorf("%s %q: got %v, %v", test.quantity, test.text, got, err)
			continue
		}
		if diff := cmp.Diff(test.want, err.Error()); diff != "" {
			t.Errorf("%s %q: want -, got +:\n%s", test.quantity, test.text, diff)
		}
	}
}

func TestShort(t *testing.T) {
	tests := []struct {
		q    unit.Quantity
		want string
	}{
		{unit.Bandwidth(3.351234e12), "3.351 TB/s"},
		{unit.Bandwidth(3.35e12), "3.35 TB/s"},
		{unit.Bandwidth(999.99e9), "1 TB/s"},
		{unit.Bytes(50 * unit.MiB), "50 MiB"},
		{unit.Bytes(123456789), "123.5 MB"},
		{unit.Duration(-123456), "-123.5 ns"},
		{unit.Ratio(1.0 / 3), "0.3333"},
		{unit.Money(31234.56), "31230 USD"},
		{unit.Bandwidth(0), "0 B/s"},
		{unit.Ratio(0), "0"},
	}
	for _, test := range tests {
		if got := unit.Short(test.q); got != test.want {
			t.Errorf("Short(%v) = %q, want %q", test.q, got, test.want)
		}
	}
}

func TestConvert(t *testing.T) {
	if got := unit.Rate(1024).At(2e9); got != 2.048e12 {
		t.Errorf("1024 FLOP/clk at 2 GHz are %v", got)
	}
	if got := unit.BytesPerClock(128).At(1.5e9); got != 192e9 {
		t.Errorf("128 B/clk at 1.5 GHz are %v", got)
	}
	if got := unit.Cycles(3).At(1.5e9); got != 2*unit.Nanosecond {
		t.Errorf("3 clk at 1.5 GHz take %v", got)
	}
	if got := unit.Cycles(1).At(3e9); got != 333 {
		t.Errorf("1 clk at 3 GHz takes %v", got)
	}
	if got := unit.Cycles(1).At(0); got != math.MaxInt64 {
		t.Errorf("1 clk at 0 Hz takes %v", got)
	}
	if got := (1500 * unit.Millisecond).Seconds(); got != 1.5 {
		t.Errorf("1500 ms are %v s", got)
	}
	if unit.GB != 1e9 || unit.GiB != 1<<30 || unit.TB != 1e12 || unit.TiB != 1<<40 || unit.Second != 1e12 {
		t.Error("wrong constants")
	}
}

func TestNotFinite(t *testing.T) {
	for want, v := range map[string]float64{"NaN B/s": math.NaN(), "+Inf B/s": math.Inf(1)} {
		if got := unit.Bandwidth(v).String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestJSON(t *testing.T) {
	type chip struct {
		Size  unit.Bytes
		Speed *unit.Bandwidth
		Share unit.Ratio
	}
	speed := unit.Bandwidth(1e12)
	in := chip{3 * unit.GiB, &speed, 0.5}
	data, err := json.Marshal(in)
	if err != nil || string(data) != `{"Size":"3 GiB","Speed":"1 TB/s","Share":"0.5"}` {
		t.Fatalf("%s, %v", data, err)
	}
	var out chip
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(in, out); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}

// TestRoundTrip: every value prints as a text that matches the pattern and parses back to it.
func TestRoundTrip(t *testing.T) {
	for _, q := range quantities {
		t.Run(q.name, func(t *testing.T) {
			pattern := regexp.MustCompile(q.make(0).Pattern())
			rapid.Check(t, func(t *rapid.T) {
				var v unit.Quantity
				switch {
				case q.whole != nil:
					n := rapid.Int64().Draw(t, "value")
					n >>= rapid.IntRange(0, 63).Draw(t, "shift")
					n <<= rapid.IntRange(0, 50).Draw(t, "zeros")
					v = q.whole(n)
				case rapid.Bool().Draw(t, "decimal"):
					v = q.make(float64(rapid.IntRange(-1e6, 1e6).Draw(t, "digits")) * math.Pow10(rapid.IntRange(-30, 30).Draw(t, "exponent")))
				default:
					v = q.make(rapid.Float64().Draw(t, "value"))
				}
				s := v.String()
				back, err := q.parse(s)
				if err != nil {
					t.Fatal(err)
				}
				if back != v {
					t.Fatalf("%#v prints as %q, which is %#v", v, s, back)
				}
				if !pattern.MatchString(s) {
					t.Fatalf("%q does not match the pattern", s)
				}
				x := number(v)
				if math.Abs(x) > 1e300 || math.Abs(x) < 1e-300 {
					return // the short text may be out of range
				}
				short, err := q.parse(unit.Short(v))
				if err != nil || math.Abs(x-number(short)) > math.Abs(x)*0.00051 {
					t.Fatalf("%v is %v in short: %v", v, short, err)
				}
			})
		})
	}
}

// number returns the value in base units.
func number(q unit.Quantity) float64 {
	v := reflect.ValueOf(q)
	if v.CanInt() {
		return float64(v.Int())
	}
	return v.Float()
}

// TestUnits: every unit that is listed parses and matches the pattern, and a hint of an error is one of them.
func TestUnits(t *testing.T) {
	for _, q := range quantities {
		zero := q.make(0)
		pattern := regexp.MustCompile(zero.Pattern())
		for _, u := range zero.Units() {
			for _, text := range []string{"8 " + u, "8" + u, "+8.0e0 " + u} {
				text = strings.TrimSpace(text)
				v, err := q.parse(text)
				if err != nil || !pattern.MatchString(text) {
					t.Errorf("%s %q: %v, %v", q.name, text, v, err)
					continue
				}
				back := reflect.New(reflect.TypeOf(v))
				printed, err := v.(encoding.TextMarshaler).MarshalText()
				if err != nil {
					t.Error(err)
				}
				if err := back.Interface().(encoding.TextUnmarshaler).UnmarshalText(printed); err != nil || back.Elem().Interface() != any(v) {
					t.Errorf("%s %q is written as %q and read as %v, %v", q.name, text, printed, back.Elem(), err)
				}
			}
			for _, wrong := range []string{strings.ToUpper(u), strings.ToLower(u), u + "s", "x" + u} {
				_, err := q.parse("8" + wrong)
				var e *unit.Error
				if errors.As(err, &e) && e.Hint != "" && !slices.Contains(zero.Units(), e.Hint) {
					t.Errorf("%s: hint %q", q.name, e.Hint)
				}
			}
		}
	}
}

// FuzzParse: no text panics, and what parses matches the pattern and survives printing.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"3.35 TB/s", "80GB", "-.5e-3 ms", "1e400 B", "90 %", "7", "0x1 B", "1 µs", "1e", "+ GB"} {
		f.Add(s)
	}
	patterns := make([]*regexp.Regexp, len(quantities))
	for i, q := range quantities {
		patterns[i] = regexp.MustCompile(q.make(0).Pattern())
	}
	f.Fuzz(func(t *testing.T, s string) {
		for i, q := range quantities {
			v, err := q.parse(s)
			if err != nil {
				_ = err.Error()
				continue
			}
			if !patterns[i].MatchString(strings.Trim(s, " ")) {
				t.Fatalf("%s %q does not match the pattern", q.name, s)
			}
			if back, err := q.parse(v.String()); err != nil || back != v {
				t.Fatalf("%s %q prints as %q: %v, %v", q.name, s, v, back, err)
			}
		}
	})
}
