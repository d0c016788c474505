"""UperNet with iTPN's HiViT-B on ADE20K at 512 px.

Chosen here: the same recipe as for MAE on HiViT. Published: 53.5 mIoU, by another recipe and with the pyramid
of iTPN's pretraining (sunsmarterjie/iTPN).
"""

_base_ = "./upernet_mae_hivit-b-p16_8xb2-160k_ade20k-512px.py"
