#!/usr/bin/env bash
# Builds the program for NVIDIA GPUs, on a machine that need not have one:
#   scripts/build-cuda.sh         leaves target/cuda/release/glimpse
# Uses the CUDA toolkit of $CUDA_HOME or of nvcc on the PATH; where there is none, one for
# compiling is put together from PyPI's wheels in .tools/cuda (x86-64 Linux, 300 MB).
#   CUDA_COMPUTE_CAP=90   the GPU's compute capability without the point (default: the GPU here, else 90)
#   CUDNN=1               with cuDNN
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '==> %s\n' "$*"; }

if [ -z "${CUDA_HOME:-}" ] && command -v nvcc >/dev/null; then
  CUDA_HOME=$(dirname "$(dirname "$(readlink -f "$(command -v nvcc)")")")
fi
if [ -z "${CUDA_HOME:-}" ]; then
  say "a CUDA toolkit for compiling, from PyPI (a minute)"
  scripts/cuda-toolkit.sh
  CUDA_HOME=$PWD/.tools/cuda
  # The driver is linked when the program starts; here its stub has the names.
  export LIBRARY_PATH=$CUDA_HOME/lib/stubs${LIBRARY_PATH:+:$LIBRARY_PATH}
  export RUSTFLAGS="-L native=$CUDA_HOME/lib/stubs ${RUSTFLAGS:-}"
fi
export CUDA_HOME CUDA_PATH=$CUDA_HOME PATH="$CUDA_HOME/bin:$PATH"
if [ -z "${CUDA_COMPUTE_CAP:-}" ]; then
  CUDA_COMPUTE_CAP=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -1 | tr -d . || true)
fi
export CUDA_COMPUTE_CAP=${CUDA_COMPUTE_CAP:-90}
# Half the size for a hair of start-up.
export NVCC_APPEND_FLAGS=${NVCC_APPEND_FLAGS:--compress-mode=size}
# Libraries may also lie beside the program.
export RUSTFLAGS="-C link-arg=-Wl,-rpath,\$ORIGIN/lib ${RUSTFLAGS:-}"

features=cuda
if [ -n "${CUDNN:-}" ]; then features=cudnn; fi
say "the program for GPUs of compute capability $CUDA_COMPUTE_CAP (15 minutes the first time, on two cores)"
cargo build --release --features $features --target-dir target/cuda
say "done: target/cuda/release/glimpse"
