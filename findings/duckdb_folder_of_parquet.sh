#!/bin/sh
# DuckDB 2.0.1: a folder of parquet has the types of its first file. Where that one holds whole numbers only, the prices of
# all later files are rounded, without an error or a warning. Seen: 110.70 -> 111; with union_by_name 110.7.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check duckdb==2.0.1
cd "$folder"
"$folder/venv/bin/python" - <<'EOF'
import duckdb

connection = duckdb.connect()
connection.execute("COPY (SELECT 110 AS price) TO '2024-01.parquet'")
connection.execute("COPY (SELECT 110.70::DOUBLE AS price) TO '2024-02.parquet'")
plain = connection.execute("SELECT price FROM read_parquet('*.parquet') ORDER BY filename").fetchall()
united = connection.execute("SELECT price FROM read_parquet('*.parquet', union_by_name=true) ORDER BY filename").fetchall()
print("duckdb", duckdb.__version__, "plain:", plain, "union_by_name:", united)
assert plain == [(110,), (111,)], "this behaves otherwise now"
assert united == [(110.0,), (110.7,)]
EOF
