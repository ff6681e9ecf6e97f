#!/usr/bin/env bash
# Gives this machine a compiler for the page's target, wasm32-unknown-unknown.
# Tries, in this order, and says which way it went:
#   1. `rustup target add`, which is all that an ordinary machine needs;
#   2. the standard library built from Debian's source package of exactly this
#      compiler's version, put where rustup would have put it;
#   3. Debian's own compiler for the web, unpacked beside the project with the
#      standard library of its own version (the page is then built with that one:
#      scripts/build-page.sh reads .tools/wasm-compiler.env).
# Does nothing where the target works already.
#   WASM_TARGET_WAYS="1 2 3"   which ways to try
set -euo pipefail
cd "$(dirname "$0")/.."

TARGET=wasm32-unknown-unknown
ENV_FILE=$PWD/.tools/wasm-compiler.env
WAYS=${WASM_TARGET_WAYS:-1 2 3}
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT

say() { printf 'wasm target: %s\n' "$*"; }

# Does a program for the target compile, with the compiler that $ENV_FILE names if there is one?
works() (
  if [ -f "$ENV_FILE" ]; then . "$ENV_FILE"; fi
  printf '#![no_main]\n#[unsafe(no_mangle)] pub extern "C" fn f(n: usize) -> usize { vec![1u8; n].len() }\n' >"$WORK/probe.rs"
  "${RUSTC:-rustc}" --edition 2024 --target $TARGET --crate-type cdylib -O -o "$WORK/probe.wasm" "$WORK/probe.rs" 2>"$WORK/probe.log"
)

# Runs apt-get with lists and cache of its own, for one suite of the mirror that this machine uses.
apt_suite() { # SUITE [security]
  local suite=$1 kind=${2:-} uri key
  local sources=/etc/apt/sources.list.d/debian.sources
  [ -f "$sources" ] || return 1
  if [ "$kind" = security ]; then
    uri=$(awk '/^URIs:/ && /security/ { print $2; exit }' "$sources")
  else
    uri=$(awk '/^URIs:/ && !/security/ { print $2; exit }' "$sources")
  fi
  key=$(awk '/^Signed-By:/ { print $2; exit }' "$sources")
  [ -n "$uri" ] || return 1
  mkdir -p "$WORK/apt/lists/partial" "$WORK/apt/archives/partial"
  printf 'deb [signed-by=%s] %s %s main\n' "$key" "$uri" "$suite" >"$WORK/apt/sources.list"
  APT=(-qq -o Dir::Etc::sourcelist="$WORK/apt/sources.list" -o Dir::Etc::sourceparts=-
    -o Dir::State::Lists="$WORK/apt/lists" -o Dir::Cache="$WORK/apt"
    -o APT::Sandbox::User=root -o Acquire::Languages=none -o Acquire::Retries=3)
  apt-get "${APT[@]}" update
}

# Downloads the newest version of package $1 that begins with $2 into $WORK/debs.
download() { # PACKAGE [VERSION-PREFIX]
  local version
  version=$(apt-cache "${APT[@]}" madison "$1" | awk -v want="${2:-}" 'index($3, want) == 1 { print $3; exit }')
  [ -n "$version" ] || return 1
  mkdir -p "$WORK/debs"
  (cd "$WORK/debs" && apt-get "${APT[@]}" download "$1=$version")
}

