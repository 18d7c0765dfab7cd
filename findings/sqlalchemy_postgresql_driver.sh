#!/bin/sh
# SQLAlchemy 2.1.9 reads postgresql:// as psycopg 3; 2.0 read it as psycopg2. An address that worked needs another package after
# the update. Seen: postgresql -> psycopg.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check SQLAlchemy==2.1.9
cd "$folder"
"$folder/venv/bin/python" - <<'EOF'
import sqlalchemy

url = sqlalchemy.make_url("postgresql://user@localhost/runs")
print("SQLAlchemy", sqlalchemy.__version__, "postgresql:// ->", url.get_dialect().driver)
assert url.get_dialect().driver == "psycopg", "this behaves otherwise now"
EOF
