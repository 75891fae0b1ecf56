# kipass: `make run` shows the whole way of a scan on this machine, `make test` runs all tests, `make help` lists the rest.

SHELL := /bin/sh
GO ?= go
BIN := bin
PROGRAMS := kipass-gate kipass-visits kipass-issuer kipass-inquiry kipass-scheme kipass-lab

# What run, test and cross install when it is missing (Debian packages).
BUILD_NEEDS := gcc libc6-dev pkg-config libasound2-dev ca-certificates
TEST_NEEDS := $(BUILD_NEEDS) chromium fonts-noto-cjk
CROSS_NEEDS := gcc-aarch64-linux-gnu libc6-dev-arm64-cross libasound2-dev:arm64 \
	gcc-arm-linux-gnueabihf libc6-dev-armhf-cross libasound2-dev:armhf
SOUND_NEEDS := espeak-ng sox

HIL_NEEDS := $(BUILD_NEEDS) e2fsprogs alsa-utils

# Of `make hil`.
CYCLES ?= 200
REPLUGS ?= 100

# Of `make run`.
SCANS ?= 200
OUTAGE ?= 0s
KILL ?= 0s

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
FLAGS := -trimpath -ldflags '-s -w -X main.version=$(VERSION)'

# The gate's own packages, run on arm under emulation. qemu-user emulates neither the hanging up of a terminal, nor evdev's ioctls, nor namespaces.
ARM_TESTS := -timeout 20m -skip '/line_hung_up|/by_the_real_kernel|/file_system_of' ./protocol/token ./protocol/visit ./drivers/... ./firmware/clock ./firmware/journal

.PHONY: help run test test-arm bench hil build cross sounds lint needs-build needs-test

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22

run: build ## the whole chain on this machine: make run SCANS=200 OUTAGE=20s KILL=3s
	@$(BIN)/kipass-lab run --scans $(SCANS) --outage $(OUTAGE) --kill $(KILL)

test: needs-test ## all tests
	$(GO) vet ./...
	$(GO) test -race ./...
	CGO_ENABLED=0 GOARCH=arm64 $(GO) vet -tags nosound ./...
	CGO_ENABLED=0 GOARCH=arm GOARM=7 $(GO) vet -tags nosound ./...

test-arm: needs-build ## the gate's drivers and journal on arm64 and arm v7, emulated by qemu-user
	@packaging/install-missing $(CROSS_NEEDS) qemu-user
	CGO_ENABLED=1 GOARCH=arm64 CC=aarch64-linux-gnu-gcc PKG_CONFIG_LIBDIR=/usr/lib/aarch64-linux-gnu/pkgconfig \
		KIPASS_TEST_EMULATOR=qemu-aarch64 $(GO) test -exec qemu-aarch64 $(ARM_TESTS)
	CGO_ENABLED=1 GOARCH=arm GOARM=7 CC=arm-linux-gnueabihf-gcc PKG_CONFIG_LIBDIR=/usr/lib/arm-linux-gnueabihf/pkgconfig \
		KIPASS_TEST_EMULATOR=qemu-arm $(GO) test -exec qemu-arm $(ARM_TESTS)

bench: needs-build build ## our figures against bare limits taken in the same run
	@$(BIN)/kipass-lab bench

hil: ## drivers and journal on a real kernel without hardware: make hil CYCLES=200 REPLUGS=100 ONLY=serial,journal
	@packaging/install-missing $(HIL_NEEDS)
	@kernel=$$(lab/hil/build-kernel) && $(GO) run ./cmd/kipass-hil run --kernel "$$kernel" --cycles $(CYCLES) --replugs $(REPLUGS) $(if $(ONLY),--only $(ONLY))

build: needs-build ## the programs, into bin/
	@mkdir -p $(BIN)
	@echo "building $(PROGRAMS)" >&2
	@$(GO) build $(FLAGS) -o $(BIN)/ $(addprefix ./cmd/,$(PROGRAMS))

cross: needs-build ## the gate for linux/amd64, arm64 and arm v7 with sound, arm v6 without
	@packaging/install-missing $(CROSS_NEEDS)
	@mkdir -p $(BIN)
	CGO_ENABLED=1 GOARCH=amd64 $(GO) build $(FLAGS) -o $(BIN)/kipass-gate-linux-amd64 ./cmd/kipass-gate
	CGO_ENABLED=1 GOARCH=arm64 CC=aarch64-linux-gnu-gcc PKG_CONFIG_LIBDIR=/usr/lib/aarch64-linux-gnu/pkgconfig \
		$(GO) build $(FLAGS) -o $(BIN)/kipass-gate-linux-arm64 ./cmd/kipass-gate
	CGO_ENABLED=1 GOARCH=arm GOARM=7 CC=arm-linux-gnueabihf-gcc PKG_CONFIG_LIBDIR=/usr/lib/arm-linux-gnueabihf/pkgconfig \
		$(GO) build $(FLAGS) -o $(BIN)/kipass-gate-linux-armv7 ./cmd/kipass-gate
	CGO_ENABLED=0 GOARCH=arm GOARM=6 $(GO) build -tags nosound $(FLAGS) -o $(BIN)/kipass-gate-linux-armv6 ./cmd/kipass-gate

sounds: ## make the voice clips and tones anew from sounds/words.tsv
	@packaging/install-missing $(SOUND_NEEDS)
	sounds/make.sh

lint: ## gofmt, vet and staticcheck
	@test -z "$$(gofmt -l .)" || { gofmt -l .; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

needs-build:
	@packaging/install-missing $(BUILD_NEEDS)

needs-test:
	@packaging/install-missing $(TEST_NEEDS)
