package compile

import (
	"maru/arch"
	"maru/arch/dtype"
	"maru/arch/unit"
	"maru/internal/config"
)

func fig[T any](v T) config.Figure[T] { return config.Figure[T]{Value: v} }

// asyncChip is a thread-block machine whose matrix unit reads the scratchpad.
func asyncChip() *arch.Chip {
	return &arch.Chip{
		Name: "async", Discipline: arch.Dispatch, Profile: "cublas", Preferred: dtype.BF16,
		Clock: arch.Clock{Spec: fig(1.8 * 1e9 * unit.Frequency(1)), Max: fig(unit.Frequency(2e9))},
		Cores: arch.Cores{
			Count: fig[int64](132), Threads: fig[int64](2048), Groups: fig[int64](32), Registers: fig(256 * unit.KiB), Schedulers: fig[int64](4),
			Start: fig(unit.Cycles(400)),
			Matrix: arch.Matrix{
				Rate: map[dtype.Type]config.Figure[unit.Rate]{
					dtype.TF32: fig(unit.Rate(2048)), dtype.BF16: fig(unit.Rate(4096)), dtype.FP16: fig(unit.Rate(4096)), dtype.FP8: fig(unit.Rate(8192)), dtype.Int8: fig(unit.Rate(8192)),
				},
				Issue: arch.Async, Tile: fig[int64](64), TileN: fig[int64](256), TileK: fig(unit.Bytes(32)), Sustained: fig(unit.Ratio(0.96)),
			},
			Vector:     arch.Vector{Rate: map[dtype.Type]config.Figure[unit.Rate]{dtype.FP32: fig(unit.Rate(256)), dtype.BF16: fig(unit.Rate(512))}},
			Special:    fig(unit.Rate(16)),
			Scratchpad: arch.Scratchpad{Capacity: fig(228 * unit.KiB), Group: fig(227 * unit.KiB), Bandwidth: fig(unit.BytesPerClock(128))},
			InFlight:   fig(64 * unit.KiB),
		},
		Memory: arch.Memory{
			L2: &arch.Cache{Capacity: fig(50 * unit.MiB), Bandwidth: fig(unit.BytesPerClock(4884)), Port: fig(unit.BytesPerClock(64)), Latency: fig(200 * unit.Nanosecond), Partitions: fig[int64](1)},
			DRAM: arch.DRAM{
				Capacity: fig(80 * unit.GB), Bandwidth: fig(unit.Bandwidth(3.35e12)), Sustained: fig(unit.Ratio(0.9)),
				Latency: fig(350 * unit.Nanosecond), Loaded: fig(580 * unit.Nanosecond),
			},
		},
		Launch: arch.Launch{Graph: fig(unit.Microsecond), Stream: fig(2 * unit.Microsecond)},
	}
}

// syncChip is a thread-block machine whose threads carry operands.
func syncChip() *arch.Chip {
	c := asyncChip()
	c.Name = "sync"
	c.Cores.Count = fig[int64](108)
	m := &c.Cores.Matrix
	m.Issue, m.Tile, m.TileN, m.SyncShare = arch.Sync, fig[int64](16), fig[int64](8), fig(unit.Ratio(0.9))
	m.Rate = map[dtype.Type]config.Figure[unit.Rate]{dtype.BF16: fig(unit.Rate(2048)), dtype.Int8: fig(unit.Rate(4096))}
	c.Cores.Scratchpad.Capacity, c.Cores.Scratchpad.Group = fig(164*unit.KiB), fig(163*unit.KiB)
	c.Memory.DRAM.Bandwidth = fig(unit.Bandwidth(2e12))
	return c
}

