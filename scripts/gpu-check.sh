#!/usr/bin/env bash
# On a machine with an NVIDIA GPU: builds for it, then within ten minutes runs the golden files on it
# in f32, f16 and bf16, quantised products and beam search, and times a full-size random model
# beside transformers, eager and compiled, on the same card. What came of it is written to
# benches/results/ under the card's name. A step that fails, that runs no test, or that is not done when
# the ten minutes are over is told there, and in the exit status.
#   PYTHON=python3   a Python that has torch with CUDA and transformers
#   PAIRS="f16:f16 f16:q8_0"   what is timed: the reference's dtype and Glimpse's. Each further dtype of
#                    the reference's is compiled anew, which takes minutes
#   BUILT=DIR        what another machine has built (scripts/build-cuda.sh bundle DIR): nothing is built here
#   LIMIT=600        seconds that all steps may take, without the build
#   DEVICE=cpu       a rehearsal without a GPU: the same steps with candle's operations on the CPU, and
#                    the demo model's speed
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
DEVICE=${DEVICE:-cuda}
LIMIT=${LIMIT:-600}

say() { printf '==> %s\n' "$*"; }

case $DEVICE in
  cpu) torch=torch needed=True pairs=f32:f32 ;;
  cuda*)
    if ! nvidia-smi >/dev/null 2>&1; then
      echo "gpu-check needs a machine with an NVIDIA GPU: nvidia-smi finds none. Run it on one, or rehearse with DEVICE=cpu." >&2
      exit 1
    fi
    torch="torch with CUDA" needed='torch.cuda.is_available()'
    pairs="f16:f16 f16:q8_0"
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

read -ra pairs <<<"${PAIRS:-$pairs}"
if [ "$DEVICE" = cpu ]; then
  card=CPU
  CARGO=(--release --features ssr)
  TARGET=target/release
  SPEED=(--pairs "${pairs[@]}" --runs 2)
  export GLIMPSE_KERNELS=candle
else
  index=${DEVICE#cuda}
  card=$(nvidia-smi --id="${index#:}" --query-gpu=name --format=csv,noheader 2>/dev/null || nvidia-smi --query-gpu=name --format=csv,noheader | head -1)
  CARGO=(--release --features cuda --target-dir target/cuda)
  TARGET=target/cuda/release
  SPEED=(--random Salesforce/blip2-opt-2.7b --pairs "${pairs[@]}" --runs 3)
fi
if [ -n "${BUILT:-}" ]; then
  PROGRAM=$BUILT/glimpse
  WRITER=$BUILT/random-checkpoint
  TESTS=("$BUILT/it" --quiet)
  CUDA_COMPUTE_CAP="the one that was named where it was built"
else
  if [ "$DEVICE" = cpu ]; then
    cargo build "${CARGO[@]}"
  else
    scripts/build-cuda.sh
    # The tests must be built with the same settings, or everything would be compiled again.
    eval "$(scripts/build-cuda.sh environment)"
  fi
  PROGRAM=$TARGET/glimpse
  WRITER=$TARGET/examples/random-checkpoint
  TESTS=(cargo test --quiet "${CARGO[@]}" --test it --)
  say "the tests, and what writes the random model"
  cargo test "${CARGO[@]}" --test it --no-run
  cargo build "${CARGO[@]}" --example random-checkpoint
fi
if [ "$DEVICE" != cpu ]; then
  # Libraries that torch brings serve the program too.
  SITE=$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
  export LD_LIBRARY_PATH="$SITE/nvidia/cu13/lib:$SITE/nvidia/cudnn/lib:${LD_LIBRARY_PATH:-}"
  export CUDA_CACHE_PATH=${CUDA_CACHE_PATH:-$PWD/target/cuda/ptx-cache}
fi

RESULT="benches/results/gpu-check-${card// /-}.md"
status=0
{
  echo "# gpu-check on $card, $(date -u +%F), $(git rev-parse --short HEAD 2>/dev/null || echo "a copy")"
  echo
  if [ "$DEVICE" != cpu ]; then
    nvidia-smi --query-gpu=name,compute_cap,driver_version,memory.total --format=csv,noheader | sed 's/$/\n/'
    echo "built for compute capability $CUDA_COMPUTE_CAP"
    echo
  fi
  echo "| step | outcome | seconds |"
  echo "|---|---|---|"
} >"$RESULT"

BEGIN=$SECONDS
# A command, for as long as there is time.
limited() {
  local left=$((BEGIN + LIMIT - SECONDS))
  timeout --kill-after=10 "$((left > 0 ? left : 1))" "$@"
}
# A step that fails is told at the end, and does not keep the others from running.
step() { # what, command
  local what=$1 begin=$SECONDS outcome=passed
  shift
  say "$what"
  "$@" || { outcome=FAILED; status=1; }
  if [ "$outcome" = FAILED ] && [ $((SECONDS - BEGIN)) -ge "$LIMIT" ]; then outcome="FAILED, out of time"; fi
  echo "| $what | $outcome | $((SECONDS - begin)) |" >>"$RESULT"
}
LOG=$(mktemp)
trap 'rm -f "$LOG"' EXIT
golden() { # dtype, tests
  limited env GLIMPSE_TEST_DEVICE="$DEVICE" GLIMPSE_TEST_DTYPE="$1" \
    "${TESTS[@]}" --exact "${@:2}" 2>&1 | tee "$LOG" || return 1
  # A test that is called otherwise by now would pass by not being there.
  grep -q "test result: ok. $(($# - 1)) passed" "$LOG" || { echo "not all of these tests are there: ${*:2}" >&2; return 1; }
}

for dtype in f32 f16 bf16; do
  step "golden files in $dtype" golden $dtype parity::every_checkpoint_answers_as_the_reference_does
done
step "quantised products" golden f32 quantised::candles_quantised_products_are_as_near_to_f32_as_ours
step "greedy decoding and beam search in f32" golden f32 decoding::reference::greedy_and_beam_search_answer_as_the_reference_does
step "speed beside transformers" limited "$PYTHON" benches/compare.py --program "$PROGRAM" --device "$DEVICE" \
  --checkpoint-writer "$WRITER" --reference eager compiled --tokens 32 "${SPEED[@]}"
echo "| all of it, of $LIMIT | $([ $status = 0 ] && echo passed || echo FAILED) | $((SECONDS - BEGIN)) |" >>"$RESULT"
say "what came of it is in $RESULT and beside it"
cat "$RESULT"
exit $status
