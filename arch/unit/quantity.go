package unit

// Bytes is a size in memory, in bytes.
type Bytes int64

var bytesDimension = dimension{
	noun:  "size",
	least: "bytes",
	scales: []scale{
		{name: "B", print: true},
		{name: "kB", ten: 3, print: true},
		{name: "MB", ten: 6, print: true},
		{name: "GB", ten: 9, print: true},
		{name: "TB", ten: 12, print: true},
		{name: "KiB", two: 10, print: true},
		{name: "MiB", two: 20, print: true},
		{name: "GiB", two: 30, print: true},
		{name: "TiB", two: 40, print: true},
	},
}

// ParseBytes parses a size, such as "80 GB". The error is an *Error.
func ParseBytes(s string) (Bytes, error) { return parseInt[Bytes](&bytesDimension, s) }

// String prints the size so that it parses back to the same value.
func (b Bytes) String() string { return formatInt(&bytesDimension, int64(b)) }

// MarshalText returns String.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText is ParseBytes in place. The error is an *Error.
func (b *Bytes) UnmarshalText(text []byte) (err error) {
	*b, err = ParseBytes(string(text))
	return err
}

// Units implements [Quantity].
func (Bytes) Units() []string { return bytesDimension.units() }

// Pattern implements [Quantity].
func (Bytes) Pattern() string { return bytesDimension.pattern() }

func (b Bytes) measure() (*dimension, float64) { return &bytesDimension, float64(b) }

// Duration is a span of time, in picoseconds.
type Duration int64

var durationDimension = dimension{
	noun:  "duration",
	least: "picoseconds",
	scales: []scale{
		{name: "ps", print: true},
		{name: "ns", ten: 3, print: true},
		{name: "us", ten: 6, print: true},
		{name: "µs", ten: 6},
		{name: "ms", ten: 9, print: true},
		{name: "s", ten: 12, print: true},
	},
}

// ParseDuration parses a duration, such as "390 ns". The error is an *Error.
func ParseDuration(s string) (Duration, error) { return parseInt[Duration](&durationDimension, s) }

// String prints the duration so that it parses back to the same value.
func (d Duration) String() string { return formatInt(&durationDimension, int64(d)) }

// MarshalText returns String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText is ParseDuration in place. The error is an *Error.
func (d *Duration) UnmarshalText(text []byte) (err error) {
	*d, err = ParseDuration(string(text))
	return err
}

// Units implements [Quantity].
func (Duration) Units() []string { return durationDimension.units() }

// Pattern implements [Quantity].
func (Duration) Pattern() string { return durationDimension.pattern() }

func (d Duration) measure() (*dimension, float64) { return &durationDimension, float64(d) }

// Bandwidth is data moved per time, in bytes per second.
type Bandwidth float64

var bandwidthDimension = dimension{
	noun: "bandwidth",
	scales: []scale{
		{name: "B/s", print: true},
		{name: "kB/s", ten: 3, print: true},
		{name: "MB/s", ten: 6, print: true},
		{name: "GB/s", ten: 9, print: true},
		{name: "TB/s", ten: 12, print: true},
		{name: "PB/s", ten: 15, print: true},
		{name: "KiB/s", two: 10},
		{name: "MiB/s", two: 20},
		{name: "GiB/s", two: 30},
		{name: "TiB/s", two: 40},
		{name: "Mb/s", ten: 6, two: -3},
		{name: "Gb/s", ten: 9, two: -3},
		{name: "Tb/s", ten: 12, two: -3},
	},
}

// ParseBandwidth parses a bandwidth, such as "3.35 TB/s". The error is an *Error.
func ParseBandwidth(s string) (Bandwidth, error) {
	return parseFloat[Bandwidth](&bandwidthDimension, s)
}

// String prints the bandwidth so that it parses back to the same value.
func (b Bandwidth) String() string { return formatFloat(&bandwidthDimension, float64(b)) }

// MarshalText returns String.
func (b Bandwidth) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText is ParseBandwidth in place. The error is an *Error.
func (b *Bandwidth) UnmarshalText(text []byte) (err error) {
	*b, err = ParseBandwidth(string(text))
	return err
}

