# What people and CI do with this repository. `make` alone lists it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

CARGO ?= cargo
TESTBED := tests/testbed/testbed
# The demo's lab has a name of its own, whichever lab KBOOT_LAB is.
export DEMO_LAB ?= demo
# The defaults of whoever runs this are not those of the tests.
unexport KBOOT_INVENTORY KBOOT_OUTPUT
# .cargo/config.toml names the host's own target, for static linking; cargo gives its artifacts a folder of that name.
TARGET_DIR := $(abspath $(or $(CARGO_TARGET_DIR),target))
# The demo's kboot is built in less time (`quick` in Cargo.toml).
PROFILE ?= release
demo: export PROFILE := $(if $(filter file,$(origin PROFILE)),quick,$(PROFILE))
KBOOT = $(TARGET_DIR)/$(shell rustc -vV | sed -n 's/^host: //p')/$(PROFILE)/kboot

##@ Try it

demo: setup-demo ## Three bare hosts on this machine, made into a cluster (root, Debian, Rust, Go; see README.md)
	tests/demo "$(KBOOT)"

demo-down: ## Throw the demo's cluster away
	KBOOT_LAB=$(DEMO_LAB) $(TESTBED) down

##@ Build

build: setup-build ## The binary, statically linked; PROFILE=quick builds it faster, and larger
	$(CARGO) build --profile $(PROFILE) --locked
	@! grep -qE "kboot\.(fault|disguise)" "$(KBOOT)" || { echo "$(KBOOT) has a hook that only debug builds may have" >&2; exit 1; }
	@echo "built $(KBOOT), $$(du -h --apparent-size "$(KBOOT)" | cut -f1)"

dist: setup-dist ## dist/: the files of a release (RELEASING.md), of this commit; PROFILE=quick is faster
	PROFILE=$(PROFILE) packaging/dist dist

##@ Check

test: setup-test lint unit e2e ## What CI runs: formatting, lints, unit, command-line and end-to-end tests

test-full: setup-test lint unit e2e-full ## The same, with the end-to-end tests that the shorter suite leaves out

lint: ## Formatting, clippy with warnings denied, shellcheck, the documents' prose
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --lib -- -D warnings --cfg fuzzing
	shellcheck --external-sources $(SCRIPTS)
	tests/prose

unit: ## Unit, integration and command-line tests; they need no root and no network beyond loopback
	$(CARGO) test --locked

e2e e2e-full bench: export KBOOT_BIN = $(KBOOT)

e2e: setup-e2e build ## End-to-end tests on real hosts, several labs side by side. TESTS=NAME… for some of them
	tests/e2e.sh $(TESTS)

e2e-full: setup-e2e build
	tests/e2e.sh --full $(TESTS)

test-fresh: setup-fresh ## Both commands of README.md on a bare Debian: SUITE=bookworm, TESTS=NAME… for its end-to-end tests, PARTS="demo test"
	tests/fresh $(PARTS)

test-matrix: setup-e2e ## Kills kboot at every change of a bring-up, on real hosts, for hours; what is known already is not run again. ARGS=… for the program
	$(TESTBED) check && $(TESTBED) build
	$(CARGO) test --locked --profile matrix --test matrix -- --ignored $(ARGS)

dist-test: setup-dist-test build ## Packages the binary twice, compares the bytes, and installs the .deb on a bare Debian
	tests/dist "$(KBOOT)"

vagrant-test: setup-vagrant build ## The labs of docs/labs.md in emulated machines: Vagrant, libvirt, QEMU without KVM; about an hour. PARTS=hand for one part
	tests/vagrant/test "$(KBOOT)" 2>&1 | tee $(TARGET_DIR)/vagrant-test.log

bench: setup-bench build ## Times against kubeadm, on the testbed
	tests/bench/run

fuzz: ## Fuzz every parser of bytes from outside: nightly Rust, cargo-fuzz. TARGET=NAME for one, SECONDS=600 for each (fuzz/README.md)
	fuzz/run "$(or $(SECONDS),600)" $(TARGET)

deny: ## Licences, sources and duplicates of the dependencies; advisories, if the database can be fetched
	tests/deny

SCRIPTS = .ci/run fuzz/run packaging/dist tests/setup tests/needs.sh tests/tools.sh tests/root.sh tests/prose tests/deny tests/dist tests/demo tests/fresh tests/e2e.sh tests/testbed/testbed tests/testbed/selftest $(wildcard tests/testbed/lib/*.sh tests/bench/run tests/bench/lib/*.sh tests/bench/host/*.sh) tests/vagrant/test tests/vagrant/machines tests/vagrant/steps

##@ Housekeeping

setup-build: ## Check Rust, and install what building needs from Debian; only what is missing (tests/needs.sh)
setup-test: ## The same for make test, with Go where hosts can be had

setup-build setup-demo setup-test setup-e2e setup-bench setup-fresh setup-dist setup-dist-test setup-vagrant:
	@tests/setup $(@:setup-%=%)

clean-testbed: ## Throw away all labs of the tests and the demo; the cache of built components stays
	@for lab in demo bench lab vagrant fresh-bookworm fresh-trixie $$(cd $${KBOOT_LAB_DIR:-/var/lib/kboot-testbed} 2>/dev/null && ls -d e2e[0-9]* fresh-*-e2e* 2>/dev/null); do KBOOT_LAB=$$lab $(TESTBED) down; done

help: ## This list
	@awk 'BEGIN { FS = ":.*## " } /^##@ / { printf "\n%s\n", substr($$0, 5) } /^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo demo-down build dist test test-full lint unit e2e e2e-full test-fresh test-matrix dist-test bench fuzz deny setup-build setup-demo setup-test setup-e2e setup-bench setup-fresh setup-dist setup-dist-test setup-vagrant vagrant-test clean-testbed help
