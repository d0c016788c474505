"""Pretraining by the SimMIM of UM-MAE's repository on the embedded digits, small encoder; not published.

Mask ratio and loss as there (implus/UM-MAE at cb7776b, models_simmim_swin.py). Mask patches are half as
large as the encoder's last stride, as there: 4 px here.
"""

_base_ = "./simmim_mixmae-swin-small_1xb32-12e_digits.py"

model = dict(type="mixmae_bench.UMSimMIM", mask_patch_size=4, mask_ratio=0.75)