// Units implements [Quantity].
func (Bandwidth) Units() []string { return bandwidthDimension.units() }

// Pattern implements [Quantity].
func (Bandwidth) Pattern() string { return bandwidthDimension.pattern() }

func (b Bandwidth) measure() (*dimension, float64) { return &bandwidthDimension, float64(b) }

// BytesPerClock is data moved per clock cycle, in bytes per clock.
type BytesPerClock float64

var bytesPerClockDimension = dimension{
	noun: "transfer per clock",
	scales: []scale{
		{name: "B/clk", print: true},
	},
}

// ParseBytesPerClock parses a transfer per clock, such as "128 B/clk". The error is an *Error.
func ParseBytesPerClock(s string) (BytesPerClock, error) {
	return parseFloat[BytesPerClock](&bytesPerClockDimension, s)
}

// String prints the transfer per clock so that it parses back to the same value.
func (b BytesPerClock) String() string { return formatFloat(&bytesPerClockDimension, float64(b)) }

// MarshalText returns String.
func (b BytesPerClock) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText is ParseBytesPerClock in place. The error is an *Error.
func (b *BytesPerClock) UnmarshalText(text []byte) (err error) {
	*b, err = ParseBytesPerClock(string(text))
	return err
}

// Units implements [Quantity].
func (BytesPerClock) Units() []string { return bytesPerClockDimension.units() }

// Pattern implements [Quantity].
func (BytesPerClock) Pattern() string { return bytesPerClockDimension.pattern() }

func (b BytesPerClock) measure() (*dimension, float64) { return &bytesPerClockDimension, float64(b) }

// Frequency is a clock frequency, in hertz.
type Frequency float64

var frequencyDimension = dimension{
	noun: "frequency",
	scales: []scale{
		{name: "Hz", print: true},
		{name: "kHz", ten: 3, print: true},
		{name: "MHz", ten: 6, print: true},
		{name: "GHz", ten: 9, print: true},
	},
}

// ParseFrequency parses a frequency, such as "1.98 GHz". The error is an *Error.
func ParseFrequency(s string) (Frequency, error) {
	return parseFloat[Frequency](&frequencyDimension, s)
}

// String prints the frequency so that it parses back to the same value.
func (f Frequency) String() string { return formatFloat(&frequencyDimension, float64(f)) }

// MarshalText returns String.
func (f Frequency) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText is ParseFrequency in place. The error is an *Error.
func (f *Frequency) UnmarshalText(text []byte) (err error) {
	*f, err = ParseFrequency(string(text))
	return err
}

// Units implements [Quantity].
func (Frequency) Units() []string { return frequencyDimension.units() }

// Pattern implements [Quantity].
func (Frequency) Pattern() string { return frequencyDimension.pattern() }

func (f Frequency) measure() (*dimension, float64) { return &frequencyDimension, float64(f) }

// Cycles is a span of time in cycles of the clock at hand; fractions are averages.
type Cycles float64

var cyclesDimension = dimension{
	noun: "number of cycles",
	scales: []scale{
		{name: "clk", print: true},
	},
}

// ParseCycles parses a number of cycles, such as "32 clk". The error is an *Error.
func ParseCycles(s string) (Cycles, error) { return parseFloat[Cycles](&cyclesDimension, s) }

// String prints the number of cycles so that it parses back to the same value.
func (c Cycles) String() string { return formatFloat(&cyclesDimension, float64(c)) }

// MarshalText returns String.
func (c Cycles) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText is ParseCycles in place. The error is an *Error.
func (c *Cycles) UnmarshalText(text []byte) (err error) {
	*c, err = ParseCycles(string(text))
	return err
}

// Units implements [Quantity].
func (Cycles) Units() []string { return cyclesDimension.units() }

// Pattern implements [Quantity].
func (Cycles) Pattern() string { return cyclesDimension.pattern() }

func (c Cycles) measure() (*dimension, float64) { return &cyclesDimension, float64(c) }

// Rate is arithmetic per clock cycle, in operations per clock. A multiply-accumulate is two; "op" is for integers and the same as "FLOP".
type Rate float64

