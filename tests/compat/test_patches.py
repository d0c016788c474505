"""The table in `mixmae_bench/compat/__init__.py`: without each change, the installed packages fail.

A test that fails here says that the change it names is no longer needed: remove it.
"""

import re
import subprocess
import sys
import textwrap
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

import mixmae_bench.compat
from mixmae_bench.compat.openmmlab import family
from mixmae_bench.compat.ops import ops_kind

SERVES = """
def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return type(name, (), {})
"""
LACKS = """
class PreTrainedModel: pass
class AutoConfig: pass
def __getattr__(name):
    raise AttributeError(name)
"""


def run(code: str, *paths: Path, ours: bool = False) -> subprocess.CompletedProcess:
    """Run code in a new process, with `paths` first; by default without this package's changes."""
    paths = [*map(str, paths), str(Path(mixmae_bench.compat.__file__).parents[2])]
    head = f"import sys; sys.path[:0] = {paths}\n" + ("import mixmae_bench\n" if ours else "")
    return subprocess.run(
        [sys.executable, "-c", head + textwrap.dedent(code)], capture_output=True, text=True, timeout=300
    )


def install_transformers(site: Path, code: str, version: str = "5.0.0", **modules: str) -> Path:
    """A package `transformers` as pip leaves it, whose modules hold what is given."""
    info = site / f"transformers-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: transformers\nVersion: {version}\n")
    for name, content in {"__init__": code, **modules}.items():
        (site / "transformers" / f"{name}.py").parent.mkdir(exist_ok=True)
        (site / "transformers" / f"{name}.py").write_text(content)
    return site


@pytest.fixture
def transformers_5(tmp_path: Path) -> Path:
    """What mmpretrain touches of `transformers` 5: some names are gone, as there."""
    return install_transformers(tmp_path, LACKS, pytorch_utils="def prune_linear_layer(): pass\n")


DECISION = "import mmpretrain.utils.dependency as d; print(d.WITH_MULTIMODAL)"


def test_mmpretrain_fails_beside_transformers_5_without_the_change(transformers_5: Path) -> None:
    done = run("import mmpretrain.models", transformers_5)
    assert done.returncode != 0
    assert re.search("(TypeError|ImportError|ModuleNotFoundError|AttributeError):", done.stderr)


def test_models_build_beside_transformers_5(transformers_5: Path, tmp_path: Path) -> None:
    """From a config of OpenMMLab that names this package in `custom_imports` only."""
    config = tmp_path / "config.py"
    config.write_text(
        "custom_imports = dict(imports=['mixmae_bench'])\n"
        "default_scope = 'mmpretrain'\n"
        "model = dict(type='ImageClassifier', backbone=dict(type='ResNet', depth=18),\n"
        "             neck=dict(type='GlobalAveragePooling'),\n"
        "             head=dict(type='LinearClsHead', num_classes=2, in_channels=512))\n"
    )
    code = f"""
        from mmengine.config import Config
        cfg = Config.fromfile({str(config)!r})
        from mmpretrain.models import build_classifier
        import mmdet.models, mmseg.models
        print(type(build_classifier(cfg.model)).__name__)
        import mmpretrain.utils.dependency as d
        print(d.WITH_MULTIMODAL)
    """
    done = run(code, transformers_5)
    assert done.stdout.split()[-2:] == ["ImageClassifier", "False"], done.stderr


def test_mmpretrain_decides_as_ever_beside_a_transformers_that_fits(tmp_path: Path) -> None:
    modules = ("pytorch_utils", "utils", "activations", "modeling_outputs", "modeling_utils")
    site = install_transformers(tmp_path / "fits", SERVES, "4.36.2", **dict.fromkeys(modules, SERVES))
    for name in ("generation/utils", "models/auto/auto_factory", "models/bert/configuration_bert"):
        path = site / "transformers" / f"{name}.py"
        path.parent.mkdir(parents=True)
        path.write_text(SERVES)
    path = site / "transformers" / "models" / "opt" / "configuration_opt.py"
    path.parent.mkdir()
    path.write_text(SERVES)
    code = f"from mixmae_bench.compat.transformers import serves_mmpretrain as s; print(s()); {DECISION}"
    assert run(code, site, ours=True).stdout.split()[-2:] == ["True", "True"]


def test_the_decision_is_corrected_where_mmpretrain_has_made_it_before(transformers_5: Path) -> None:
    done = run(f"{DECISION}; import mixmae_bench; print(d.WITH_MULTIMODAL)", transformers_5)
    assert done.stdout.split()[-2:] == ["True", "False"], done.stderr


ON_IMPORT = "raise RuntimeError('built for another torch')"
ON_USE = f"""
def __getattr__(name):
    if name == "Adafactor":
        {ON_IMPORT}
    raise AttributeError(name)
"""


@pytest.mark.parametrize("code", [ON_IMPORT, ON_USE], ids=["on import", "on use"])
def test_a_broken_transformers_is_as_none_and_breaks_mmengine_without_the_change(
    code: str, tmp_path: Path
) -> None:
    site = install_transformers(tmp_path, code)
    done = run("import mmengine.optim", site)
    assert "RuntimeError: built for another torch" in done.stderr.splitlines()[-1]
    code = """
        import mmengine.optim
        try:
            import transformers
        except ImportError as error:
            print(error)
    """
    done = run(code, site, ours=True)
    assert "cannot be imported: RuntimeError: built for another torch" in done.stdout, done.stderr


def test_importing_this_package_imports_neither_transformers_nor_mmpretrain(transformers_5: Path) -> None:
    code = "print('transformers' in sys.modules, 'mmpretrain' in sys.modules, 'torch' in sys.modules)"
    assert run(code, transformers_5, ours=True).stdout.split() == ["False"] * 3


@pytest.mark.skipif(ops_kind() == "compiled", reason="mmcv has compiled ops here")
def test_mmcv_has_no_ops_without_the_stand_in() -> None:
    assert "No module named 'mmcv._ext'" in run("import mmcv.ops").stderr


@pytest.mark.skipif(family() != "onedl", reason="only the fork renames the distribution")
def test_mmengine_looks_for_a_distribution_that_the_fork_does_not_have() -> None:
    code = "from mmengine.config.utils import MODULE2PACKAGE; print(MODULE2PACKAGE['mmseg'])"
    with pytest.raises(PackageNotFoundError):
        distribution(run(code).stdout.split()[-1])


def test_mmengine_reads_all_metafiles_again_for_every_base() -> None:
    code = """
        from mmengine.config import Config, utils
        read, load = [], utils.load
        utils.load = lambda *args, **kwargs: read.append(args) or load(*args, **kwargs)
        for _ in range(2):
            Config._get_cfg_path("mmdet::_base_/default_runtime.py", "x.py")
            Config._get_cfg_path("mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py", "x.py")
            print(len(read))
    """
    first, second = map(int, run(code).stdout.split()[-2:])
    assert second == 2 * first > 20


def test_torch_refuses_its_synchronised_batch_norm_without_a_gpu() -> None:
    code = """
        import torch
        from torch import distributed, nn
        distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
        nn.SyncBatchNorm(2)(torch.zeros(2, 2, 1, 1))
    """
    assert "SyncBatchNorm expected input tensor to be on" in run(code).stderr.splitlines()[-1]


def test_the_table_names_every_module_that_changes_something() -> None:
    modules = {path.stem for path in Path(mixmae_bench.compat.__file__).parent.glob("[!_]*.py")}
    rows = re.findall(r"^\| .*? \| `(\w+)` \|", mixmae_bench.compat.__doc__, re.MULTILINE)
    assert set(rows) == modules
