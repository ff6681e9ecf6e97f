#!/usr/bin/env bash
# Tries an image as a host would: uid 1000, no capabilities, a read-only root, one question, SIGTERM.
#   scripts/image-try.sh IMAGE [docker|podman]      PORT=17860
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/containers.sh

IMAGE=$1
ENGINE=${2:-docker}
PORT=${PORT:-17860}
NAME=glimpse-try-$$

engine() { if [ "$ENGINE" = podman ]; then podman "$@"; else command "$ENGINE" "$@"; fi; }
finish() {
  local status=$?
  if [ $status != 0 ]; then engine logs "$NAME" 2>&1 | tail -20 >&2 || true; fi
  engine rm --force --volumes "$NAME" >/dev/null 2>&1 || true
}
trap finish EXIT

say "running, as uid 1000, without capabilities, with a read-only root"
engine run --detach --name "$NAME" "${AS_A_HOST[@]}" --env GLIMPSE_ADDR=0.0.0.0:"$PORT" "$IMAGE" >/dev/null
for _ in $(seq 120); do
  if curl -sf "localhost:$PORT/readyz" >/dev/null; then break; fi
  [ "$(engine inspect --format '{{.State.Running}}' "$NAME")" = true ] || die "it stopped by itself"
  sleep 0.5
done
engine exec "$NAME" /usr/local/bin/glimpse check
PID=$(engine inspect --format '{{.State.Pid}}' "$NAME")
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
engine stop --time 20 "$NAME" >/dev/null
CODE=$(engine inspect --format '{{.State.ExitCode}}' "$NAME")
[ "$CODE" = 0 ] || die "after SIGTERM it ended with $CODE"
say "the image is as it should be"
