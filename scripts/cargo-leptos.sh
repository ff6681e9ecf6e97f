#!/usr/bin/env bash
# Runs cargo-leptos with the project's own tools, installing it first if need be.
#   scripts/cargo-leptos.sh watch
set -euo pipefail
cd "$(dirname "$0")/.."
# Newer ones do not build with this compiler.
VERSION=0.3.10
export PATH="$PWD/.tools/bin:$PWD/node_modules/.bin:$PATH"
if ! cargo leptos --version 2>/dev/null | grep -qF "$VERSION"; then
  echo "==> cargo-leptos $VERSION (10 minutes on two cores, once)"
  CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_TARGET_DIR=target/tools \
    cargo install --quiet --locked cargo-leptos --version $VERSION --features no_downloads --root .tools
  rm -rf target/tools
fi
if [ -f .tools/wasm-compiler.env ]; then . .tools/wasm-compiler.env; fi
exec cargo leptos "$@"
