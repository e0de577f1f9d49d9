# Hearth: what a person types. `make` alone lists it.
#
# The daemons that the lab and the demo run are release builds in $(BIN_DIR). End-to-end
# tests run those of their own build; HEARTH_BIN_DIR names another folder.

CARGO      ?= cargo
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
BIN_DIR    := $(TARGET_DIR)/release
# Of `make mn-static`: x86_64 or aarch64.
ARCH       ?= x86_64
MN_TARGET  := $(ARCH)-unknown-linux-musl
MN_STATIC  := $(TARGET_DIR)/$(MN_TARGET)/static/hearth-mn
ifeq ($(ARCH),aarch64)
MN_CROSS   := CC_aarch64_unknown_linux_musl=aarch64-linux-gnu-gcc CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER=rust-lld
endif
# Binaries that run in the lab.
DAEMONS    := -p hearthd -p hearth-hac -p hearth-mn -p hearth-cli
# Namespaces and raw sockets need root.
SUDO       := $(shell [ "$$(id -u)" = 0 ] || echo sudo -E env "PATH=$$PATH")
ifneq ($(SUDO),)
export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER := $(SUDO)
endif

.DEFAULT_GOAL := help
.PHONY: help deps build deb deb-test demo roam lab lab-down test conformance bench bench-deps bench-mn bench-quick docs schemas lint test-dashboard test-vm

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

deps: ## install what is missing of Debian's packages (asks nothing)
	@scripts/deps.sh

bench-deps:
	@scripts/deps.sh bench

build: deps ## build every daemon and tool, optimised
	$(CARGO) build --release $(DAEMONS) -p hearth-lab

demo: build ## move a mobile node between two networks during a TCP transfer, and report
	$(SUDO) $(BIN_DIR)/hearth-lab demo

roam: build ## an hour on the move, compressed, under one TCP connection: target/roam/roam.svg
	$(SUDO) $(BIN_DIR)/hearth-lab roam

lab: build ## bring up the lab of network namespaces and leave it there
	$(SUDO) $(BIN_DIR)/hearth-lab up

lab-down: ## remove every trace of the lab
	@$(SUDO) scripts/lab-down.sh $(BIN_DIR)/hearth-lab

mn-static: ## hearth-mn as one static program (musl) for a small router; ARCH=aarch64: for ARM
	@scripts/mn-static.sh $(ARCH)
	$(MN_CROSS) $(CARGO) build --profile static -p hearth-mn --target $(MN_TARGET)

mn-static-test: mn-static ## is it static and small, and does it register and carry?
	@! readelf --program-headers --wide $(MN_STATIC) | grep INTERP || { echo "not static" >&2; exit 1; }
	@test $$(stat -c %s $(MN_STATIC)) -lt 10000000 || { echo "10 MB or more" >&2; exit 1; }
	HEARTH_MN=$(abspath $(MN_STATIC)) $(CARGO) test -p hearth-mn --test netns -- \
	    registers_carries a_registered_node_is_small

deb: ## Debian packages of the daemons and tools: target/deb/
	@scripts/deps.sh deb
	rm -rf $(TARGET_DIR)/deb && mkdir -p $(TARGET_DIR)/deb
	CARGO_TARGET_DIR=$(abspath $(TARGET_DIR)) debian/rules clean binary
	@ls -l $(TARGET_DIR)/deb

deb-test: deb ## install, upgrade and remove the packages in a fresh Debian with systemd
	$(SUDO) tests/packages/try.sh $(TARGET_DIR)/deb

test: deps ## unit, vector and end-to-end tests, and the conformance list
	$(CARGO) build --workspace --bins --tests
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
	    set -x; $(CARGO) test --workspace --doc && $(CARGO) nextest run --workspace && \
	    $(CARGO) run -q -p hearth-conformance -- report $(TARGET_DIR)/nextest/default/junit.xml; \
	else \
	    set -x; $(CARGO) test --workspace && $(CARGO) run -q -p hearth-conformance -- run; \
	fi

conformance: deps ## the conformance list, row by row: pass, fail, exception, missing
	$(CARGO) build --workspace --bins --tests
	$(CARGO) run -q -p hearth-conformance -- run

bench: bench-deps ## every performance row in about ten minutes: target/perf/report.html
	$(CARGO) build --profile dist -p hearth-perf $(DAEMONS)
	$(SUDO) $(TARGET_DIR)/dist/hearth-perf bench

bench-mn: bench-deps ## hearth-mn against strongSwan and boringtun, in namespaces, in about two minutes
	$(CARGO) build --profile dist -p hearth-perf $(DAEMONS)
	$(SUDO) $(TARGET_DIR)/dist/hearth-perf mn

bench-quick: deps ## the main performance rows in about a minute
	$(CARGO) build --profile dist -p hearth-perf
	$(SUDO) $(TARGET_DIR)/dist/hearth-perf quick

test-dashboard: deps ## the dashboard in Chromium follows a mobile node; pictures into target/dashboard/
	@scripts/deps.sh browser
	cd tests/dashboard && npm ci --no-audit --no-fund --silent
	$(CARGO) build --workspace --bins
	mkdir -p $(TARGET_DIR)/dashboard
	HEARTH_PICTURES=$(abspath $(TARGET_DIR))/dashboard $(CARGO) nextest run -p hearth-e2e --test dashboard --run-ignored all

test-vm: deb ## the packages in a virtual machine with PCI NICs behind an IOMMU, through DPDK's own drivers
	@scripts/deps.sh vm
	$(SUDO) tests/vm/try.sh $(TARGET_DIR)/deb

docs: ## the guide as a site: target/docs/html; fails where a link is dead
	@CARGO="$(CARGO)" scripts/docs.sh $(TARGET_DIR)

schemas: ## JSON Schemas of the YAML files, anew from the types: configs/schema/
	HEARTH_WRITE_SCHEMAS=1 $(CARGO) test -q -p hearthd -p hearth-hac -p hearth-mn --lib the_schema_is

lint: deps ## formatting, clippy with warnings as errors, licences and sources of dependencies
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	@if $(CARGO) deny --version >/dev/null 2>&1; then \
	    $(CARGO) deny --offline check bans licenses sources; \
	else \
	    echo "cargo-deny is not installed: licences and sources were not checked" >&2; \
	fi
