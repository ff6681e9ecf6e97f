#!/usr/bin/env bash
# Writes .sqlx: what the store's queries take and return, so that it builds without a database.
# Needed after a query or a migration has changed. Commit what it writes.
set -euo pipefail
cd "$(dirname "$0")/.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 - "$scratch/schema.sqlite" migrations/*.sql <<'PYTHON'
import sqlite3, sys

database = sqlite3.connect(sys.argv[1])
for migration in sys.argv[2:]:
    database.executescript(open(migration, encoding="utf-8").read())
database.close()
PYTHON

mkdir -p "$scratch/queries" target/site
# The macros write a file for each query that the compiler meets; it has to meet them again.
touch src/lib.rs
# CARGO_CHECK: how to check instead, where it is to be another command.
DATABASE_URL="sqlite://$scratch/schema.sqlite" SQLX_OFFLINE=false SQLX_OFFLINE_DIR="$scratch/queries" \
    ${CARGO_CHECK:-cargo check --quiet --release} --features ssr --lib
if [ -z "$(ls "$scratch/queries")" ]; then
    echo "No query was compiled; nothing is written." >&2
    exit 1
fi
rm -rf .sqlx
mv "$scratch/queries" .sqlx
echo "==> .sqlx has $(ls .sqlx | wc -l) queries"
