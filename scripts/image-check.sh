#!/usr/bin/env bash
# Builds the image for the CPU around target/release/glimpse and tries it as a host would:
# uid 1000, no capabilities, a read-only root, one question, SIGTERM.
#   scripts/image-check.sh      PORT=17860 PROGRAM=target/release/glimpse
# Uses no registry: the base is made of Debian's packages (mmdebstrap). Needs root, buildah,
# podman, runc, mmdebstrap, curl; on Debian:
#   apt-get install --no-install-recommends buildah podman runc mmdebstrap curl
set -euo pipefail
cd "$(dirname "$0")/.."

PORT=${PORT:-17860}
MAX_MB=60
PROGRAM=${PROGRAM:-target/release/glimpse}
IMAGE=localhost/glimpse-check
NAME=glimpse-check-$$

say() { printf '==> %s\n' "$*"; }
die() { printf 'image-check: %s\n' "$*" >&2; exit 1; }

for tool in buildah podman runc mmdebstrap curl strip; do
  command -v $tool >/dev/null || die "$tool is missing: see the head of scripts/image-check.sh"
done
[ -x "$PROGRAM" ] || die "$PROGRAM is missing: run make build"

WORK=$(mktemp -d)
# crun, podman's usual runtime, fails where control groups are mixed of both versions.
podman() { command podman --runtime runc "$@"; }
finish() {
  local status=$?
  if [ $status != 0 ]; then podman logs "$NAME" 2>&1 | tail -20 >&2 || true; fi
  podman rm --force --volumes "$NAME" >/dev/null 2>&1 || true
  rm -rf "$WORK"
}
trap finish EXIT

# The bases, under the names by which the Dockerfile calls them.
base() { # NAME VARIANT PACKAGES
  if podman image exists "$1"; then return; fi
  mmdebstrap --quiet --variant="$2" ${3:+--include="$3"} bookworm "$WORK/base.tar"
  podman import --quiet "$WORK/base.tar" "$1" >/dev/null
}
say "the bases, of Debian's packages"
base gcr.io/distroless/cc-debian12:latest extract libc6,libgcc-s1
base docker.io/library/debian:bookworm-slim essential ""

say "the image"
mkdir -p target/image
strip -o target/image/glimpse "$PROGRAM"
buildah --runtime runc bud --pull-never --format docker --isolation chroot --quiet \
  --build-arg PROGRAM=prebuilt --target cpu --tag $IMAGE . >/dev/null
SIZE=$(podman image inspect --format '{{.Size}}' $IMAGE)
say "$((SIZE / 1000000)) MB"
[ "$SIZE" -le $((MAX_MB * 1000000)) ] || die "the image has $((SIZE / 1000000)) MB, and may have $MAX_MB"
[ "$(podman image inspect --format '{{.User}}' $IMAGE)" = 1000:1000 ] || die "the image's user is not 1000:1000"
podman image inspect $IMAGE | grep -q '"Healthcheck"' || die "the image has no health check"

say "running, as uid 1000, without capabilities, with a read-only root"
podman run --detach --name "$NAME" --ulimit nofile=4096:4096 --ulimit nproc=4096:4096 --network host \
  --read-only --cap-drop=ALL --security-opt no-new-privileges --tmpfs /tmp \
  --env GLIMPSE_ADDR=0.0.0.0:"$PORT" $IMAGE >/dev/null
for _ in $(seq 120); do
  if curl -sf "localhost:$PORT/readyz" >/dev/null; then break; fi
  [ "$(podman inspect --format '{{.State.Running}}' "$NAME")" = true ] || die "it stopped by itself"
  sleep 0.5
done
podman exec "$NAME" /usr/local/bin/glimpse check
PID=$(podman inspect --format '{{.State.Pid}}' "$NAME")
status() { awk -v key="$1:" '$1 == key { print $2 }' "/proc/$PID/status"; }
[ "$(status Uid)" = 1000 ] || die "it runs as uid $(status Uid)"
[ "$(status CapEff)" = 0000000000000000 ] || die "it has capabilities: $(status CapEff)"
[ "$(status NoNewPrivs)" = 1 ] || die "it may gain privileges"
curl -sf "localhost:$PORT/healthz" >/dev/null || die "/healthz does not answer"

say "a question"
PICTURE=$(find public/examples -name '*.png' | sort | head -1)
VISITOR="X-Glimpse-Visitor: $(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')"
OPENED=$(curl -sf -H "$VISITOR" -F "picture=@$PICTURE" "localhost:$PORT/api/page/upload")
ID=$(sed -nE 's/.*"id":"([0-9a-f]{32})".*/\1/p' <<<"$OPENED")
[ -n "$ID" ] || die "the upload was not answered with a conversation: $OPENED"
ANSWER=$(curl -sN --max-time 60 "localhost:$PORT/api/page/ask" -H 'Content-Type: application/json' -H "$VISITOR" \
  --data '{"request": {"conversation": "'"$ID"'", "question": "What is in the picture?"}}')
grep -q '"event":"done"' <<<"$ANSWER" || die "the question was not answered: $ANSWER"

say "stopping"
podman stop --time 20 "$NAME" >/dev/null
CODE=$(podman inspect --format '{{.State.ExitCode}}' "$NAME")
[ "$CODE" = 0 ] || die "after SIGTERM it ended with $CODE"
say "the image is as it should be"
