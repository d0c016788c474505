"""Mask R-CNN with iTPN's HiViT-B on COCO, 36 epochs, large-scale jittering at 1024 px.

Chosen here: the same recipe as for MAE on HiViT. Published: 54.0 box AP and 47.4 mask AP in 36 epochs, by
another recipe and with the pyramid of iTPN's pretraining (sunsmarterjie/iTPN).
"""

_base_ = "./mask-rcnn_mae_hivit-b-p16_8xb2-lsj-3x_coco.py"
