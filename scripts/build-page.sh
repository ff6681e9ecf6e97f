#!/usr/bin/env bash
# Builds the page into target/site: the WebAssembly, its loader, the style, and
# what lies in public/, each also compressed. Runs what `cargo leptos build
# --release` would run for the page, and only what is not up to date.
#
#   scripts/build-page.sh
#
# Needs the target wasm32-unknown-unknown, .tools/bin/wasm-bindgen (or one on
# the PATH) of the version in Cargo.toml, and node_modules (npm ci).
set -euo pipefail
cd "$(dirname "$0")/.."

NAME=glimpse
SITE=target/site
PKG=$SITE/pkg
WORK=target/page
mkdir -p "$PKG" "$WORK"

# The compiler for the page, where scripts/wasm-target.sh had to bring one of its own.
if [ -f .tools/wasm-compiler.env ]; then . .tools/wasm-compiler.env; fi

say() { printf 'page: %s\n' "$*"; }
die() { printf 'page: %s\n' "$*" >&2; exit 1; }

# Whether $1 is missing or older than one of the others.
stale() {
  local out=$1 in; shift
  [ -e "$out" ] || return 0
  for in; do [ "$in" -nt "$out" ] && return 0; done
  return 1
}

for tool in wasm-opt sass; do
  [ -x "node_modules/.bin/$tool" ] || die "node_modules/.bin/$tool is missing: run npm ci"
done

files() { [ ! -d "$SITE" ] || find "$SITE" -type f | sort; }
BEFORE=$(files)

# 1. Rust to WebAssembly. Cargo knows what is up to date.
say "1 cargo (feature hydrate, profile wasm-release)"
cargo build --quiet --lib --target wasm32-unknown-unknown --no-default-features --features hydrate --profile wasm-release
RAW=${CARGO_TARGET_DIR:-target}/wasm32-unknown-unknown/wasm-release/$NAME.wasm

# 2. The loader, and the WebAssembly as it wants it.
BINDGEN=.tools/bin/wasm-bindgen
[ -x "$BINDGEN" ] || BINDGEN=$(command -v wasm-bindgen) || die "wasm-bindgen is missing: run make tools"
WANTED=$(sed -n 's/^wasm-bindgen = .*"=\([0-9.]*\)".*/\1/p' Cargo.toml)
case $("$BINDGEN" --version) in
  *" $WANTED") ;;
  *) die "$BINDGEN is $("$BINDGEN" --version), but Cargo.toml wants $WANTED" ;;
esac
if stale "$WORK/$NAME.js" "$RAW" "$BINDGEN"; then
  say "2 wasm-bindgen"
  "$BINDGEN" --target web --no-typescript --out-dir "$WORK" --out-name "$NAME" "$RAW"
  touch "$WORK/$NAME.js"
fi
cmp -s "$WORK/$NAME.js" "$PKG/$NAME.js" || cp "$WORK/$NAME.js" "$PKG/$NAME.js"

# 3. Smaller.
if stale "$PKG/${NAME}_bg.wasm" "$WORK/$NAME.js" package-lock.json; then
  say "3 wasm-opt"
  node_modules/.bin/wasm-opt -Oz --enable-bulk-memory --enable-nontrapping-float-to-int --enable-sign-ext \
    --enable-mutable-globals --enable-reference-types --enable-multivalue \
    -o "$WORK/opt.wasm" "$WORK/${NAME}_bg.wasm"
  mv "$WORK/opt.wasm" "$PKG/${NAME}_bg.wasm"
fi

# 4. The style.
if stale "$PKG/$NAME.css" style/*.scss package-lock.json; then
  say "4 sass"
  node_modules/.bin/sass --no-source-map --style=compressed style/main.scss "$PKG/$NAME.css"
fi

# 5. public/, what is gone there gone here too; then everything that shrinks, compressed.
node scripts/compress.mjs public "$SITE"
# Cargo watches the files that the program was last built with, and sees no new one.
[ "$BEFORE" = "$(files)" ] || touch src/server/assets.rs
say "done: $SITE ($(du -sh "$SITE" | cut -f1))"
