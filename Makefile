# kipass: `make run` shows the whole way of a scan on this machine, `make test` runs all tests, `make help` lists the rest.

SHELL := /bin/sh
GO ?= go
BIN := bin
PROGRAMS := kipass-gate kipass-visits kipass-issuer kipass-inquiry kipass-scheme kipass-lab

# Debian packages, installed by `make deps` alone. The other targets call it when one of theirs is missing, and say which.
BUILD_NEEDS := gcc libc6-dev pkg-config libasound2-dev ca-certificates
TEST_NEEDS := $(BUILD_NEEDS) chromium fonts-noto-cjk
CROSS_NEEDS := gcc-aarch64-linux-gnu libc6-dev-arm64-cross libasound2-dev:arm64 \
	gcc-arm-linux-gnueabihf libc6-dev-armhf-cross libasound2-dev:armhf
SOUND_NEEDS := espeak-ng sox
HIL_NEEDS := $(BUILD_NEEDS) e2fsprogs alsa-utils

# Only ends a test that hangs: a busy machine may take many times what a quiet one does.
TIMEOUT := -timeout 45m
# Many tests wait for a pseudo-terminal, a process or a browser, and may wait side by side.
PARALLEL := -parallel 8

# Of `make hil`.
CYCLES ?= 200
REPLUGS ?= 100

# Of `make run`.
SCANS ?= 200
OUTAGE ?= 0s
KILL ?= 0s

# Of `make matrix`: nothing begins later than this.
LIMIT ?= 15m

# Of `make sim`: SEED plays one seed and tells all that happens, SEEDS plays many from FIRST on. Of `make matrix`: SEED repeats one.
SEEDS ?= 200
FIRST ?= 1

# Of `make fuzz`: for how long each target runs.
FUZZTIME ?= 20s

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
FLAGS := -trimpath -ldflags '-s -w -X main.version=$(VERSION)'
# Of the lab's own builds, whose clock and disk can be broken: see internal/labfault. No program that is shipped has it.
LAB_TAG := kipasslab

# The gate's own packages, run on arm under emulation. qemu-user emulates neither the hanging up of a terminal, nor evdev's ioctls, nor namespaces.
ARM_TESTS := $(TIMEOUT) -skip '/line_hung_up|/by_the_real_kernel|/file_system_of' ./protocol/token ./protocol/visit ./drivers/... ./firmware/clock ./firmware/journal/...

# needs names what to install for a target: $(call needs,PACKAGES)
needs = packages=$$(packaging/missing $(1)) || { \
	echo "kipass: 없는 Debian 패키지 / missing Debian packages: $$packages → make deps" >&2; \
	$(MAKE) --no-print-directory deps NEEDS="$$packages"; }

.PHONY: help deps run matrix lab check test test-arm fuzz sim bench hil build man cross sounds lint

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22

run: build ## the whole chain on this machine: make run SCANS=200 OUTAGE=20s KILL=3s
	@$(BIN)/kipass-lab run --scans $(SCANS) --outage $(OUTAGE) --kill $(KILL)

matrix: lab ## clocks, disks, readers, power and network at fault together, on real programs: make matrix LIMIT=15m SEED=1
	@$(BIN)/lab/kipass-lab matrix --limit $(LIMIT) $(if $(SEED),--seed $(SEED))

lab: ## the programs with what the lab breaks, into bin/lab/: never ship them
	@$(call needs,$(BUILD_NEEDS))
	@mkdir -p $(BIN)/lab
	@$(GO) build -tags $(LAB_TAG) $(FLAGS) -o $(BIN)/lab/ $(addprefix ./cmd/,$(PROGRAMS))

deps: ## install the Debian packages that are missing (as root): make deps, or make deps NEEDS="gcc sox"
	@packaging/install-missing $(or $(NEEDS),$(TEST_NEEDS))

check: lint ## lint and the quick tests: no browser, no subprocess of ours, no kernel
	$(GO) test $(TIMEOUT) $(PARALLEL) -short ./...

# The weeks that lab/sim plays are left out under the race detector and follow without it.
test: lint ## lint and all tests
	@$(call needs,$(TEST_NEEDS))
	$(GO) test $(TIMEOUT) $(PARALLEL) -race ./...
	$(GO) test $(TIMEOUT) ./lab/sim

