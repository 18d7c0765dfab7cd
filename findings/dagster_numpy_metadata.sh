#!/bin/sh
# Dagster 1.13.27: a figure of type numpy.float64 passes the check of an asset's metadata, because it is a float to Python,
# and the run fails at its end, when the event is to be stored. Seen: float(x) -> success, numpy.float64(x) -> failure.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check dagster==1.13.27 dagster-shared==1.13.27 \
  dagster-pipes==1.13.27 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - 2>/dev/null <<'EOF'
import dagster as dg
import numpy as np


@dg.asset
def of_python() -> dg.MaterializeResult:
    return dg.MaterializeResult(metadata={"figure": float(np.float64(0.5))})


@dg.asset
def of_numpy() -> dg.MaterializeResult:
    return dg.MaterializeResult(metadata={"figure": np.float64(0.5)})


seen = {}
for asset in (of_python, of_numpy):
    with dg.DagsterInstance.ephemeral() as instance:
        seen[asset.key.to_user_string()] = dg.materialize([asset], instance=instance, raise_on_error=False).success
print("dagster", dg.__version__, "run succeeded:", seen)
assert seen == {"of_python": True, "of_numpy": False}, "this behaves otherwise now"
EOF
