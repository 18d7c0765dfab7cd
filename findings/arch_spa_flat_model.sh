#!/bin/sh
# arch 8.0.0: the SPA test of models that all lose, one of which never trades, has p = 0.0: significantly better than the
# benchmark. The same losing model without the flat one: p = 0.496.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check arch==8.0.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'EOF'
import arch
import numpy as np
from arch.bootstrap import SPA

sessions = 500
benchmark = np.zeros(sessions)
losing = np.random.default_rng(0).normal(0.3, 1.0, sessions)  # losses: it makes 0.3 less a session


def p_value(*models):
    test = SPA(benchmark, np.column_stack(models), reps=500, seed=1)
    test.compute()
    return float(test.pvalues["consistent"])


alone, beside = p_value(losing), p_value(losing, np.zeros(sessions))
print("arch", arch.__version__, "alone:", alone, "beside a model that never trades:", beside)
assert alone > 0.1 and beside == 0.0, "this behaves otherwise now"
EOF
