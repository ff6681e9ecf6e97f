#!/usr/bin/env bash
# Installs what builds the page: the compile target, wasm-bindgen, and sass and
# wasm-opt from npm. Everything but the compile target goes into folders of the project.
#   scripts/tools.sh WASM_BINDGEN_VERSION
set -euo pipefail
cd "$(dirname "$0")/.."
BINDGEN_VERSION=$1

say() { printf '==> %s\n' "$*"; }

for command in cargo node npm; do
  command -v $command >/dev/null || { say "$command is missing: install Rust (rustup.rs) and Node.js 20 or newer"; exit 1; }
done

# A stamp spares an everyday build the probing.
STAMP=.tools/ready-$BINDGEN_VERSION-$(rustc -V | tr -c 'a-z0-9\n' -)
if [ -e "$STAMP" ] && [ "$STAMP" -nt package-lock.json ] && [ "$STAMP" -nt scripts/wasm-target.sh ]; then exit 0; fi
mkdir -p .tools

say "the page's compile target (up to 2 minutes)"
scripts/wasm-target.sh

if ! .tools/bin/wasm-bindgen --version 2>/dev/null | grep -qF " $BINDGEN_VERSION"; then
  say "wasm-bindgen $BINDGEN_VERSION (about 2 minutes)"
  CARGO_RESOLVER_INCOMPATIBLE_RUST_VERSIONS=fallback CARGO_TARGET_DIR=target/tools \
    CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off \
    CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_DEBUG=0 \
    cargo install --quiet wasm-bindgen-cli --version "$BINDGEN_VERSION" --bin wasm-bindgen --root .tools
  rm -rf target/tools
fi

say "sass, wasm-opt and Playwright (a few seconds)"
npm ci --silent --no-audit --no-fund
touch "$STAMP"