// queueChip is a systolic machine whose cores the compiler schedules.
func queueChip() *arch.Chip {
	return &arch.Chip{
		Name: "queues", Discipline: arch.Queues, Profile: "xla", Preferred: dtype.BF16,
		Clock: arch.Clock{Spec: fig(unit.Frequency(1e9)), Max: fig(unit.Frequency(1e9))},
		Cores: arch.Cores{
			Count: fig[int64](2),
			Matrix: arch.Matrix{
				Rate:  map[dtype.Type]config.Figure[unit.Rate]{dtype.BF16: fig(unit.Rate(131072)), dtype.FP32: fig(unit.Rate(43690)), dtype.Int8: fig(unit.Rate(131072))},
				Issue: arch.Async, Tile: fig[int64](8), TileN: fig[int64](128), TileK: fig(unit.Bytes(256)), Sustained: fig(unit.Ratio(1)),
				Systolic: &arch.Systolic{Rows: fig[int64](128), Cols: fig[int64](128), Count: fig[int64](4), Dataflow: arch.WeightStationary, Fold: arch.Overlapped},
			},
			Vector:     arch.Vector{Rate: map[dtype.Type]config.Figure[unit.Rate]{dtype.FP32: fig(unit.Rate(2048))}},
			Special:    fig(unit.Rate(1024)),
			Scratchpad: arch.Scratchpad{Capacity: fig(16 * unit.MiB), Bandwidth: fig(unit.BytesPerClock(12288))},
			DMA:        &arch.DMA{Fixed: fig(500 * unit.Nanosecond)},
		},
		Memory: arch.Memory{DRAM: arch.DRAM{
			Capacity: fig(32 * unit.GB), Bandwidth: fig(unit.Bandwidth(1.2e12)), Sustained: fig(unit.Ratio(0.9)), Latency: fig(350 * unit.Nanosecond),
		}},
		Launch: arch.Launch{Graph: fig(300 * unit.Nanosecond), Stream: fig(5 * unit.Microsecond)},
	}
}

// serialChip is one array whose folds fill and drain alone.
func serialChip(flow arch.Dataflow) *arch.Chip {
	c := queueChip()
	c.Name = "serial"
	c.Cores.Count = fig[int64](1)
	s := c.Cores.Matrix.Systolic
	s.Rows, s.Cols, s.Count, s.Dataflow, s.Fold = fig[int64](32), fig[int64](32), fig[int64](1), flow, arch.Serial
	c.Cores.Matrix.Rate = map[dtype.Type]config.Figure[unit.Rate]{dtype.Int8: fig(unit.Rate(2048)), dtype.BF16: fig(unit.Rate(2048))}
	return c
}

// meshChip is a thousand small cores that hold the tensors among them.
func meshChip() *arch.Chip {
	c := queueChip()
	c.Name, c.Discipline, c.Profile = "mesh", arch.Spatial, "mesh"
	c.Cores.Count = fig[int64](1000)
	m := &c.Cores.Matrix
	m.Systolic, m.Tile, m.TileN, m.TileK = nil, fig[int64](1), fig[int64](8), fig(unit.Bytes(8))
	m.Rate = map[dtype.Type]config.Figure[unit.Rate]{dtype.BF16: fig(unit.Rate(64)), dtype.FP32: fig(unit.Rate(16)), dtype.Int8: fig(unit.Rate(128))}
	c.Cores.Vector.Rate = map[dtype.Type]config.Figure[unit.Rate]{dtype.FP32: fig(unit.Rate(16))}
	c.Cores.Special = fig(unit.Rate(1))
	c.Cores.Scratchpad = arch.Scratchpad{Capacity: fig(256 * unit.KiB), Bandwidth: fig(unit.BytesPerClock(64))}
	c.Cores.DMA = nil
	c.Memory = arch.Memory{Shared: &arch.Shared{
		Capacity: fig(512 * unit.MiB), Bandwidth: fig(unit.BytesPerClock(4000)), Port: fig(unit.BytesPerClock(4)), Latency: fig(30 * unit.Nanosecond), Local: true,
	}}
	return c
}

// tileChip is the same in supersteps.
func tileChip() *arch.Chip {
	c := meshChip()
	c.Name, c.Discipline, c.Profile = "tiles", arch.BSP, "poplar"
	c.Superstep = &arch.Superstep{Sync: fig(200 * unit.Nanosecond), Threads: fig[int64](6)}
	return c
}

func chips() map[string]*arch.Chip {
	return map[string]*arch.Chip{"async": asyncChip(), "sync": syncChip(), "queues": queueChip(), "mesh": meshChip(), "tiles": tileChip()}
}
