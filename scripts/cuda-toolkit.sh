#!/usr/bin/env bash
# Puts a CUDA 13.0 toolkit that can compile into .tools/cuda, from PyPI's wheels.
#
# The compiler, its headers and the runtime are real. The libraries that a GPU machine
# brings with it (driver, cuBLAS, cuRAND, NVRTC, cuDNN) are stubs for the linker: each of
# their functions is there by name and says "no device". They are never shipped.
set -euo pipefail
cd "$(dirname "$0")/.."
OUT=$PWD/.tools/cuda

# All of one release: a newer nvvm writes PTX that this ptxas refuses, and PTX of 13.1 and
# later is refused by the 580 drivers.
WHEELS="nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88
  nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85"
CUDARC=$(awk '/^name = "cudarc"$/ { getline; gsub(/version = |"/, ""); print }' Cargo.lock)

if [ -e "$OUT/ready-$CUDARC" ]; then exit 0; fi
rm -rf "$OUT" "$OUT.new"
# shellcheck disable=SC2086 # a list of words
python3 -m pip --disable-pip-version-check install --quiet --no-cache-dir --no-deps --root-user-action ignore \
  --target "$OUT.new" $WHEELS
mv "$OUT.new/nvidia/cu13" "$OUT"
rm -rf "$OUT.new"
# The wheels have libraries by their full names only, in `lib`; the linker looks for others.
ln -sfn lib "$OUT/lib64"
for library in "$OUT"/lib/*.so.*; do
  short=${library%%.so.*}.so
  if [ ! -e "$short" ]; then ln -s "$(basename "$library")" "$short"; fi
done

# cudarc, through which candle reaches CUDA, declares every function that it may call.
cargo fetch --quiet
SOURCE=$(find "${CARGO_HOME:-$HOME/.cargo}/registry/src" -maxdepth 2 -name "cudarc-$CUDARC" | head -1)
mkdir -p "$OUT/lib/stubs"
stub() { # module of cudarc, library, its name at run time
  local source=$OUT/lib/stubs/$2.c
  sed -nE '/extern "C" \{/,/^ *\}/s/^ *(pub )?fn ([A-Za-z0-9_]+)\(.*/int \2(void) { return 100; }/p' \
    "$SOURCE/src/$1/sys/mod.rs" | sort -u >"$source"
  [ -s "$source" ] || { echo "no functions of $2 found in cudarc $CUDARC" >&2; exit 1; }
  gcc -shared -fPIC -fno-builtin -w -Wl,-soname,"$3" -o "$OUT/lib/stubs/$3" "$source"
  ln -sf "$3" "$OUT/lib/stubs/lib$2.so"
  rm "$source"
}
stub driver cuda libcuda.so.1
stub cublas cublas libcublas.so.13
stub cublaslt cublasLt libcublasLt.so.13
stub curand curand libcurand.so.10
stub nvrtc nvrtc libnvrtc.so.13
stub cudnn cudnn libcudnn.so.9
touch "$OUT/ready-$CUDARC"
