#!/bin/sh
# v20 3.0.25.0: datetime_to_str puts a Z behind the wall time of any zone. Seen: 12:00+02:00 -> 12:00Z, two hours late; in UNIX
# format a time without a zone is that of the machine. oandapyV20 0.7.2: secs2time gives a time without a zone, of which
# timestamp() makes another second on a machine that is not on UTC. Seen in Tokyo: 32,400 s less.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check v20==3.0.25.0 oandapyV20==0.7.2 PyYAML==6.0.3
cd "$folder"
"$folder/venv/bin/python" - <<'EOF'
import datetime as dt
import os
import time

os.environ["TZ"] = "Asia/Tokyo"
time.tzset()
import v20
from oandapyV20.contrib.generic import secs2time

noon = dt.datetime(2024, 1, 8, 12, tzinfo=dt.timezone(dt.timedelta(hours=2)))
said = v20.Context("localhost", token="none").datetime_to_str(noon)
moved = secs2time(1_704_708_000).timestamp() - 1_704_708_000
print("v20 3.0.25.0:", noon.isoformat(), "->", said, "| oandapyV20 0.7.2: moved by", moved, "s")
assert said == "2024-01-08T12:00:00.000000000Z", "this behaves otherwise now"
assert moved == -32_400, "this behaves otherwise now"
EOF