test-arm: ## the gate's drivers and journal on arm64 and arm v7, emulated by qemu-user
	@$(call needs,$(BUILD_NEEDS) $(CROSS_NEEDS) qemu-user)
	CGO_ENABLED=1 GOARCH=arm64 CC=aarch64-linux-gnu-gcc PKG_CONFIG_LIBDIR=/usr/lib/aarch64-linux-gnu/pkgconfig \
		KIPASS_TEST_EMULATOR=qemu-aarch64 $(GO) test -exec qemu-aarch64 $(ARM_TESTS)
	CGO_ENABLED=1 GOARCH=arm GOARM=7 CC=arm-linux-gnueabihf-gcc PKG_CONFIG_LIBDIR=/usr/lib/arm-linux-gnueabihf/pkgconfig \
		KIPASS_TEST_EMULATOR=qemu-arm $(GO) test -exec qemu-arm $(ARM_TESTS)

fuzz: ## every fuzz target for a while: make fuzz FUZZTIME=20s ONLY=token
	@$(call needs,$(BUILD_NEEDS))
	@GO="$(GO)" lab/fuzz $(FUZZTIME) "$(ONLY)"

sim: build ## weeks of gates and servers under synthetic time, with faults: make sim SEEDS=200 FIRST=1, or make sim SEED=7
	@$(GO) test -c -o $(BIN)/kipass-sim ./lab/sim
	@$(BIN)/kipass-lab sim $(if $(SEED),--seed $(SEED),--seeds $(SEEDS) --first $(FIRST))

bench: build ## our figures against bare limits taken in the same run
	@$(BIN)/kipass-lab bench

hil: ## drivers and journal on a real kernel without hardware: make hil CYCLES=200 REPLUGS=100 ONLY=serial,journal
	@$(call needs,$(HIL_NEEDS))
	@kernel=$$(lab/hil/build-kernel) && $(GO) run ./cmd/kipass-hil run --kernel "$$kernel" --cycles $(CYCLES) --replugs $(REPLUGS) $(if $(ONLY),--only $(ONLY))

build: ## the programs, into bin/
	@$(call needs,$(BUILD_NEEDS))
	@mkdir -p $(BIN)
	@echo "building $(PROGRAMS)" >&2
	@$(GO) build $(FLAGS) -o $(BIN)/ $(addprefix ./cmd/,$(PROGRAMS))

man: build ## manual pages into bin/man/, completion for bash and zsh into bin/completion/
	@mkdir -p $(BIN)/completion/bash $(BIN)/completion/zsh
	@for p in $(PROGRAMS); do \
		$(BIN)/$$p man --dir $(BIN)/man && \
		$(BIN)/$$p completion bash >$(BIN)/completion/bash/$$p && \
		$(BIN)/$$p completion zsh >$(BIN)/completion/zsh/_$$p || exit 1; \
	done

cross: ## the gate for linux/amd64, arm64 and arm v7 with sound, arm v6 without
	@$(call needs,$(BUILD_NEEDS) $(CROSS_NEEDS))
	@mkdir -p $(BIN)
	CGO_ENABLED=1 GOARCH=amd64 $(GO) build $(FLAGS) -o $(BIN)/kipass-gate-linux-amd64 ./cmd/kipass-gate
	CGO_ENABLED=1 GOARCH=arm64 CC=aarch64-linux-gnu-gcc PKG_CONFIG_LIBDIR=/usr/lib/aarch64-linux-gnu/pkgconfig \
		$(GO) build $(FLAGS) -o $(BIN)/kipass-gate-linux-arm64 ./cmd/kipass-gate
	CGO_ENABLED=1 GOARCH=arm GOARM=7 CC=arm-linux-gnueabihf-gcc PKG_CONFIG_LIBDIR=/usr/lib/arm-linux-gnueabihf/pkgconfig \
		$(GO) build $(FLAGS) -o $(BIN)/kipass-gate-linux-armv7 ./cmd/kipass-gate
	CGO_ENABLED=0 GOARCH=arm GOARM=6 $(GO) build -tags nosound $(FLAGS) -o $(BIN)/kipass-gate-linux-armv6 ./cmd/kipass-gate

sounds: ## make the voice clips and tones anew from sounds/words.tsv
	@$(call needs,$(SOUND_NEEDS))
	sounds/make.sh

lint: ## gofmt, vet (arm as well) and staticcheck
	@$(call needs,$(BUILD_NEEDS))
	@test -z "$$(gofmt -l .)" || { echo "gofmt:"; gofmt -l .; exit 1; }
	$(GO) vet ./...
	CGO_ENABLED=0 GOARCH=arm64 $(GO) vet -tags nosound ./...
	CGO_ENABLED=0 GOARCH=arm GOARM=7 $(GO) vet -tags nosound ./...
	$(GO) vet -tags $(LAB_TAG) ./cmd/...
	$(GO) tool staticcheck ./...
