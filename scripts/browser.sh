#!/usr/bin/env bash
# Prints the path of a browser of the Chromium family for the page's tests:
# $GLIMPSE_BROWSER, Playwright's own, the system's, or, where there is none,
# Debian's, which it installs.
set -euo pipefail
cd "$(dirname "$0")/.."

found() { printf '%s\n' "$1"; exit 0; }

if [ -n "${GLIMPSE_BROWSER:-}" ]; then found "$GLIMPSE_BROWSER"; fi

search() {
  local path name
  path=$(node -e "process.stdout.write(require('@playwright/test').chromium.executablePath())" 2>/dev/null || true)
  if [ -x "$path" ]; then found "$path"; fi
  for name in chromium chromium-browser google-chrome google-chrome-stable chrome microsoft-edge; do
    if path=$(command -v "$name"); then found "$path"; fi
  done
  for path in "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome" "/Applications/Chromium.app/Contents/MacOS/Chromium"; do
    if [ -x "$path" ]; then found "$path"; fi
  done
}
search

if command -v apt-get >/dev/null; then
  AS_ROOT=()
  if [ "$(id -u)" != 0 ]; then AS_ROOT=(sudo -n); fi
  echo "browser: none is here; installing Debian's chromium (about 40 s)" >&2
  if ! "${AS_ROOT[@]}" apt-get install -qq -y --no-install-recommends chromium fonts-dejavu-core >&2; then
    "${AS_ROOT[@]}" apt-get update -qq >&2 || true
    "${AS_ROOT[@]}" apt-get install -qq -y --no-install-recommends chromium fonts-dejavu-core >&2 || true
  fi
  search
fi

echo "browser: install Chromium or Chrome, run 'npx playwright install chromium', or set GLIMPSE_BROWSER" >&2
exit 1
