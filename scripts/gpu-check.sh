#!/usr/bin/env bash
# On a machine with an NVIDIA GPU: builds for it, runs the golden files on it in f32, f16
# and bf16, and times a full-size random model beside transformers on the same card.
#   PYTHON=python3   a Python that has torch with CUDA and transformers
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}

say() { printf '==> %s\n' "$*"; }

if ! nvidia-smi >/dev/null 2>&1; then
  echo "gpu-check needs a machine with an NVIDIA GPU: nvidia-smi finds none. Run it on one." >&2
  exit 1
fi
"$PYTHON" -c 'import torch, transformers, sys; sys.exit(not torch.cuda.is_available())' || {
  echo "gpu-check needs torch with CUDA and transformers in $PYTHON. Install them, or name another with PYTHON=…" >&2
  exit 1
}
scripts/build-cuda.sh
# Libraries that torch brings serve the program too.
SITE=$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
export LD_LIBRARY_PATH="$SITE/nvidia/cu13/lib:$SITE/nvidia/cudnn/lib:${LD_LIBRARY_PATH:-}"
export CUDA_CACHE_PATH=${CUDA_CACHE_PATH:-$PWD/target/cuda/ptx-cache}

for dtype in f32 f16 bf16; do
  say "golden files on the GPU in $dtype"
  GLIMPSE_TEST_DEVICE=cuda GLIMPSE_TEST_DTYPE=$dtype \
    cargo test --release --features cuda --target-dir target/cuda --test it parity::
done
say "speed at full size"
"$PYTHON" benches/compare.py --program target/cuda/release/glimpse --random Salesforce/blip2-opt-2.7b \
  --device cuda --pairs f16:f16 bf16:bf16 --tokens 32
