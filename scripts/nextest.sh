#!/usr/bin/env bash
# The Rust tests: with cargo-nextest where it is installed, else with cargo test.
set -euo pipefail
cd "$(dirname "$0")/.."
if cargo nextest --version >/dev/null 2>&1; then
  exec cargo nextest run "$@"
fi
exec cargo test "$@"
