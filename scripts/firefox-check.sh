#!/usr/bin/env bash
# What visitors do on the page, in a distribution's Firefox (end2end/firefox).
#   scripts/firefox-check.sh      arguments go to Playwright: -g 'an example', --repeat-each 3
#   scripts/firefox-check.sh where-installed      where there is no Firefox says that, and is content
# GLIMPSE_FIREFOX is another Firefox than the first of firefox-esr and firefox on the PATH.
set -euo pipefail
cd "$(dirname "$0")/.."

IS_OPTIONAL=
if [ "${1:-}" = where-installed ]; then IS_OPTIONAL=yes; shift; fi

GLIMPSE_FIREFOX=${GLIMPSE_FIREFOX:-$(command -v firefox-esr || command -v firefox || true)}
if [ -z "$GLIMPSE_FIREFOX" ]; then
  ADVICE="Firefox is missing: install it, on Debian with apt-get install --no-install-recommends firefox-esr"
  [ "$IS_OPTIONAL" ] || { printf 'firefox-check: %s\n' "$ADVICE" >&2; exit 1; }
  printf '\n!!! NOT CHECKED: the page in Firefox (make firefox-check)\n!!! because %s\n\n' "$ADVICE"
  exit 0
fi
export GLIMPSE_FIREFOX
[ -x target/release/glimpse ] || { echo "firefox-check: target/release/glimpse is missing: run make build" >&2; exit 1; }
exec node_modules/.bin/playwright test --config end2end/firefox "$@"
