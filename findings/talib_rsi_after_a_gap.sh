#!/bin/sh
# TA-Lib 0.8.2: after one missing price RSI and CMO are 0.0 for ever, the reading of a market that only fell; SMA and EMA are
# NaN for ever. Seen: RSI of the last bar 35.48 without the gap, 0.0 with it, 249 bars later.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check TA-Lib==0.8.2 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'EOF'
import numpy as np
import talib

prices = 100 + np.cumsum(np.random.default_rng(0).normal(size=300))
gap = prices.copy()
gap[50] = np.nan
seen = {name: float(getattr(talib, name)(gap)[-1]) for name in ("RSI", "CMO", "SMA", "EMA")}
print("TA-Lib", talib.__version__, "RSI without a gap:", round(float(talib.RSI(prices)[-1]), 2), "after one:", seen)
assert talib.RSI(prices)[-1] > 30
assert seen["RSI"] == seen["CMO"] == 0.0, "this behaves otherwise now"
assert np.isnan(seen["SMA"]) and np.isnan(seen["EMA"])
EOF
