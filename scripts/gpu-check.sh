#!/usr/bin/env bash
# On a machine with an NVIDIA GPU: builds for it, then within ten minutes runs the golden files on it
# in f32, f16 and bf16, quantised products, and beam search, and times a full-size random model beside
# transformers on the same card. What came of it is written to benches/results/ under the card's name.
#   PYTHON=python3   a Python that has torch with CUDA and transformers
#   DEVICE=cpu       a rehearsal without a GPU: the same steps with candle's operations on the CPU, and
#                    the demo model's speed
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
DEVICE=${DEVICE:-cuda}

say() { printf '==> %s\n' "$*"; }

case $DEVICE in
  cpu) torch=torch needed=True ;;
  cuda*)
    if ! nvidia-smi >/dev/null 2>&1; then
      echo "gpu-check needs a machine with an NVIDIA GPU: nvidia-smi finds none. Run it on one, or rehearse with DEVICE=cpu." >&2
      exit 1
    fi
    torch="torch with CUDA" needed='torch.cuda.is_available()'
    ;;
  *)
    echo "DEVICE is $DEVICE, and may be cuda, cuda:N or cpu." >&2
    exit 1
    ;;
esac
"$PYTHON" -c "import torch, transformers, PIL, sys; sys.exit(not $needed)" || {
  echo "gpu-check needs $torch, transformers and pillow in $PYTHON. Install them, or name another with PYTHON=…" >&2
  exit 1
}

if [ "$DEVICE" = cpu ]; then
  card=CPU
  CARGO=(--release --features ssr)
  PROGRAM=target/release/glimpse
  SPEED=(--pairs f32:f32 --runs 2)
  export GLIMPSE_KERNELS=candle
  cargo build "${CARGO[@]}"
else
  index=${DEVICE#cuda}
  card=$(nvidia-smi --id="${index#:}" --query-gpu=name --format=csv,noheader 2>/dev/null || nvidia-smi --query-gpu=name --format=csv,noheader | head -1)
  CARGO=(--release --features cuda --target-dir target/cuda)
  PROGRAM=target/cuda/release/glimpse
  SPEED=(--random Salesforce/blip2-opt-2.7b --pairs f16:f16 bf16:bf16 f16:q8_0 --runs 3)
  scripts/build-cuda.sh
  # The tests must be built with the same settings, or everything would be compiled again.
  eval "$(scripts/build-cuda.sh environment)"
  # Libraries that torch brings serve the program too.
  SITE=$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
  export LD_LIBRARY_PATH="$SITE/nvidia/cu13/lib:$SITE/nvidia/cudnn/lib:${LD_LIBRARY_PATH:-}"
  export CUDA_CACHE_PATH=${CUDA_CACHE_PATH:-$PWD/target/cuda/ptx-cache}
fi
say "the tests"
cargo test "${CARGO[@]}" --test it --no-run

RESULT="benches/results/gpu-check-${card// /-}.md"
status=0
{
  echo "# gpu-check on $card, $(date -u +%F), $(git rev-parse --short HEAD)"
  echo
  if [ "$DEVICE" != cpu ]; then
    nvidia-smi --query-gpu=name,compute_cap,driver_version,memory.total --format=csv,noheader | sed 's/$/\n/'
    echo "built for compute capability $CUDA_COMPUTE_CAP"
    echo
  fi
  echo "| step | outcome | seconds |"
  echo "|---|---|---|"
} >"$RESULT"

# A step that fails is told at the end, and does not keep the others from running.
step() { # what, command
  local what=$1 begin=$SECONDS outcome=passed
  shift
  say "$what"
  "$@" || { outcome=FAILED; status=1; }
  echo "| $what | $outcome | $((SECONDS - begin)) |" >>"$RESULT"
}
golden() { # dtype, tests
  GLIMPSE_TEST_DEVICE=$DEVICE GLIMPSE_TEST_DTYPE=$1 cargo test --quiet "${CARGO[@]}" --test it -- --exact "${@:2}"
}

for dtype in f32 f16 bf16; do
  step "golden files in $dtype" golden $dtype parity::every_checkpoint_answers_as_the_reference_does
done
step "quantised products" golden f32 quantised::candles_quantised_products_are_as_near_to_f32_as_ours
step "greedy decoding and beam search in f32" golden f32 decoding::reference::greedy_and_beam_search_answer_as_the_reference_does
step "speed beside transformers" "$PYTHON" benches/compare.py --program $PROGRAM --device "$DEVICE" \
  --reference eager compiled --tokens 32 "${SPEED[@]}"
say "what came of it is in $RESULT and beside it"
cat "$RESULT"
exit $status
