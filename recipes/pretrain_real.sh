#!/usr/bin/env bash
# What pre-training without labels is worth on NEU-CLS and X-SDD: every method in the same loop,
# with the same views and the same number of steps, then frozen features with few-shot heads.
#
#   CVGSSL_DATA=folder/with/NEU-CLS/and/X-SDD CVGSSL_WEIGHTS=folder/with/weights \
#     recipes/pretrain_real.sh OUT ["spectral relational ..."] ["NEU-CLS X-SDD"]
#
# PRECISION=bf16 is quicker on a CPU with AVX-512, far slower without: docs/results/speed.md.
#
# Student: resnet18 from random weights by --preset cpu: gray, views of 64 px (one weak, one strong),
# batch 64, AdamW 0.002; 28 epochs of NEU-CLS (616 steps), 45 of X-SDD (630). Optimizer and steps were
# chosen inside train/: docs/results/pretraining.md. Teacher: ViT-Tiny (ImageNet), in place of CLIP, which
# cannot be shipped. The method deep-init differs: --preset continue, a copy of the teacher.
# In paper the published recipe as it is, 224 px and five views, has six epochs, about five times the
# time of spectral-14-epochs. relational-bank-V and relational-no-bank differ from relational in the
# bank alone. Banks are kept and found again: for times that count them give an empty CVGSSL_CACHE.
# Only train/ is used, without labels; test/ is looked at once, by the heads (inductive).
# Finished cells are kept and interrupted ones continue. Accuracy and hours: docs/results/pretraining.md.
set -euo pipefail
out=${1:?give a folder for the results}
here=$(dirname "$0")
cvgssl=${CVGSSL:-cvgssl}
python=${PYTHON:-python}
vit=vit_tiny_patch16_224=vit_tiny_patch16_224.augreg_in21k_ft_in1k.safetensors
squeezenet=torchvision:squeezenet1_1=squeezenet1_1.imagenet1k.safetensors

options_of() { # what makes a method; --preset cpu where it names no other
  case $1 in
    spectral) echo "--guidance spectral --bank 8 --teacher $vit" ;;
    deep-init) echo "--preset continue --teacher $vit --arch ${vit%%=*} --pretrained ${vit#*=}" ;;
    deep) echo "--guidance spectral --bank 4 --teacher $vit --teacher-layers 6 9 12" ;;
    spectral-two-teachers) echo "--guidance spectral --bank 8 --teacher $vit $squeezenet" ;;
    relational) echo "--guidance relational --bank 4 --teacher $vit" ;;
    regression) echo "--guidance regression --bank 4 --teacher $vit" ;;
    published) echo "--guidance published --bank 4 --teacher $vit" ;;
    published-two-teachers) echo "--guidance published --bank 4 --teacher $vit $squeezenet" ;;
    published-margin) echo "--guidance published --self-constraint margin --bank 4 --teacher $vit" ;;
    published-none) echo "--guidance published --self-constraint none --bank 4 --teacher $vit" ;;
    spectral-*-epochs) echo "--guidance spectral --bank 8 --teacher $vit --epochs $(cut -d- -f2 <<<"$1")" ;;
    relational-bank-*) echo "--guidance relational --bank ${1##*-} --teacher $vit" ;;
    relational-no-bank) echo "--guidance relational --bank off --teacher $vit" ;;
    paper) echo "--preset paper --epochs 6 --warmup-epochs 1 --teacher $vit" ;;
    *) echo "--builder $1" ;; # mocov3, simclr, byol, simsiam, dino
  esac
}

student_of() { # network and size of the pictures, for the heads
  case $1 in
    deep-init) echo "--arch ${vit%%=*} --size 96" ;;
    paper) echo "--arch resnet18 --size 224" ;;
    *) echo "--arch resnet18 --size 64" ;;
  esac
}

heads() { # name of the result, arguments of frozen_heads.py
  [ -f "$out/$1.json" ] || "$python" "$here/frozen_heads.py" "${@:2}" --json "$out/$1.json"
}

for data in ${3:-NEU-CLS X-SDD}; do
  heads "${data}_teacher" "$CVGSSL_DATA/$data" --teacher "$vit"
  heads "${data}_squeezenet-frozen" "$CVGSSL_DATA/$data" --teacher "$squeezenet"
  heads "${data}_random" "$CVGSSL_DATA/$data" --size 64
  for method in ${2:-spectral relational published mocov3 simclr byol simsiam dino}; do
    run="$out/${data}_$method"
    if [ ! -f "$run/summary.json" ]; then
      if [ -f "$run/config.yaml" ]; then
        $cvgssl pretrain --resume "$run"
      else
        options=$(options_of "$method")
        if [[ $options != *--preset* ]]; then
          options+=" --preset cpu"
          [[ $data = X-SDD && $options != *--epochs* ]] && options+=" --epochs 45"
        fi
        # shellcheck disable=SC2086
        $cvgssl pretrain "$CVGSSL_DATA/$data" $options --precision "${PRECISION:-fp32}" --save-freq 100 --out "$run"
      fi
    fi
    # shellcheck disable=SC2046
    heads "${data}_$method" "$CVGSSL_DATA/$data" --weights "$run/backbone.safetensors" \
      $(student_of "$method")
  done
done
