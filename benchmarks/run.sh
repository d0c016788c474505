#!/usr/bin/env bash
# Speed and memory; the models of each comparison alternate in one run. About 16 minutes on 2 CPU cores.
# usage: benchmarks/run.sh FOLDER [BATCH]   Writes records to FOLDER, one folder per machine, such as
# results/measured/speed/epyc. For GPUs see benchmarks/gpu.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:?usage: benchmarks/run.sh FOLDER [BATCH]}
batch=${2:-16}
pretrain=configs/pretrain
mixmae=$pretrain/mixmae_swin-b-w14_16xb128-300e_in1k.py
um_mae=$pretrain/um-mae_swin-t_16xb256-200e_in1k-256px.py
um_simmim=$pretrain/um-simmim_swin-t_16xb256-200e_in1k-256px.py

speed() { mixmae-bench speed --steps 5 --warm-up 1 "$@"; }

# Pretraining step of MixMAE-B: mmpretrain's, ours in the same number format, ours in its default format.
speed mmpretrain:mixmim_mixmim-base_16xb128-coslr-300e_in1k@float32 $mixmae@float32 $mixmae \
    --batch "$batch" --record "$out/mixmae-b.jsonl"
# The methods in their default format, on encoders of the same size (UM-MAE at 256 px, which its packing requires).
speed $mixmae $pretrain/simmim_mixmae-swin-b-w14_16xb128-300e_in1k.py \
    $pretrain/um-mae_mixmae-swin-b-w14_16xb128-300e_in1k-256px.py \
    $pretrain/mae_vit-b-p16_8xb512-1600e_in1k.py --batch "$batch" --record "$out/methods.jsonl"
# UM-MAE and the SimMIM of its repository, in both formats.
speed $um_simmim@float32 $um_mae@float32 $um_simmim $um_mae --batch "$batch" --record "$out/um-mae.jsonl"
# Forward pass of a detector, with windows of 7 and of 14.
speed benchmarks/mask-rcnn_mmdet-swin-b-w7.py@float32 \
    configs/detection/mask-rcnn_mixmae_swin-b-w14_8xb2-1x_coco.py@float32 \
    --inference --batch 1 --shape 800 1333 --record "$out/mask-rcnn.jsonl"
# Forward pass of a segmentor, on a square image and on one with an aspect ratio of ADE20K.
for width in 512 683; do
    speed configs/segmentation/upernet_mixmae_swin-b-w14_8xb2-160k_ade20k-512px.py@float32 \
        --inference --batch 1 --shape 512 $width --record "$out/upernet.jsonl"
done
