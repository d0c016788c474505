"""MixMAE pretraining of Swin-B/W14 for 300 epochs, with a curve of nearest neighbours every 10 epochs.

Recipe: that of the config without `-knn`, as the evaluation does not change the training. The evaluation is
not published.
"""

_base_ = ["./mixmae_swin-b-w14_16xb128-300e_in1k.py", "../_base_/probes/online_knn_in1k_224.py"]

train_cfg = dict(val_interval=10)
