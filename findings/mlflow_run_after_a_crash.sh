#!/bin/sh
# MLflow 3.17.2: a process that crashes with a run open outside of "with" leaves it FINISHED, as after success. Inside of
# "with" it is FAILED. Seen: outside FINISHED, inside FAILED.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check mlflow-skinny==3.17.2 SQLAlchemy==2.1.9 alembic==1.20.1
cd "$folder"
"$folder/venv/bin/python" - <<'EOF'
import subprocess
import sys

import mlflow

STORE = "sqlite:///mlflow.db"
OUTSIDE = "mlflow.start_run(run_name='outside'); raise RuntimeError('crash')"
INSIDE = "\nwith mlflow.start_run(run_name='inside'):\n    raise RuntimeError('crash')"
for body in (OUTSIDE, INSIDE):
    code = f"import mlflow; mlflow.set_tracking_uri({STORE!r}); {body}" if body is OUTSIDE else (
        f"import mlflow; mlflow.set_tracking_uri({STORE!r}){body}")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and "RuntimeError: crash" in done.stderr, done.stderr
mlflow.set_tracking_uri(STORE)
runs = mlflow.MlflowClient().search_runs(["0"])
seen = {run.info.run_name: run.info.status for run in runs}
print("mlflow", mlflow.__version__, seen)
assert seen == {"outside": "FINISHED", "inside": "FAILED"}, "this behaves otherwise now"
EOF
