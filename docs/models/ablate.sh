#!/bin/sh
# What mechanisms contribute: mean errors of `maru validate` with each of them and without, as a table in Markdown.
#
#   sh docs/models/ablate.sh DATA [FOLD]
#
# DATA is a folder with tables of measurements, FOLD a part of their rows from 1 to 5, 5 unless given. MARU names the
# program, bin/maru unless given. Run it in the root of the repository.
set -eu

data=${1:?a folder with tables of measurements}
fold=${2:-5}
maru=${MARU:-bin/maru}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# errors FILE SYSTEMS FORMATS FLAG...: rows, mean error in percent, and the same of rows from 100 us on, of the formats
# named (- for all).
errors() {
	file=$1 systems=$2 formats=$3
	shift 3
	key=$tmp/$(echo "$file $systems $*" | cksum | tr ' ' '-')
	if [ ! -f "$key" ]; then
		"$maru" validate --data "$data" --fold "$fold" --files "$file" --system "$systems" --min-us 100 \
			--skip-unknown --json - "$@" >"$key"
	fi
	awk -v formats=",$formats," '
		/^  "groups"/ { on = 1 }
		!on { next }
		/"dtype":/ { split($0, w, "\""); take = formats == ",-," || index(formats, "," w[4] ",") }
		/"all":/ { part = 1 }
		/"long":/ { part = 2 }
		/"rows":/ { n = $2 + 0 }
		/"mean_error":/ && take && part { rows[part] += n; sum[part] += n * $2 }
		END {
			for (i = 1; i <= 2; i++) mean[i] = rows[i] ? sprintf("%.1f", 100 * sum[i] / rows[i]) : "-"
			print rows[1] + 0, mean[1], rows[2] + 0, mean[2]
		}' "$key"
}

# ablate NAME FILE SYSTEMS FORMATS FLAG...: a line of the table.
ablate() {
	name=$1 file=$2 systems=$3 formats=$4
	shift 4
	with=$(errors "$file" "$systems" "$formats")
	without=$(errors "$file" "$systems" "$formats" "$@")
	flags=
	for f in "$@"; do
		case $f in
		*\ *) flags="$flags ${f%%=*}=\"${f#*=}\"" ;;
		*) flags="$flags $f" ;;
		esac
	done
	echo "$name|$file|$systems|$formats|$with|$without|$flags" | awk -F'|' '
	function spaced(s) { gsub(",", ", ", s); return s }
	{
		split($5, a, " "); split($6, b, " ")
		printf "| %s | `%s` | %s, %s%s | %d | %s → %s | %d | %s → %s |\n",
			$1, substr($7, 2), $2, spaced($3), $4 == "-" ? "" : ", " spaced($4), a[1], a[2], b[2], a[3], a[4], b[4]
	}'
}

echo "| without | flags | table, systems, formats | rows | mean error, % | rows from 100 µs | mean error, % |"
echo "|---|---|---|---|---|---|---|"
ablate "power cap" gemm h100_sxm,gb200,a100_sxm bf16 --set power.cap="100 kW"
ablate "power above the cap for a short time" gemm h100_sxm,gb200,a100_sxm bf16 --set power.excursion=1
ablate "voltage that falls with the clock" gemm h100_sxm,gb200,a100_sxm bf16 --set power.voltage.floor=0.99
ablate "partitions of the shared cache" gemm h100_sxm bf16,fp8 --chip docs/models/one-partition.yaml
ablate "shared cache that kernels leave data in" gemm h100_sxm bf16,fp8 --set memory.l2.capacity="2 MiB"
ablate "far partitions' latency" attention_decode h100_sxm - --set memory.l2.far_latency="142 ns"
ablate "cost of short runs in main memory" gemm h100_sxm,gb200,a100_sxm bf16 --set memory.dram.run_overhead="1 B"
ablate "sustained share of main memory" gemm h100_sxm,gb200,a100_sxm bf16 --set memory.dram.sustained=1
ablate "loaded latency" gemm h100_sxm bf16,fp8 --set memory.dram.loaded_latency="346 ns"
ablate "limit of bytes in flight" moe h100_sxm - --set cores.in_flight="1 GiB"
ablate "limit of the shared cache's bandwidth" gemm h100_sxm bf16,fp8 --set memory.l2.bandwidth="100000 B/clk"
ablate "sustained share of the matrix unit" gemm h100_sxm bf16,fp8 --set cores.matrix.sustained=1
ablate "pairs of cores" gemm gb200 bf16,fp8 --set cores.matrix.pair=1
ablate "time of exponentials" attention_prefill h100_sxm,gb200 - --set cores.special="100000 op/clk"
ablate "slots of instructions beside multiply-adds" gemm h100_sxm fp32 --set cores.schedulers=16
ablate "start of a tile program" attention_decode a100_sxm - --set cores.start="0 clk"
ablate "handing out of tile programs" pointwise gb200 - --set cores.dispatch="1 clk"
ablate "gaps between kernels" moe h100_sxm - --set launch.graph="0 us"
ablate "libraries of integer formats" gemm a100_sxm int8_sq,int8_wo,int4_wo --library cublas
ablate "libraries of narrow formats" gemm h100_sxm,gb200 fp8_block,nvfp4 --library cublas
ablate "libraries of prompts" attention_prefill h100_sxm - --library cublas
ablate "libraries of decode" attention_decode a100_sxm - --library cublas
ablate "libraries of mixtures of experts" moe h100_sxm - --library cublas
ablate "libraries of pointwise operators" pointwise a100_80gb,h100_80gb,gb200 - --library cublas
ablate "figures calibrated on the chip" gemm h100_sxm,gb200,a100_sxm bf16 --uncalibrated
