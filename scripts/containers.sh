# shellcheck shell=bash disable=SC2034
# For scripts that try images: sourced by them.

say() { printf '==> %s\n' "$*"; }
die() { printf '%s: %s\n' "$(basename "$0" .sh)" "$*" >&2; exit 1; }

# crun, podman's usual runtime, fails where control groups are mixed of both versions.
podman() { command podman --runtime runc "$@"; }

# How a careful host runs an image.
AS_A_HOST=(--ulimit nofile=4096:4096 --ulimit nproc=4096:4096 --network host
  --read-only --cap-drop=ALL --security-opt no-new-privileges --tmpfs /tmp)
