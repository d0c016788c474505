"""Patches of other packages: every change that this project makes to them.

| patch | module | needed with | without it |
| --- | --- | --- | --- |
| `mmcv._ext`, if it does not exist | `ops` | wheels of mmcv and onedl-mmcv without compiled ops | `import mmcv.ops` fails, and mmdet with it |
| `mmpretrain.utils.dependency.WITH_MULTIMODAL` | `transformers` | mmpretrain 1.2.0, onedl-mmpretrain 1.3.6 with `transformers` 5 | `import mmpretrain.models` fails |
| `import transformers`: any error is an ImportError | `transformers` | mmengine 0.10.7, onedl-mmengine 0.10.12 | with a broken `transformers`, `import mmengine.optim` fails |
| `MODULE2PACKAGE["mmseg"]` of `mmengine.config.utils` | `openmmlab` | onedl-mmsegmentation 1.4.2 | `_base_ = 'mmseg::...'` is not found |
| `mmengine.config.utils.load`, cached | `openmmlab` | mmengine 0.10.7, onedl-mmengine 0.10.12 | every `_base_ = 'mmdet::...'` takes a second longer |
| loaders of `mmengine.runner.CheckpointLoader` | `checkpoints` | mmengine 0.10.7, onedl-mmengine 0.10.12 | checkpoints run code, or do not resume |
| class of `torch.nn.SyncBatchNorm` layers in models wrapped by `CPUDistributedDataParallel` | `sync_bn` | torch 2.15 | they cannot be trained by several processes without a GPU |

`tests/compat/test_patches.py` checks that the installed versions still need each patch: if one of its tests
fails, that patch can be removed.
"""  # noqa: E501
