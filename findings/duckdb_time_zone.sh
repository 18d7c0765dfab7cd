#!/bin/sh
# DuckDB 2.0.1: a bound with a zone on a column without one is compared in the session's time zone, which is the machine's.
# SET TimeZone holds for one connection and not for its cursors; SET GLOBAL holds for those too. Seen for 24 hours of a
# day and the bound 12:00 UTC: 17 rows in New York, 12 in UTC, 17 again from a cursor.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check duckdb==2.0.1
cd "$folder"
"$folder/venv/bin/python" - <<'EOF'
import os
import time

os.environ["TZ"] = "America/New_York"
time.tzset()
import duckdb

connection = duckdb.connect()
hours = "(SELECT TIMESTAMP '2024-01-08 00:00:00' + INTERVAL (h) HOUR AS time FROM range(24) t(h))"
query = f"SELECT count(*) FROM {hours} WHERE time >= TIMESTAMPTZ '2024-01-08 12:00:00+00'"


def counted(of):
    return of.execute(query).fetchone()[0]


seen = {"machine's zone": counted(connection)}
connection.execute("SET TimeZone='UTC'")
seen["SET TimeZone"] = counted(connection)
seen["its cursor"] = counted(connection.cursor())
connection.execute("SET GLOBAL TimeZone='UTC'")
seen["cursor after SET GLOBAL"] = counted(connection.cursor())
print("duckdb", duckdb.__version__, seen)
assert list(seen.values()) == [17, 12, 17, 12], "this behaves otherwise now"
EOF