var rateDimension = dimension{
	noun: "work per clock",
	scales: []scale{
		{name: "FLOP/clk", print: true},
		{name: "op/clk"},
		{name: "MAC/clk", two: 1},
	},
}

// ParseRate parses a work per clock, such as "4096 FLOP/clk". The error is an *Error.
func ParseRate(s string) (Rate, error) { return parseFloat[Rate](&rateDimension, s) }

// String prints the work per clock so that it parses back to the same value.
func (r Rate) String() string { return formatFloat(&rateDimension, float64(r)) }

// MarshalText returns String.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText is ParseRate in place. The error is an *Error.
func (r *Rate) UnmarshalText(text []byte) (err error) {
	*r, err = ParseRate(string(text))
	return err
}

// Units implements [Quantity].
func (Rate) Units() []string { return rateDimension.units() }

// Pattern implements [Quantity].
func (Rate) Pattern() string { return rateDimension.pattern() }

func (r Rate) measure() (*dimension, float64) { return &rateDimension, float64(r) }

// FlopRate is arithmetic per time, in operations per second. "OP" is for integers and the same as "FLOP".
type FlopRate float64

var flopRateDimension = dimension{
	noun: "work per second",
	scales: []scale{
		{name: "FLOP/s", print: true},
		{name: "MFLOP/s", ten: 6, print: true},
		{name: "GFLOP/s", ten: 9, print: true},
		{name: "TFLOP/s", ten: 12, print: true},
		{name: "PFLOP/s", ten: 15, print: true},
		{name: "EFLOP/s", ten: 18, print: true},
		{name: "GOP/s", ten: 9},
		{name: "TOP/s", ten: 12},
		{name: "POP/s", ten: 15},
	},
}

// ParseFlopRate parses a work per second, such as "989.4 TFLOP/s". The error is an *Error.
func ParseFlopRate(s string) (FlopRate, error) { return parseFloat[FlopRate](&flopRateDimension, s) }

// String prints the work per second so that it parses back to the same value.
func (f FlopRate) String() string { return formatFloat(&flopRateDimension, float64(f)) }

// MarshalText returns String.
func (f FlopRate) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText is ParseFlopRate in place. The error is an *Error.
func (f *FlopRate) UnmarshalText(text []byte) (err error) {
	*f, err = ParseFlopRate(string(text))
	return err
}

// Units implements [Quantity].
func (FlopRate) Units() []string { return flopRateDimension.units() }

// Pattern implements [Quantity].
func (FlopRate) Pattern() string { return flopRateDimension.pattern() }

func (f FlopRate) measure() (*dimension, float64) { return &flopRateDimension, float64(f) }

// Power is energy per time, in watts.
type Power float64

var powerDimension = dimension{
	noun: "power",
	scales: []scale{
		{name: "mW", ten: -3, print: true},
		{name: "W", print: true},
		{name: "kW", ten: 3, print: true},
		{name: "MW", ten: 6, print: true},
	},
}

// ParsePower parses a power, such as "700 W". The error is an *Error.
func ParsePower(s string) (Power, error) { return parseFloat[Power](&powerDimension, s) }

// String prints the power so that it parses back to the same value.
func (p Power) String() string { return formatFloat(&powerDimension, float64(p)) }

// MarshalText returns String.
func (p Power) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText is ParsePower in place. The error is an *Error.
func (p *Power) UnmarshalText(text []byte) (err error) {
	*p, err = ParsePower(string(text))
	return err
}

// Units implements [Quantity].
func (Power) Units() []string { return powerDimension.units() }

// Pattern implements [Quantity].
func (Power) Pattern() string { return powerDimension.pattern() }

func (p Power) measure() (*dimension, float64) { return &powerDimension, float64(p) }

// Voltage is an electric potential, in volts.
type Voltage float64

var voltageDimension = dimension{
	noun: "voltage",
	scales: []scale{
		{name: "mV", ten: -3, print: true},
		{name: "V", print: true},
	},
}

// ParseVoltage parses a voltage, such as "850 mV". The error is an *Error.
func ParseVoltage(s string) (Voltage, error) { return parseFloat[Voltage](&voltageDimension, s) }

