package cli

import (
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// BenchmarkStart is the time from starting the program to its end when it does
// next to nothing.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		if err := exec.Command("maru", "version").Run(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRun is whole commands in this process.
func BenchmarkRun(b *testing.B) {
	for _, line := range []string{
		"run --chip h100-sxm --op gemm:m=4096,n=4096,k=4096",
		"run --chip h100-sxm --model llama-3.1-8b --seq 2048",
		"run --chip h100-sxm --model llama-3.1-8b --phase decode --batch 16 --seq 2048",
		"compile --chip h100-sxm --model llama-3.1-8b --seq 2048",
		"show chip h100-sxm",
		"list models",
	} {
		args := strings.Fields(line)
		b.Run(strings.ReplaceAll(strings.ReplaceAll(line, "--", ""), " ", "_"), func(b *testing.B) {
			for b.Loop() {
				if code := Run(args, IO{In: strings.NewReader(""), Out: io.Discard, Err: os.Stderr}); code != exitOK {
					b.Fatal(code)
				}
			}
		})
	}
}
