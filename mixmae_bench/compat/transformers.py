"""Use OpenMMLab with an incompatible or broken `transformers` installed.

mmpretrain 1.2.0 (and onedl-mmpretrain 1.3.6) imports its multimodal models as soon as `transformers` 4.28 or
later is installed. `transformers` 5 lacks functions that they import: `import mmpretrain.models` then fails,
and every model with it. This module makes mmpretrain treat such a `transformers` as missing; its multimodal
models are then mmpretrain's own placeholders.

mmengine, mmdet and mmpretrain work without `transformers` if its import raises an ImportError. They fail if a
broken installation, for example one for another version of torch, raises another error. This module turns
such an error into an ImportError.

If `transformers` is compatible, nothing changes. This module imports neither mmpretrain nor transformers by
itself, so `import mixmae_bench` stays cheap.
"""

import importlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from functools import partial
from types import ModuleType

DEPENDENCY = "mmpretrain.utils.dependency"
"""mmpretrain's module with `WITH_MULTIMODAL`, which decides whether multimodal models are imported."""

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
"""Names that mmpretrain imports from `transformers`, by module."""


def install() -> None:
    """Add an import finder to `sys.meta_path`; a second call has no effect.

    It imports nothing, unless mmpretrain is already imported with `WITH_MULTIMODAL`, which is then checked
    again.
    """
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    sys.meta_path.insert(0, _Finder())
    if module := sys.modules.get(DEPENDENCY):
        _decide_again(module)


def serves_mmpretrain() -> bool:
    """Return whether `transformers` can be imported and has all names that mmpretrain imports from it."""
    try:
        for module, names in NEEDED.items():
            found = importlib.import_module(module)
            for name in names:
                getattr(found, name)
    except Exception:  # an incompatible package can raise anything
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
        # Imported by mmengine.optim; transformers loads it lazily, on access.
        getattr(sys.modules[module.__name__], "Adafactor", None)
    except ImportError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ImportError(f"transformers cannot be imported: {type(error).__name__}: {reason}") from error


_RUNNERS = {DEPENDENCY: _decide, "transformers": _import_or_import_error}


class _Finder(importlib.abc.MetaPathFinder):
    """Finds two modules with the other finders, and executes them with `_RUNNERS`."""

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
