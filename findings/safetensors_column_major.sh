#!/bin/sh
# safetensors 0.8.0 writes the memory of a column-major numpy array under the shape of a row-major one: what is read back
# has its values in other places, without an error. Seen: [[0 1 2] [3 4 5]] -> [[0 3 1] [4 2 5]]. (Its torch side refuses.)
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check safetensors==0.8.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'EOF'
import numpy as np
import safetensors
from safetensors.numpy import load, save

array = np.asfortranarray(np.arange(6.0).reshape(2, 3))
back = load(save({"a": array}))["a"]
made_plain = load(save({"a": np.ascontiguousarray(array)}))["a"]
print("safetensors", safetensors.__version__, array.tolist(), "->", back.tolist())
assert not np.array_equal(back, array), "this behaves otherwise now"
assert np.array_equal(made_plain, array)
EOF
