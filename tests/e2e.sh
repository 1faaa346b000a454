#!/bin/bash
# The end-to-end tests, by way of `make e2e`, which builds the release binary that they run. Where this machine can't have
# a testbed the tests themselves say why, and how many of them were skipped.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

if tests/testbed/testbed check 2>/dev/null; then
  tests/testbed/testbed setup
  tests/testbed/testbed build
fi
cargo test --locked --test e2e -- --ignored --test-threads 1