// String prints the voltage so that it parses back to the same value.
func (v Voltage) String() string { return formatFloat(&voltageDimension, float64(v)) }

// MarshalText returns String.
func (v Voltage) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText is ParseVoltage in place. The error is an *Error.
func (v *Voltage) UnmarshalText(text []byte) (err error) {
	*v, err = ParseVoltage(string(text))
	return err
}

// Units implements [Quantity].
func (Voltage) Units() []string { return voltageDimension.units() }

// Pattern implements [Quantity].
func (Voltage) Pattern() string { return voltageDimension.pattern() }

func (v Voltage) measure() (*dimension, float64) { return &voltageDimension, float64(v) }

// Energy is an energy, in picojoules.
type Energy float64

var energyDimension = dimension{
	noun: "energy",
	scales: []scale{
		{name: "fJ", ten: -3, print: true},
		{name: "pJ", print: true},
		{name: "nJ", ten: 3, print: true},
		{name: "uJ", ten: 6, print: true},
		{name: "µJ", ten: 6},
		{name: "mJ", ten: 9, print: true},
		{name: "J", ten: 12, print: true},
		{name: "kJ", ten: 15, print: true},
	},
}

// ParseEnergy parses an energy, such as "1.5 pJ". The error is an *Error.
func ParseEnergy(s string) (Energy, error) { return parseFloat[Energy](&energyDimension, s) }

// String prints the energy so that it parses back to the same value.
func (e Energy) String() string { return formatFloat(&energyDimension, float64(e)) }

// MarshalText returns String.
func (e Energy) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText is ParseEnergy in place. The error is an *Error.
func (e *Energy) UnmarshalText(text []byte) (err error) {
	*e, err = ParseEnergy(string(text))
	return err
}

// Units implements [Quantity].
func (Energy) Units() []string { return energyDimension.units() }

// Pattern implements [Quantity].
func (Energy) Pattern() string { return energyDimension.pattern() }

func (e Energy) measure() (*dimension, float64) { return &energyDimension, float64(e) }

// EnergyPerByte is the energy to move data, in picojoules per byte.
type EnergyPerByte float64

var energyPerByteDimension = dimension{
	noun: "energy per byte",
	scales: []scale{
		{name: "fJ/B", ten: -3},
		{name: "pJ/B", print: true},
		{name: "nJ/B", ten: 3, print: true},
		{name: "fJ/bit", ten: -3, two: 3},
		{name: "pJ/bit", two: 3},
	},
}

// ParseEnergyPerByte parses an energy per byte, such as "7 pJ/bit". The error is an *Error.
func ParseEnergyPerByte(s string) (EnergyPerByte, error) {
	return parseFloat[EnergyPerByte](&energyPerByteDimension, s)
}

// String prints the energy per byte so that it parses back to the same value.
func (e EnergyPerByte) String() string { return formatFloat(&energyPerByteDimension, float64(e)) }

// MarshalText returns String.
func (e EnergyPerByte) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText is ParseEnergyPerByte in place. The error is an *Error.
func (e *EnergyPerByte) UnmarshalText(text []byte) (err error) {
	*e, err = ParseEnergyPerByte(string(text))
	return err
}

// Units implements [Quantity].
func (EnergyPerByte) Units() []string { return energyPerByteDimension.units() }

// Pattern implements [Quantity].
func (EnergyPerByte) Pattern() string { return energyPerByteDimension.pattern() }

func (e EnergyPerByte) measure() (*dimension, float64) { return &energyPerByteDimension, float64(e) }

// EnergyPerFlop is the energy of arithmetic, in picojoules per operation; a multiply-accumulate is two.
type EnergyPerFlop float64

var energyPerFlopDimension = dimension{
	noun: "energy per operation",
	scales: []scale{
		{name: "fJ/FLOP", ten: -3, print: true},
		{name: "pJ/FLOP", print: true},
		{name: "fJ/op", ten: -3},
		{name: "pJ/op"},
		{name: "fJ/MAC", ten: -3, two: -1},
		{name: "pJ/MAC", two: -1},
	},
}

