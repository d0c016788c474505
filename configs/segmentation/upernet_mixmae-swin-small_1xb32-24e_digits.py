"""UperNet on the embedded digits for twice as long, with a recipe that serves all methods; not published.

Learning rate and layer decay are in the middle of the grid of the digits suite.
"""

_base_ = "./upernet_mixmae-swin-small_1xb32-12e_digits.py"

param_scheduler = _base_.param_scheduler
param_scheduler[1].update(end=24)
train_cfg = dict(max_epochs=24, val_interval=24)
optim_wrapper = dict(optimizer=dict(lr=8e-3), paramwise_cfg=dict(layer_decay_rate=0.8))
