#!/bin/sh
# kymatio 0.3.0: a scattering transform whose scale reaches beyond the signal gives an empty result, and only a warning about
# border effects. Seen: 32 bars, J=6 -> shape (26, 0); J=5 -> (19, 1). (It needs scipy below 1.17 to be imported at all.)
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check kymatio==0.3.0 scipy==1.14.1 numpy==2.2.6
cd "$folder"
"$folder/venv/bin/python" - <<'EOF'
import warnings

import kymatio
import numpy as np
from kymatio.numpy import Scattering1D

warnings.simplefilter("ignore")
signal = np.random.default_rng(0).normal(size=32)
shapes = {scale: Scattering1D(J=scale, shape=32, Q=1)(signal).shape for scale in (4, 5, 6)}
print("kymatio", kymatio.__version__, "J -> shape:", shapes)
assert [shape[1] for shape in shapes.values()] == [2, 1, 0], "this behaves otherwise now"
EOF
