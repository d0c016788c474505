"""OpenMMLab beside a `transformers` that does not fit it.

mmpretrain 1.2.0 (and onedl-mmpretrain 1.3.6) imports its multimodal models as soon as `transformers` 4.28 or
later is installed. `transformers` 5 lacks functions that they import: `import mmpretrain.models` then fails,
and every model with it. Here mmpretrain treats such a `transformers` as missing: its multimodal models are
the placeholders that it has for that case.

mmengine, mmdet and mmpretrain do without `transformers` where its import ends in an ImportError. They fail
where a broken installation, say for another version of torch, ends in any other error. Here that is an
ImportError too.

Where `transformers` fits, nothing changes. This module imports neither mmpretrain nor transformers by itself,
so `import mixmae_bench` stays cheap.
"""

import importlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from functools import partial
from types import ModuleType

DEPENDENCY = "mmpretrain.utils.dependency"
"""mmpretrain's module that decides, as `WITH_MULTIMODAL`, whether the multimodal models are imported."""

NEEDED = {
    "transformers.pytorch_utils": (
        "apply_chunking_to_forward",
        "find_pruneable_heads_and_indices",  # not in transformers 5
        "prune_linear_layer",
    ),
    "transformers.utils": (
        "add_code_sample_docstrings",
        "add_start_docstrings",
        "add_start_docstrings_to_model_forward",
        "logging",
        "replace_return_docstrings",
    ),
    "transformers.activations": ("ACT2FN",),
    "transformers.modeling_outputs": (
        "BaseModelOutputWithPast",
        "BaseModelOutputWithPastAndCrossAttentions",
        "BaseModelOutputWithPoolingAndCrossAttentions",
        "CausalLMOutputWithCrossAttentions",
        "CausalLMOutputWithPast",
        "ModelOutput",
        "Seq2SeqLMOutput",
    ),
    "transformers.modeling_utils": ("GenerationConfig", "PretrainedConfig", "PreTrainedModel"),
    "transformers.generation.utils": ("GenerationMixin",),
    "transformers.models.auto.auto_factory": ("_BaseAutoModelClass",),
    "transformers.models.bert.configuration_bert": ("BertConfig",),
    "transformers.models.opt.configuration_opt": ("OPTConfig",),
    "transformers": (
        "AutoConfig",
        "AutoModelForCausalLM",
        "AutoTokenizer",
        "BartTokenizer",
        "BasicTokenizer",
        "BertTokenizer",
        "BertTokenizerFast",
        "LlamaTokenizer",
        "PreTrainedModel",
        "WordpieceTokenizer",
    ),
}
"""What mmpretrain imports from `transformers`, module by module."""


def install() -> None:
    """Add one finder to `sys.meta_path`; a second call changes nothing.

    Imports nothing, unless mmpretrain has already decided for the multimodal models: then it decides again.
    """
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    sys.meta_path.insert(0, _Finder())
    if module := sys.modules.get(DEPENDENCY):
        _decide_again(module)


def serves_mmpretrain() -> bool:
    """Whether `transformers` can be imported and has all that mmpretrain imports from it."""
    try:
        for module, names in NEEDED.items():
            found = importlib.import_module(module)
            for name in names:
                getattr(found, name)
    except Exception:  # a package that does not fit the others installed can fail in any way
        return False
    return True


def _decide_again(module: ModuleType) -> None:
    module.WITH_MULTIMODAL = module.WITH_MULTIMODAL and serves_mmpretrain()


def _decide(run: Callable[[ModuleType], None], module: ModuleType) -> None:
    run(module)
    _decide_again(module)


def _import_or_import_error(run: Callable[[ModuleType], None], module: ModuleType) -> None:
    try:
        run(module)
        # mmengine.optim imports it; transformers itself imports it only now.
        getattr(sys.modules[module.__name__], "Adafactor", None)
    except ImportError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ImportError(f"transformers cannot be imported: {type(error).__name__}: {reason}") from error


_RUNNERS = {DEPENDENCY: _decide, "transformers": _import_or_import_error}


class _Finder(importlib.abc.MetaPathFinder):
    """Finds two modules where the other finders do, and runs them by `_RUNNERS`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in _RUNNERS:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        specs = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module = partial(_RUNNERS[fullname], spec.loader.exec_module)
        return spec
