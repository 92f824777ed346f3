# Needs Go, and make. Only `make race` needs a C compiler.
SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO      ?= go
BIN     := bin/pandanode
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
BUILD   := -trimpath -ldflags '-X main.version=$(VERSION)'
TOOL    := $(GO) tool -modfile=tools/go.mod
PURE    := ./mls/... ./crdt/... ./node/wire/... ./node/content/... ./node/blob/... ./node/picture/... ./node/identity/... ./node/group/...

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

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
	@GOTMPDIR="$${GOTMPDIR:-$${TMPDIR:-/tmp}}" TMPDIR="$$(.ci/scratch)" $(GO) test -vet=off -count=1 -timeout 20m -json ./... | bin/testcount

.PHONY: check
check: ## formatting, go vet, linters, forbidden imports, go.mod
	@out=$$($(TOOL) gofumpt -l $$(git ls-files '*.go' ':!:*.pb.go')) || exit 1; \
	  if [ -n "$$out" ]; then echo "not formatted (run: make fmt):"; echo "$$out"; exit 1; fi
	@$(GO) vet ./... && $(GO) vet -tags e2e ./cmd/pandanode
	@$(GO) test -count=1 ./internal/archtest
	@$(GO) mod tidy -diff
	@$(GO) mod verify >/dev/null
	@out=$$(mktemp -d) && node/web/page/build "$$out" && diff -r "$$out" node/web/dist >/dev/null && rm -r "$$out" || \
	  { echo "node/web/dist is not what node/web/page makes (run: make page)"; exit 1; }
	@packaging/verify-units 1.5
	@! command -v promtool >/dev/null || promtool check rules contrib/alerts.yml
	@$(TOOL) golangci-lint run --allow-serial-runners ./...
	@cd mls/interop && $(GO) mod tidy -diff && $(GO) vet ./... && $(GO) tool -modfile=../../tools/go.mod golangci-lint run --allow-serial-runners ./...
	@cd tools/browser && $(GO) mod tidy -diff && $(GO) vet ./... && $(GO) tool -modfile=../go.mod golangci-lint run --allow-serial-runners ./...
	@cd tools/dist && $(GO) mod tidy -diff && $(GO) vet ./... && $(GO) tool -modfile=../../tools/go.mod golangci-lint run --allow-serial-runners ./...
	@echo "check: all clean"

.PHONY: page
page: ## build the page of `pandanode web` anew, of its sources in node/web/page
	@node/web/page/build node/web/dist

# The browser of `make web-test` is the system's. PICTURES=docs makes the README's pictures anew,
# LOOKS=DIR pictures of the rest of the page.
.PHONY: web-test
web-test: ## the page in Chromium: two people, hostile pages, 10,000 messages (needs chromium; 1 min)
	@tools/browser/install
	@$(GO) build -o bin/page-test ./cmd/pandanode
	@PAGE_PROGRAM="$(CURDIR)/bin/page-test" PAGE_PICTURES="$(abspath $(PICTURES))" PAGE_LOOKS="$(abspath $(LOOKS))" $(GO) test -C tools/browser -count=1 -timeout 5m -v .

.PHONY: units
units: ## look at the systemd units in packaging/systemd (needs systemd-analyze)
	@packaging/verify-units 1.5

.PHONY: dist
dist: ## archives, deb, rpm, apk, container image, bill of materials into bin/dist; PLATFORMS="linux/amd64" for fewer (10 min cold)
	@VERSION=$(VERSION) packaging/dist bin/dist

.PHONY: repro
repro: ## build the release for linux/amd64 twice, in two folders, and compare (10 min)
	@packaging/repro

.PHONY: deb-test
deb-test: ## install, run, upgrade and purge the deb of bin/dist in a root of its own (Debian, root, debootstrap; 2 min)
	@packaging/try-deb "$$(ls -t bin/dist/*-linux-$$($(GO) env GOARCH).deb | head -1)"

CROSS ?= windows darwin freebsd
.PHONY: cross
cross: ## build for windows, darwin and freebsd, on which no test runs here (6 min cold)
	@for os in $(CROSS); do \
	  CGO_ENABLED=0 GOOS=$$os GOARCH=amd64 $(GO) build ./... || { echo "cross: $$os does not build"; exit 1; }; \
	done
	@for os in $(CROSS); do CGO_ENABLED=0 GOOS=$$os GOARCH=amd64 $(GO) vet ./cmd/... ./internal/... ./node/config || exit 1; done
	@echo "cross: $(CROSS) build"

.PHONY: fmt
fmt: ## format the code
	@$(TOOL) gofumpt -w $$(git ls-files '*.go' ':!:*.pb.go')

.PHONY: race
race: ## the race detector on the pure packages (needs a C compiler)
	@command -v $${CC:-gcc} >/dev/null || { echo "make race needs a C compiler: gcc was not found"; exit 1; }
	@$(GO) build -o bin/testcount ./internal/testcount
	@CGO_ENABLED=1 $(GO) test -race -short -count=1 -timeout 25m -json $(PURE) | bin/testcount

