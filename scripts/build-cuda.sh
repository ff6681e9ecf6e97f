#!/usr/bin/env bash
# Builds the program for NVIDIA GPUs, on a machine that need not have one:
#   scripts/build-cuda.sh               leaves target/cuda/release/glimpse
#   scripts/build-cuda.sh environment   prints what cargo needs to build the same way
#   scripts/build-cuda.sh bundle DIR    and leaves in DIR what scripts/gpu-check.sh needs on a machine
#                                       with a GPU and without Rust (BUILT=DIR there)
# Uses the CUDA toolkit of $CUDA_HOME or of nvcc on the PATH; where there is none, one for
# compiling is put together from PyPI's wheels in .tools/cuda (x86-64 Linux, 300 MB).
#   CUDA_COMPUTE_CAP=80   the least compute capability that it runs on, without the point (default: the
#                         GPU here, else 80: A100, A10, L4, H100 and what came later). 75 for a T4, where
#                         no bf16 is. From 90 on the program is for that capability alone.
#   CUDNN=1               with cuDNN
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '==> %s\n' "$*" >&2; }

if [ -z "${CUDA_HOME:-}" ] && command -v nvcc >/dev/null; then
  CUDA_HOME=$(dirname "$(dirname "$(readlink -f "$(command -v nvcc)")")")
fi
if [ -z "${CUDA_HOME:-}" ]; then
  say "a CUDA toolkit for compiling, from PyPI (a minute)"
  scripts/cuda-toolkit.sh >&2
  CUDA_HOME=$PWD/.tools/cuda
  # The driver is linked when the program starts; here its stub has the names.
  export LIBRARY_PATH=$CUDA_HOME/lib/stubs${LIBRARY_PATH:+:$LIBRARY_PATH}
  export RUSTFLAGS="-L native=$CUDA_HOME/lib/stubs ${RUSTFLAGS:-}"
fi
export CUDA_HOME CUDA_PATH=$CUDA_HOME PATH="$CUDA_HOME/bin:$PATH"
if [ -z "${CUDA_COMPUTE_CAP:-}" ]; then
  CUDA_COMPUTE_CAP=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -1 | tr -d . || true)
fi
export CUDA_COMPUTE_CAP=${CUDA_COMPUTE_CAP:-80}
# Half the size for a hair of start-up.
NVCC_APPEND_FLAGS=${NVCC_APPEND_FLAGS:--compress-mode=size}
# Most kernels are PTX, from which the driver makes code for any later GPU. The quantised products are
# code for one family of GPUs alone (8.x), and would not run on an H100, unless their PTX goes with them.
# From 90 on candle's build asks for "90a", which is no other GPU's.
if [ "$CUDA_COMPUTE_CAP" -lt 90 ]; then
  NVCC_APPEND_FLAGS+=" -gencode=arch=compute_$CUDA_COMPUTE_CAP,code=compute_$CUDA_COMPUTE_CAP"
fi
export NVCC_APPEND_FLAGS
# Libraries may also lie beside the program.
export RUSTFLAGS="-C link-arg=-Wl,-rpath,\$ORIGIN/lib ${RUSTFLAGS:-}"

if [ "${1:-}" = environment ]; then
  for name in CUDA_HOME CUDA_PATH PATH LIBRARY_PATH CUDA_COMPUTE_CAP NVCC_APPEND_FLAGS RUSTFLAGS; do
    if [ -n "${!name:-}" ]; then printf 'export %s=%q\n' "$name" "${!name}"; fi
  done
  exit
fi

features=cuda
if [ -n "${CUDNN:-}" ]; then features=cudnn; fi
say "the program for GPUs of compute capability $CUDA_COMPUTE_CAP (15 minutes the first time, on two cores)"
cargo build --release --features $features --target-dir target/cuda
say "done: target/cuda/release/glimpse"

if [ "${1:-}" = bundle ]; then
  into=${2:?"a folder, as in: scripts/build-cuda.sh bundle target/gpu-check"}
  cargo build --release --features $features --target-dir target/cuda --example random-checkpoint
  tests=$(cargo test --release --features $features --target-dir target/cuda --test it --no-run 2>&1 |
    tee /dev/stderr | sed -n 's/^ *Executable .*(\(.*\))$/\1/p')
  mkdir -p "$into"
  strip -o "$into/glimpse" target/cuda/release/glimpse
  strip -o "$into/random-checkpoint" target/cuda/release/examples/random-checkpoint
  strip -o "$into/it" "$tests"
  say "done: $into ($(du -sh "$into" | cut -f1)). On the other machine: BUILT=$into scripts/gpu-check.sh"
fi
