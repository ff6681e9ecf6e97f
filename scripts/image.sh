#!/usr/bin/env bash
# Builds the container's image with docker, or with podman where there is no docker that runs.
#   scripts/image.sh           the CPU: glimpse
#   scripts/image.sh cuda      NVIDIA GPUs: glimpse:cuda (CUDA_COMPUTE_CAP=80)
set -euo pipefail
cd "$(dirname "$0")/.."
TARGET=${1:-cpu}
TAG=glimpse
if [ "$TARGET" != cpu ]; then TAG=glimpse:$TARGET; fi
ARGS=(--target "$TARGET" --tag "$TAG")
if [ -n "${CUDA_COMPUTE_CAP:-}" ]; then ARGS+=(--build-arg "CUDA_COMPUTE_CAP=$CUDA_COMPUTE_CAP"); fi

if docker info >/dev/null 2>&1; then
  exec docker build "${ARGS[@]}" .
fi
if command -v podman >/dev/null; then
  # The health check is known to docker's format only.
  exec podman build --format docker "${ARGS[@]}" .
fi
echo "make image needs docker or podman, and neither runs here. Install one." >&2
exit 1
