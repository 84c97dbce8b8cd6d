# Targets: run build test lint bench update clean. CONTRIBUTING.md explains them.

GO     ?= go
BIN    := bin/maru
OUT    := out/
STATIC := CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags "-s -w"

.PHONY: all
all: build

# One static binary.
.PHONY: build
build:
	$(STATIC) -o $(BIN) ./cmd/maru

# A run of Llama 3.1 8B on an H100, with all that it can write.
.PHONY: run
run: build
	$(BIN) run --chip h100-sxm --model llama-3.1-8b --phase prefill --batch 1 --seq 2048 --out $(OUT)

# All tests.
.PHONY: test
test:
	$(GO) test ./...

# gofmt, vet and staticcheck, with and without the checks of the invariants tag.
.PHONY: lint
lint:
	@files="$$(gofmt -l $$(find . -name '*.go' -not -path './bin/*'))"; \
	if [ -n "$$files" ]; then echo "not as gofmt writes it:"; echo "$$files"; exit 1; fi
	$(GO) vet ./...
	$(GO) vet -tags invariants ./sim/... ./workloads/...
	$(GO) tool -modfile=tools/go.mod staticcheck ./...
	$(GO) tool -modfile=tools/go.mod staticcheck -tags invariants ./sim/... ./workloads/...

# Benchmarks only. Compare two runs with benchstat.
.PHONY: bench
bench:
	$(GO) test -run '^$$' -bench . -benchmem ./...

# Write what tests compare with anew: docs/cli.md, the output in README.md and
# docs/, the scripts' expectations. Read the difference before committing it.
.PHONY: update
update:
	$(GO) test ./internal/cli -update
	$(GO) test ./studies/micro -update

.PHONY: clean
clean:
	rm -rf bin out
