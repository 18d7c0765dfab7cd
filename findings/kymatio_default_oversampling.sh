#!/bin/sh
# kymatio 0.3.0: with the default oversampling=0 the first-order coefficients at scale j are smaller than with full
# oversampling by 2**j, which is no aliasing. White noise, 256 values, J=6, Q=4.
# Seen, thinned out / full by scale: 0: 0.98, 1: 0.487, 2: 0.254, 3: 0.122, 4: 0.064, 5: 0.031.
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
signal = np.random.default_rng(0).normal(size=256)
thin, full = (Scattering1D(J=6, shape=256, Q=4, oversampling=over) for over in (0, 6))
order = full.meta()["order"]
scale = full.meta()["j"]
ratio = {}
for each in sorted(set(scale[order == 1, 0].tolist())):
    paths = (order == 1) & (scale[:, 0] == each)
    # The means over the whole output, as the two have different numbers of frames.
    ratio[int(each)] = float(np.median(thin(signal)[paths].mean(axis=1) / full(signal)[paths].mean(axis=1)))
print("kymatio", kymatio.__version__, "order 1, j -> thinned out / full:", {j: round(r, 3) for j, r in ratio.items()})
assert all(abs(found * 2**j - 1.0) < 0.1 for j, found in ratio.items()), "this behaves otherwise now"
EOF
