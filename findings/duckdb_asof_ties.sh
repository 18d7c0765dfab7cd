#!/bin/sh
# DuckDB 2.0.1: of quotes with the same time, an ASOF join takes the first for fewer than 64 rows on its left side, and
# the last from 64 rows on. Seen: 63 rows -> quote 0 for all, 64 rows -> quote 1 for all.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check duckdb==2.0.1
cd "$folder"
"$folder/venv/bin/python" - <<'EOF'
import duckdb

connection = duckdb.connect()
# Two quotes at the same instant: 0 was stored first, 1 after it.
connection.execute("CREATE TABLE quotes AS SELECT TIMESTAMP '2024-01-08 00:00:00' AS time, i AS quote FROM range(2) t(i)")


def chosen(rows):
    trades = f"(SELECT TIMESTAMP '2024-01-08 00:00:01' + INTERVAL (i) SECOND AS time FROM range({rows}) t(i))"
    query = f"SELECT DISTINCT quote FROM {trades} trades ASOF JOIN quotes ON trades.time >= quotes.time"
    return [quote for (quote,) in connection.execute(query).fetchall()]


seen = {rows: chosen(rows) for rows in (8, 63, 64, 200)}
print("duckdb", duckdb.__version__, "rows -> quote chosen:", seen)
assert seen == {8: [0], 63: [0], 64: [1], 200: [1]}, "this behaves otherwise now"
EOF
