"""One epoch that collects features; nothing is optimised."""

optim_wrapper = dict(type="mixmae_bench.Bf16OptimWrapper", optimizer=dict(type="SGD", lr=1.0))
param_scheduler = []
train_cfg = dict(by_epoch=True, max_epochs=1, val_interval=1)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=256)
