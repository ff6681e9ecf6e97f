#!/usr/bin/env bash
# A real nginx before target/release/glimpse, driven with a browser (end2end/nginx): the files of
# deploy/ as they are, nginx's own defaults, a path of a host, and everything that nginx refuses.
#   scripts/nginx-check.sh      arguments go to Playwright: limits, -g 'one line', --repeat-each 3
#   scripts/nginx-check.sh where-installed      where there is no nginx says that, and is content
set -euo pipefail
cd "$(dirname "$0")/.."

IS_OPTIONAL=
if [ "${1:-}" = where-installed ]; then IS_OPTIONAL=yes; shift; fi

die() { printf 'nginx-check: %s\n' "$*" >&2; exit 1; }

# Debian keeps it where only root looks.
export PATH=$PATH:/usr/sbin:/usr/local/sbin
for tool in nginx openssl; do
  if command -v $tool >/dev/null; then continue; fi
  ADVICE="$tool is missing: install it, on Debian with apt-get install --no-install-recommends nginx-light openssl"
  [ "$IS_OPTIONAL" ] || die "$ADVICE"
  printf '\n!!! NOT CHECKED: Glimpse behind nginx (make nginx-check)\n!!! because %s\n\n' "$ADVICE"
  exit 0
done
[ -x target/release/glimpse ] || die "target/release/glimpse is missing: run make build"
exec node_modules/.bin/playwright test --config end2end/nginx "$@"
