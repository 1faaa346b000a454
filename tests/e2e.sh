#!/bin/bash
# The end-to-end tests, by way of `make e2e`, which builds the release binary that they run. Arguments are the tests' own: names, `--full`.
# Where this machine can't have a testbed the tests themselves say why, and count as ignored; with KBOOT_E2E_REQUIRED=1 that is a failure.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
testbed=tests/testbed/testbed

if [[ $EUID == 0 ]] && command -v apt-get >/dev/null; then
  # First, for the check itself needs some of it.
  "$testbed" setup
  if "$testbed" check; then
    "$testbed" build
    # With the whole suite, kboot's client of etcd against etcd itself.
    (($#)) || KBOOT_ETCD=$("$testbed" artifact programs)/etcd "${CARGO:-cargo}" test --locked --lib etcd::real_tests -- --ignored
  fi
fi
exec "${CARGO:-cargo}" test --locked --test e2e -- --ignored "$@"