.PHONY: clean
clean: ## remove built files, but not the node of `make run`
	@rm -rf $(BIN) bin/testcount bin/page-test bin/fuzz

.PHONY: sim
sim: ## the simulator: all scenarios, and the worlds of `make worlds` (3 min on two cores)
	@$(GO) test -count=1 -timeout 20m -v -run 'TestScenarios' ./sim | grep -v '^=== '
	@$(MAKE) --no-print-directory worlds

.PHONY: worlds
worlds: ## 100 random worlds of all kinds, new with each commit; `make test` plays twelve (2 min)
	@$(GO) build -o bin/testcount ./internal/testcount
	@PANDANODE_SIM_MIXED=100 $(GO) test -count=1 -timeout 20m -json -run '^TestMixedWorlds$$' ./sim | bin/testcount

.PHONY: sim-net
sim-net: build ## whole nodes in virtual time: cut in two for three minutes and an hour, members of the past, and files (3 min)
	@./$(BIN) sim run sim/scenarios/net/three-minutes.sim --backend net
	@./$(BIN) sim run sim/scenarios/net/homes-of-before.sim --backend net
	@./$(BIN) sim run sim/scenarios/net/files.sim --backend net
	@./$(BIN) sim run sim/scenarios/net/one-hour.sim --backend net

.PHONY: bench
bench: ## the costs of package mls as one table; fails where a ratio is missed (1 min)
	@$(GO) test ./mls -count=1 -timeout 9m -run '^$$' -bench '^BenchmarkTable$$' -benchtime 1x

.PHONY: bench-group
bench-group: ## the costs of the group machine as one table
	@$(GO) test ./node/group -count=1 -timeout 9m -run '^$$' -bench '^BenchmarkTable$$' -benchtime 1x
	@$(GO) test ./node/group/epochs -count=1 -run '^$$' -bench '^BenchmarkForkChoice$$' -benchtime 500x

.PHONY: bench-authority
bench-authority: ## what an operation, a hostile one and a start cost in a group with 10,000 of them; fails where a bound is missed
	@$(GO) test ./node/group -count=1 -timeout 9m -run '^$$' -bench '^BenchmarkAuthority$$' -benchtime 1x

.PHONY: bench-flood
bench-flood: ## what 46 MB of valid entries of one member cost the others, by kind; fails where a bound is missed (4 min)
	@$(GO) test ./node/group -count=1 -timeout 20m -run '^$$' -bench '^BenchmarkFloods$$' -benchtime 1x

.PHONY: bench-members
bench-members: ## what a group of 1,000 members costs who were let in one by one: PANDANODE_MEMBERS=N for another size (1 min)
	@$(GO) test ./node/group -count=1 -timeout 60m -run '^$$' -bench '^BenchmarkMembers$$' -benchtime 1x

.PHONY: bench-written
bench-written: ## 6,000 devices each write once: vectors in parts, what an exchange costs (1 min)
	@$(GO) test ./node/group -count=1 -timeout 20m -run '^$$' -bench '^BenchmarkWritten$$' -benchtime 1x

.PHONY: bench-crowd
bench-crowd: ## a group grows to 5,000 members in the machine, is added to, removed from and left (5 min)
	@$(GO) test ./node/group -count=1 -timeout 60m -run '^$$' -bench '^BenchmarkCrowd$$' -benchtime 1x

FUZZTIME ?= 10s
.PHONY: fuzz
fuzz: ## every fuzz target of the module, each for FUZZTIME (10s)
	@GO=$(GO) .ci/fuzz $(FUZZTIME)

.PHONY: interop
interop: ## MLS with ts-mls and core-crypto, live (needs node, npm and its registry)
	@$(GO) run -C mls/interop ./live

.PHONY: e2e
e2e: build ## real processes: cut for a minute, full and broken disks, many behind one address, clocks apart, the chat in tmux (Linux, root, iproute2, iptables; 5 min)
	@./$(BIN) sim run sim/scenarios/host/one-minute-cut.sim --backend host
	@$(GO) test -count=1 -tags e2e -timeout 15m -run '^(TestDiskFull|TestLittleSpace|TestReadOnly|TestFlippedBits|TestManyBehindOneAddress|TestClocksApart)$$' -v ./cmd/pandanode
	@PATH="$(CURDIR)/bin:$$PATH" $(GO) test -count=1 -tags e2e -timeout 10m -run '^(TestFileOf50MiB|TestFileOfTwoPartialHolders|TestChatSendsOnce|TestFileOf50MiBByAMailbox|TestBotAnswersOnce|TestHooksFail|TestHookSurvivesKills)$$' -v ./cmd/pandanode
	@$(MAKE) --no-print-directory screen-test

# PICTURES=docs makes the README's picture of the chat anew.
.PHONY: screen-test
screen-test: ## the chat on a whole terminal, in tmux with three real nodes (installs tmux where it may; 1 min)
	@cmd/pandanode/testdata/install-tmux
	@PANDANODE_PICTURES="$(abspath $(PICTURES))" $(GO) test -count=1 -tags e2e -timeout 10m -run '^TestScreen$$' -v ./cmd/pandanode