# Builds the standard library in $1 (a `library/` folder with its vendored crates) with
# ${RUSTC:-rustc}, and puts it into the sysroot $2.
build_std() { # LIBRARY SYSROOT
  local library=$1 sysroot=$2 build=$WORK/std
  mkdir -p "$build/src" "$build/.cargo"
  printf '#![no_std]\n' >"$build/src/lib.rs"
  printf '[package]\nname = "std-for-the-page"\nversion = "0.0.0"\nedition = "2024"\n[workspace]\n[profile.release]\nopt-level = 3\ncodegen-units = 1\n' >"$build/Cargo.toml"
  printf '[source.crates-io]\nreplace-with = "vendored"\n[source.vendored]\ndirectory = "%s"\n' "$library/vendor" >"$build/.cargo/config.toml"
  # Bitcode is what `lto = true` needs of a library.
  (cd "$build" && env -u CARGO_ENCODED_RUSTFLAGS -u RUSTC_WRAPPER \
    RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR="$build/target" CARGO_INCREMENTAL=0 \
    RUSTFLAGS="-Cembed-bitcode=yes --remap-path-prefix=$library=library" \
    cargo build --quiet --offline --release --target $TARGET -Zbuild-std=std,panic_abort,panic_unwind,proc_macro,test)
  local out=$sysroot/lib/rustlib/$TARGET/lib
  rm -rf "$out"
  mkdir -p "$out"
  find "$build/target/$TARGET/release/deps" -name 'lib*.rlib' ! -name 'libstd_for_the_page*' -exec cp {} "$out" \;
}

by_rustup() {
  command -v rustup >/dev/null || return 1
  timeout 300 rustup target add $TARGET
}

by_source_package() {
  local version sysroot library
  version=$(rustc -vV | sed -n 's/^release: //p')
  sysroot=$(rustc --print sysroot)
  apt_suite trixie-backports && download rust-src "$version+" || return 1
  dpkg -x "$WORK"/debs/rust-src_*.deb "$WORK/source"
  library=$WORK/source/usr/src/rustc-$version/library
  # Where -Zbuild-std looks for it.
  rm -rf "$sysroot/lib/rustlib/src/rust"
  mkdir -p "$sysroot/lib/rustlib/src/rust"
  cp -r "$library" "$sysroot/lib/rustlib/src/rust/"
  build_std "$sysroot/lib/rustlib/src/rust/library" "$sysroot"
}

by_web_compiler() {
  local root=$PWD/.tools/wasm-compiler lld package library
  apt_suite bookworm-security security || return 1
  for package in rustc-web libstd-rust-web-dev rust-web-src $(
    apt-cache "${APT[@]}" depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
      --no-enhances rustc-web | grep -oE '^(libstd-rust-web-[0-9.]+|libllvm[0-9]+)' | sort -u); do
    download "$package" || return 1
  done
  rm -rf "$root"
  mkdir -p "$root"
  for package in "$WORK"/debs/*.deb; do dpkg -x "$package" "$root"; done
  library=$(find "$root/usr/src" -path '*/library/std' -prune | head -1)
  library=${library%/std}
  mkdir -p "$root/usr/lib/rustlib/src/rust"
  ln -sfn "$library" "$root/usr/lib/rustlib/src/rust/library"
  lld=$(dirname "$(find "$(rustc --print sysroot)/lib/rustlib" -name rust-lld | head -1)")
  {
    printf 'export RUSTC="%s/usr/bin/rustc"\n' "$root"
    printf 'export LD_LIBRARY_PATH="%s/usr/lib/x86_64-linux-gnu:%s/usr/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"\n' "$root" "$root"
    printf 'export PATH="%s:$PATH"\n' "$lld"
  } >"$ENV_FILE"
  (. "$ENV_FILE" && build_std "$root/usr/lib/rustlib/src/rust/library" "$("$RUSTC" --print sysroot)")
}

mkdir -p .tools
if works; then
  say "there already"
  exit 0
fi
rm -f "$ENV_FILE"
for way in $WAYS; do
  case $way in
    1) name="rustup" try=by_rustup ;;
    2) name="built from Debian's rust-src (about a minute)" try=by_source_package ;;
    3) name="Debian's compiler for the web (about two minutes)" try=by_web_compiler ;;
    *) say "there is no way $way"; exit 1 ;;
  esac
  say "trying: $name"
  # In a shell of its own with -e, which a condition would switch off.
  set +e
  (set -e; $try) >"$WORK/log" 2>&1
  set -e
  if works; then
    say "done: $name"
    exit 0
  fi
  sed 's/^/  /' "$WORK/log" | tail -5
  rm -f "$ENV_FILE"
done
say "none of the ways worked; install the target $TARGET for $(rustc --version) and try again"
exit 1
