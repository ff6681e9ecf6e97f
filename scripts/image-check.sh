#!/usr/bin/env bash
# Builds the image for the CPU around target/release/glimpse, without a registry, and tries it.
#   scripts/image-check.sh          PORT=17860 PROGRAM=target/release/glimpse
#   scripts/image-check.sh probe    only says whether this machine can build and start any image
# Uses no registry: the bases are made of Debian's packages (mmdebstrap). Needs root, buildah,
# podman, runc, mmdebstrap, curl; on Debian:
#   apt-get install --no-install-recommends buildah podman runc mmdebstrap curl
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/containers.sh

MAX_MB=60
PROGRAM=${PROGRAM:-target/release/glimpse}
IMAGE=localhost/glimpse-check
DEBIAN=docker.io/library/debian:bookworm-slim

for tool in buildah podman runc mmdebstrap curl strip; do
  command -v $tool >/dev/null || die "$tool is missing: see the head of scripts/image-check.sh"
done
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT

# The bases, under the names by which the Dockerfile calls them.
base() { # NAME VARIANT PACKAGES
  if podman image exists "$1"; then return; fi
  mmdebstrap --quiet --variant="$2" ${3:+--include="$3"} bookworm "$WORK/base.tar"
  podman import --quiet "$WORK/base.tar" "$1" >/dev/null
}
build() { # ARGUMENTS of buildah bud
  buildah --runtime runc bud --pull-never --format docker --isolation chroot --quiet "$@" >/dev/null
}
say "the bases, of Debian's packages"
base gcr.io/distroless/cc-debian12:latest extract libc6,libgcc-s1
base $DEBIAN essential ""

if [ "${1:-}" = probe ]; then
  printf 'FROM %s\nRUN true\n' $DEBIAN >"$WORK/Dockerfile"
  build --tag localhost/glimpse-probe "$WORK"
  podman run --rm "${AS_A_HOST[@]}" localhost/glimpse-probe true
  say "images can be built and started here"
  exit
fi

[ -x "$PROGRAM" ] || die "$PROGRAM is missing: run make build"
say "the image"
mkdir -p target/image
strip -o target/image/glimpse "$PROGRAM"
build --build-arg PROGRAM=prebuilt --target cpu --tag $IMAGE .
SIZE=$(podman image inspect --format '{{.Size}}' $IMAGE)
say "$((SIZE / 1000000)) MB"
[ "$SIZE" -le $((MAX_MB * 1000000)) ] || die "the image has $((SIZE / 1000000)) MB, and may have $MAX_MB"
[ "$(podman image inspect --format '{{.User}}' $IMAGE)" = 1000:1000 ] || die "the image's user is not 1000:1000"
podman image inspect $IMAGE | grep -q '"Healthcheck"' || die "the image has no health check"

scripts/image-try.sh $IMAGE podman
