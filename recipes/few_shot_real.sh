#!/usr/bin/env bash
# Few-shot accuracy on real steel pictures: NEU-CLS and X-SDD, 1 and 4 shot, 10 draws, inductive,
# linear evaluation and fine-tuning, from scratch and from ViT-Tiny weights (ImageNet-21k, then 1k).
#
#   CVGSSL_DATA=folder/with/NEU-CLS/and/X-SDD CVGSSL_WEIGHTS=folder/with/weights \
#     recipes/few_shot_real.sh OUT ["linear finetune"] ["1 4"] ["weights scratch"]
#
# Settings are the published defaults (100 epochs, SGD 0.003, batch 256, 224 px, no augmentation),
# with bf16 arithmetic in fine-tuning. Draws are the same for all methods, so differences are
# paired. Finished cells are kept and interrupted ones go on when the script is started again; the
# words after OUT choose commands, shots and starts.
# Accuracy: docs/results/few-labels.md.
set -euo pipefail
out=${1:?give a folder for the results}
cvgssl=${CVGSSL:-cvgssl}
arch=vit_tiny_patch16_224
weights=vit_tiny_patch16_224.augreg_in21k_ft_in1k.safetensors

cell() { # command, data set, shot, scratch|weights
  local run="$out/$2_$1_$3shot_$4"
  [ -f "$run/summary.json" ] && return
  if [ -f "$run/config.yaml" ]; then
    $cvgssl "$1" --resume "$run"
    return
  fi
  local options=(--arch "$arch" --shot "$3" --num-draws 10 --out "$run")
  [ "$4" = weights ] && options+=(--pretrained "$weights")
  [ "$1" = finetune ] && options+=(--precision bf16 --eval-every 100)
  $cvgssl "$1" "$CVGSSL_DATA/$2" "${options[@]}"
}

for command in ${2:-linear finetune}; do
  for start in ${4:-weights scratch}; do
    for shot in ${3:-1 4}; do
      for data in NEU-CLS X-SDD; do cell "$command" "$data" "$shot" "$start"; done
    done
  done
done
