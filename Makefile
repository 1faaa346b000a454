# What people and CI do with this repository. `make` alone lists it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

CARGO ?= cargo
TESTBED := tests/testbed/testbed
# .cargo/config.toml names the host's own target, for static linking; cargo gives its artifacts a folder of that name.
TARGET_DIR := $(abspath $(or $(CARGO_TARGET_DIR),target))
KBOOT = $(TARGET_DIR)/$(shell rustc -vV | sed -n 's/^host: //p')/release/kboot

##@ Try it

demo: demo-check setup-build build ## Three bare hosts on this machine, made into a cluster (root, Debian, Rust, Go; see README.md)
	tests/demo "$(KBOOT)"

# Before the build, which takes minutes.
demo-check:
	@tests/demo check

demo-down: ## Throw the demo's cluster away
	KBOOT_LAB=demo $(TESTBED) down

##@ Build

build: ## The binary, in release, statically linked
	$(CARGO) build --release --locked
	@! grep -q kboot.fault "$(KBOOT)" || { echo "$(KBOOT) has the hook that only debug builds may have" >&2; exit 1; }
	@echo "built $(KBOOT), $$(du -h --apparent-size "$(KBOOT)" | cut -f1)"

##@ Check

test: setup-test lint unit e2e ## What CI runs: formatting, lints, unit, command-line and end-to-end tests

test-full: setup-test lint unit e2e-full ## The same, with the end-to-end tests that the shorter suite leaves out

lint: ## Formatting, clippy with warnings denied, shellcheck
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	shellcheck --external-sources $(SCRIPTS)

unit: ## Unit, integration and command-line tests; they need no root and no network beyond loopback
	$(CARGO) test --locked

e2e e2e-full bench: export KBOOT_BIN = $(KBOOT)

e2e: build ## End-to-end tests on real hosts, several labs side by side. TESTS=NAME… for some of them
	tests/e2e.sh $(TESTS)

e2e-full: build
	tests/e2e.sh --full $(TESTS)

test-matrix: ## Kills kboot at every change of a bring-up, on real hosts, for hours; what is known already is not run again. ARGS=… for the program
	$(TESTBED) setup
	$(TESTBED) check && $(TESTBED) build
	$(CARGO) test --locked --profile matrix --test matrix -- --ignored $(ARGS)

bench: setup-bench build ## Times against kubeadm, on the testbed
	tests/bench/run

deny: ## Advisories, licences and sources of the dependencies
	@command -v cargo-deny >/dev/null || { echo "cargo-deny is not installed: cargo install cargo-deny --locked" >&2; exit 1; }
	$(CARGO) deny --locked check

SCRIPTS = .ci/run tests/setup tests/demo tests/e2e.sh tests/testbed/testbed tests/testbed/selftest $(wildcard tests/testbed/lib/*.sh tests/bench/run tests/bench/lib/*.sh tests/bench/host/*.sh)

##@ Housekeeping

setup-build: ## Install what building needs from Debian, by name; only what is missing
	tests/setup build

setup-test: ## The same for testing; the testbed has needs of its own: tests/testbed/testbed setup
	tests/setup test

setup-bench: ## The same for measuring
	tests/setup bench

clean-testbed: ## Throw away all labs of the tests and the demo; the cache of built components stays
	@for lab in demo bench lab $$(cd $${KBOOT_LAB_DIR:-/var/lib/kboot-testbed} 2>/dev/null && ls -d e2e[0-9]* 2>/dev/null); do KBOOT_LAB=$$lab $(TESTBED) down; done

help: ## This list
	@awk 'BEGIN { FS = ":.*## " } /^##@ / { printf "\n%s\n", substr($$0, 5) } /^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo demo-check demo-down build test test-full lint unit e2e e2e-full test-matrix bench deny setup-build setup-test setup-bench clean-testbed help
