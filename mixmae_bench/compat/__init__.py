"""What other packages need to work here: every change that this project makes to them.

| what is changed | by | needed with | without it |
| --- | --- | --- | --- |
| `mmcv._ext`, where it does not exist | `ops` | wheels of mmcv and onedl-mmcv without compiled ops | `import mmcv.ops` fails, and mmdet with it |
| `mmpretrain.utils.dependency.WITH_MULTIMODAL` | `transformers` | mmpretrain 1.2.0, onedl-mmpretrain 1.3.6 beside `transformers` 5 | `import mmpretrain.models` fails |
| `import transformers`: any error is an ImportError | `transformers` | mmengine 0.10.7, onedl-mmengine 0.10.12 | beside a broken `transformers`, `import mmengine.optim` fails |
| `MODULE2PACKAGE["mmseg"]` of `mmengine.config.utils` | `openmmlab` | onedl-mmsegmentation 1.4.2 | `_base_ = 'mmseg::...'` is not found |
| `mmengine.config.utils.load`, cached | `openmmlab` | mmengine 0.10.7, onedl-mmengine 0.10.12 | a second more for every `_base_ = 'mmdet::...'` |
| loaders of `mmengine.runner.CheckpointLoader` | `checkpoints` | mmengine 0.10.7, onedl-mmengine 0.10.12 | checkpoints run code, or do not resume |
| class of `torch.nn.SyncBatchNorm` layers, in models that `CPUDistributedDataParallel` wraps | `sync_bn` | torch 2.15 | several processes without a GPU cannot train them |

`tests/compat/test_patches.py` shows for each that the installed versions still need it: where one of its tests
fails, that change can go.
"""  # noqa: E501
