# Needs Go, and make. Only `make race` needs a C compiler.
SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO      ?= go
BIN     := bin/pandanode
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
BUILD   := -trimpath -ldflags '-X main.version=$(VERSION)'
TOOL    := $(GO) tool -modfile=tools/go.mod
PURE    := ./mls/... ./crdt/... ./node/wire/... ./node/identity/... ./node/group/...

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/pandanode
	@CGO_ENABLED=0 $(GO) build $(BUILD) -o $(BIN) ./cmd/pandanode

.PHONY: run
run: build ## run a node to try things out, with its home and key file below bin
	@test -d bin/home || ./$(BIN) --home bin/home init --key-file bin/home.key
	@exec ./$(BIN) --home bin/home run

.PHONY: demo
demo: build ## three nodes as three processes: find, join, talk, crash, remove (under 60 s)
	@exec ./$(BIN) demo

.PHONY: test
test: ## run all tests and count them (under 10 min on two cores)
	@$(GO) build -o bin/testcount ./internal/testcount
	@$(GO) test -count=1 -timeout 9m -json ./... | bin/testcount

.PHONY: check
check: ## formatting, go vet, linters, forbidden imports, go.mod
	@out=$$($(TOOL) gofumpt -l $$(git ls-files '*.go' ':!:*.pb.go')) || exit 1; \
	  if [ -n "$$out" ]; then echo "not formatted (run: make fmt):"; echo "$$out"; exit 1; fi
	@$(GO) vet ./...
	@$(GO) test -count=1 ./internal/archtest
	@$(GO) mod tidy -diff
	@$(GO) mod verify >/dev/null
	@$(TOOL) golangci-lint run ./...
	@echo "check: all clean"

.PHONY: fmt
fmt: ## format the code
	@$(TOOL) gofumpt -w $$(git ls-files '*.go' ':!:*.pb.go')

.PHONY: race
race: ## the race detector on the pure packages (needs a C compiler)
	@command -v $${CC:-gcc} >/dev/null || { echo "make race needs a C compiler: gcc was not found"; exit 1; }
	@$(GO) build -o bin/testcount ./internal/testcount
	@CGO_ENABLED=1 $(GO) test -race -count=1 -timeout 9m -json $(PURE) | bin/testcount

.PHONY: clean
clean: ## remove what was built, but not the node of `make run`
	@rm -f $(BIN) bin/testcount

.PHONY: sim
sim: ## the simulator: 28 scenarios, 100 random worlds (3 min on two cores)
	@$(GO) test -count=1 -timeout 20m -v -run 'TestScenarios|TestRandomWorlds' ./sim | grep -v '^=== '

.PHONY: long
long: ## the simulator: 2,000 random worlds, and the large worlds of bench-sim
	@PANDANODE_SIM_SEEDS=2000 $(GO) test -count=1 -timeout 5h -v -run 'TestRandomWorlds' ./sim
	@$(MAKE) --no-print-directory bench-sim

.PHONY: bench-sim
bench-sim: ## a table: 10, 30, 100 devices and 1,000 groups, cut in three for a day (an hour or more)
	@PANDANODE_SIM_BENCH=full $(GO) test -count=1 -timeout 5h -v -run 'TestBench$$' ./sim

.PHONY: fuzz bench e2e interop
fuzz bench e2e interop: ## not built yet
	@echo "make $@: not built yet: see the project's issues" >&2; exit 1
