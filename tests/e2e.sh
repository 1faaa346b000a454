#!/bin/bash
# The end-to-end tests, by way of `make e2e`, which builds the release binary that they run. Arguments are names of tests.
# Where this machine can't have a testbed the tests themselves say why, and how many of them were skipped.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
testbed=tests/testbed/testbed

if [[ $EUID == 0 ]] && command -v apt-get >/dev/null; then
  # First, for the check itself needs some of it.
  "$testbed" setup
  if "$testbed" check; then "$testbed" build; fi
fi
exec "${CARGO:-cargo}" test --locked --test e2e -- --ignored "$@"
