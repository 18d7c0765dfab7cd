#!/bin/sh
# DuckDB 2.0.1: after execute(...).fetchone(), even of a result of one row, register() on the same connection raises
# ResourceInUseException, while another execute() works; after fetchall() register() works, too.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check duckdb==2.0.1 pyarrow==22.0.0
cd "$folder"
"$folder/venv/bin/python" - <<'EOF'
import duckdb
import pyarrow as pa

table, seen = pa.table({"a": [1]}), {}
for fetch in ("fetchone", "fetchall"):
    connection = duckdb.connect()
    getattr(connection.execute("SELECT 1"), fetch)()
    try:
        connection.register("rows", table)
        seen[fetch] = "registered"
    except Exception as error:
        seen[fetch] = type(error).__name__
    seen[fetch] += f", execute gives {connection.execute('SELECT 2').fetchall()}"
print("duckdb", duckdb.__version__, seen)
assert seen == {
    "fetchone": "ResourceInUseException, execute gives [(2,)]",
    "fetchall": "registered, execute gives [(2,)]",
}, "this behaves otherwise now"
EOF
