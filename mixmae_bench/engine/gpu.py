"""Settings for training on GPUs: nothing between two steps waits for the GPU."""

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model.base_model import BaseDataPreprocessor
from mmengine.runner import Runner

from mixmae_bench.engine.cpu import fuse_optimizer
from mixmae_bench.registry import HOOKS


def speed_up(cfg: Config) -> None:
    """Prepare this process and a config for training on a GPU.

    Convolutions compute in float32 unless the config asks for another format; cuDNN's default is TF32.
    """
    torch.backends.cudnn.allow_tf32 = False
    fuse_optimizer(cfg)
    if loader := cfg.get("train_dataloader"):
        loader.setdefault("pin_memory", True)
    cfg.custom_hooks = [*cfg.get("custom_hooks", []), dict(type="mixmae_bench.NonBlockingCopyHook")]


@HOOKS.register_module()
class NonBlockingCopyHook(Hook):
    """Lets data preprocessors copy batches to the GPU without waiting for it.

    mmengine's BaseDataPreprocessor has the argument `non_blocking`, but some of its subclasses, such as
    mmpretrain's ClsDataPreprocessor, do not take it.
    """

    def before_train(self, runner: Runner) -> None:
        for module in runner.model.modules():
            if isinstance(module, BaseDataPreprocessor):
                module._non_blocking = True