// ParseEnergyPerFlop parses an energy per operation, such as "0.4 pJ/FLOP". The error is an *Error.
func ParseEnergyPerFlop(s string) (EnergyPerFlop, error) {
	return parseFloat[EnergyPerFlop](&energyPerFlopDimension, s)
}

// String prints the energy per operation so that it parses back to the same value.
func (e EnergyPerFlop) String() string { return formatFloat(&energyPerFlopDimension, float64(e)) }

// MarshalText returns String.
func (e EnergyPerFlop) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText is ParseEnergyPerFlop in place. The error is an *Error.
func (e *EnergyPerFlop) UnmarshalText(text []byte) (err error) {
	*e, err = ParseEnergyPerFlop(string(text))
	return err
}

// Units implements [Quantity].
func (EnergyPerFlop) Units() []string { return energyPerFlopDimension.units() }

// Pattern implements [Quantity].
func (EnergyPerFlop) Pattern() string { return energyPerFlopDimension.pattern() }

func (e EnergyPerFlop) measure() (*dimension, float64) { return &energyPerFlopDimension, float64(e) }

// Area is an area of silicon, in square millimetres.
type Area float64

var areaDimension = dimension{
	noun: "area",
	scales: []scale{
		{name: "um2", ten: -6, print: true},
		{name: "mm2", print: true},
		{name: "µm²", ten: -6},
		{name: "mm²"},
	},
}

// ParseArea parses an area, such as "814 mm2". The error is an *Error.
func ParseArea(s string) (Area, error) { return parseFloat[Area](&areaDimension, s) }

// String prints the area so that it parses back to the same value.
func (a Area) String() string { return formatFloat(&areaDimension, float64(a)) }

// MarshalText returns String.
func (a Area) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText is ParseArea in place. The error is an *Error.
func (a *Area) UnmarshalText(text []byte) (err error) {
	*a, err = ParseArea(string(text))
	return err
}

// Units implements [Quantity].
func (Area) Units() []string { return areaDimension.units() }

// Pattern implements [Quantity].
func (Area) Pattern() string { return areaDimension.pattern() }

func (a Area) measure() (*dimension, float64) { return &areaDimension, float64(a) }

// Money is a price, in US dollars.
type Money float64

var moneyDimension = dimension{
	noun: "price",
	scales: []scale{
		{name: "USD", print: true},
	},
}

// ParseMoney parses a price, such as "30000 USD". The error is an *Error.
func ParseMoney(s string) (Money, error) { return parseFloat[Money](&moneyDimension, s) }

// String prints the price so that it parses back to the same value.
func (m Money) String() string { return formatFloat(&moneyDimension, float64(m)) }

// MarshalText returns String.
func (m Money) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText is ParseMoney in place. The error is an *Error.
func (m *Money) UnmarshalText(text []byte) (err error) {
	*m, err = ParseMoney(string(text))
	return err
}

// Units implements [Quantity].
func (Money) Units() []string { return moneyDimension.units() }

// Pattern implements [Quantity].
func (Money) Pattern() string { return moneyDimension.pattern() }

func (m Money) measure() (*dimension, float64) { return &moneyDimension, float64(m) }

// Ratio is a share or factor: 0.9 and "90 %" are the same.
type Ratio float64

var ratioDimension = dimension{
	noun: "ratio",
	scales: []scale{
		{name: "", print: true},
		{name: "%", ten: -2},
	},
}

// ParseRatio parses a ratio, such as "90 %". The error is an *Error.
func ParseRatio(s string) (Ratio, error) { return parseFloat[Ratio](&ratioDimension, s) }

// String prints the ratio so that it parses back to the same value.
func (r Ratio) String() string { return formatFloat(&ratioDimension, float64(r)) }

// MarshalText returns String.
func (r Ratio) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText is ParseRatio in place. The error is an *Error.
func (r *Ratio) UnmarshalText(text []byte) (err error) {
	*r, err = ParseRatio(string(text))
	return err
}

// Units implements [Quantity].
func (Ratio) Units() []string { return ratioDimension.units() }

// Pattern implements [Quantity].
func (Ratio) Pattern() string { return ratioDimension.pattern() }

func (r Ratio) measure() (*dimension, float64) { return &ratioDimension, float64(r) }