.PHONY: soak
soak: ## four real nodes with churn for two minutes: their use of resources must level off
	@$(GO) test -count=1 -tags e2e -timeout 15m -run '^TestSoak$$' -v ./cmd/pandanode

.PHONY: e2e-long
e2e-long: build ## longer faults: 200 kills, 500 flipped bits and half an hour of soak (45 min)
	@PANDANODE_KILLS=200 $(GO) test -count=1 -timeout 60m -run '^TestKill$$' -v ./sim
	@PANDANODE_FLIPS=500 PANDANODE_SOAK=30m $(GO) test -count=1 -tags e2e -timeout 90m -run '^(TestFlippedBits|TestSoak)$$' -v ./cmd/pandanode

.PHONY: bench-node
bench-node: ## figures of real nodes on this machine as one table; fails where a bound is missed (4 min)
	@$(GO) test -count=1 -tags e2e -timeout 15m -run '^TestBenchNode$$' -v ./cmd/pandanode
	@$(GO) test ./node -count=1 -run '^$$' -bench '^BenchmarkAtRest$$' -benchtime 1x

.PHONY: bench-reading
bench-reading: ## search, pages of history and a start in a group of 100,000 messages; fails where a bound is missed (1 min)
	@$(GO) test ./node -count=1 -timeout 9m -run '^$$' -bench '^BenchmarkReading$$' -benchtime 1x

.PHONY: bench-burst
bench-burst: build ## bursts between real nodes, 2 and 10 members; PANDANODE_BEFORE=PROGRAM also measures that program (15 min)
	@PATH="$(CURDIR)/bin:$$PATH" $(GO) test -count=1 -tags e2e -timeout 60m -run '^TestBenchBurst$$' -v ./cmd/pandanode

.PHONY: bench-floor
bench-floor: build ## groups of 2, 10 and 50 real nodes beside plain GossipSub hosts, with and without fsync; PANDANODE_BEFORE=PROGRAM also measures that program (Linux, 10 min)
	@$(GO) build -o bin/floor ./sim/floor
	@$(GO) test -c -tags e2e -o bin/e2e.test ./cmd/pandanode
	@PATH="$(CURDIR)/bin:$$PATH" unshare -rn sh -c 'ip link set lo up && bin/e2e.test -test.timeout 60m -test.run "^TestBenchFloor$$" -test.v'

.PHONY: bench-dht
bench-dht: ## the DHT of 10,000 nodes in a model: the tables and curves of docs/SCALE.md (an hour; 2 GB)
	@$(GO) build -o bin/dhtbench ./sim/dhtbench
	@bin/dhtbench run docs/scale.json -at-once 2
	@bin/dhtbench draw docs/scale.json docs

.PHONY: bench-dht-real
bench-dht-real: ## that model beside 100 real hosts in virtual time: HOSTS=N for another number (5 min; 2 GB)
	@$(GO) build -o bin/dhtbench ./sim/dhtbench
	@bin/dhtbench real -hosts $(or $(HOSTS),100)

.PHONY: bench-files
bench-files: build ## a file of 50 MiB between real nodes, beside a plain stream and SHA-256 (Linux, 1 min)
	@PATH="$(CURDIR)/bin:$$PATH" $(GO) test -count=1 -tags e2e -timeout 10m -run '^TestFileOf50MiB$$' -v ./cmd/pandanode

.PHONY: attacks
attacks: build ## attacks by strangers on real nodes, on loopback; fails where a bound is missed; BEFORE=PROGRAM attacks that one (Linux, root, 7 min)
	@$(GO) run ./sim/attacker $(if $(BEFORE),-before) table $(or $(BEFORE),$(BIN)) $(ATTACKS)

.PHONY: bench-idle
bench-idle: ## the cost of a node in 1, 20 and 500 groups in which nothing happens (2 min)
	@PANDANODE_TEST_IDLE=1,20,500 $(GO) test ./node -count=1 -timeout 15m -run '^TestIdleCost$$' -v

.PHONY: long
long: ## all that takes hours: 2,000 random worlds, bench-sim, 100 whole nodes, e2e-long, bench-node (3 h)
	@PANDANODE_SIM_SEEDS=2000 PANDANODE_SIM_MIXED=1000 $(GO) test -count=1 -timeout 5h -v -run 'TestRandomWorlds|TestMixedWorlds' ./sim
	@$(MAKE) --no-print-directory bench-sim build
	@./$(BIN) sim run sim/scenarios/net/one-day.sim --backend net
	@./$(BIN) sim run sim/scenarios/net/hundred.sim --backend net
	@$(MAKE) --no-print-directory e2e-long bench-node

.PHONY: bench-sim
bench-sim: ## a table: 10, 30, 100 devices and 1,000 groups, cut in three for a day (an hour or more)
	@PANDANODE_SIM_BENCH=full $(GO) test -count=1 -timeout 5h -v -run 'TestBench$$' ./sim
