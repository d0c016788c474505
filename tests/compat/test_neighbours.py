"""Whoever imports this package, or uses its models in a Runner of their own, keeps mmengine as it was."""

import subprocess
import sys
from pathlib import Path

import torch

SETUP = """
import sys
from mmengine.config import Config, utils
from mmengine.runner import CheckpointLoader, Runner
from mmengine.runner import checkpoint

CheckpointLoader.register_scheme("mine://", loader=lambda path, map_location=None: {"x": path})

def patched():
    return (
        dict(CheckpointLoader._schemes), list(CheckpointLoader._schemes),
        utils.load, dict(utils.MODULE2PACKAGE),
        checkpoint.load_checkpoint, checkpoint._load_checkpoint, checkpoint.load_state_dict,
    )

before = patched()
assert len(before[0]) > 10
"""

CHECK = """
after = patched()
assert all(after[0][prefix] is loader for prefix, loader in before[0].items())
assert after == before
"""

BACKBONE = """
config = dict(
    type="mixmae_bench.MixMAESwin",
    arch=dict(embed_dim=8, depths=(1, 1), num_heads=(2, 2), window_size=(4, 2)), img_size=32,
    init_cfg=dict(type="Pretrained", checkpoint=sys.argv[1]),
)
"""

USES = {
    "imports": """
import mixmae_bench
import mixmae_bench.registry
Config.fromstring("custom_imports = dict(imports=['mixmae_bench', 'mixmae_bench.registry'])", ".py")
""",
    "models in a Runner of their own": BACKBONE
    + """
from mmengine.model import BaseModel

class Mine(BaseModel):
    def __init__(self):
        super().__init__()
        self.backbone = Runner.build_model(None, config)

    def forward(self, inputs, data_samples=None, mode="loss"):
        return {"loss": self.backbone(inputs)[0].square().mean()}

torch = __import__("torch")
runner = Runner(
    Mine(), sys.argv[2], log_level="ERROR", train_cfg=dict(by_epoch=False, max_iters=1),
    train_dataloader=dict(
        dataset=[{"inputs": torch.ones(3, 32, 32)}], batch_size=1, num_workers=0,
        sampler=dict(type="DefaultSampler"), collate_fn=dict(type="default_collate"),
    ),
    optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1)),
)
runner.train()
assert runner.model.backbone.audit["filled"] == 100
""",
    "functions of this package": """
from pathlib import Path
from mixmae_bench.engine.config import load_config
from mixmae_bench.convert.run import convert
from mixmae_bench.backbones.loading import load_backbone
from mixmae_bench.registry import MODELS

load_backbone(MODELS.build(config), sys.argv[1])
convert(Path(sys.argv[1]), Path(sys.argv[2]) / "out.pth", None, None, None)
load_config(sys.argv[3])
""",
}


def test_mmengines_loaders_stay_the_same_objects(tmp_path: Path) -> None:
    """After each use, one after the other in one process, as importing the frameworks takes seconds."""
    from mixmae_bench.registry import MODELS

    weights = tmp_path / "w.pth"
    arch = dict(embed_dim=8, depths=(1, 1), num_heads=(2, 2), window_size=(4, 2))
    state = MODELS.build(dict(type="mixmae_bench.MixMAESwin", arch=arch, img_size=32)).state_dict()
    torch.save(state, weights)
    config = Path(__file__).parents[2] / "configs/segmentation/upernet_mixmae-swin-small_1xb32-12e_digits.py"
    uses = "".join(f"{use}{CHECK}\nprint({name!r})\n" for name, use in USES.items())
    command = [sys.executable, "-c", SETUP + uses, str(weights), str(tmp_path), str(config)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert set(USES) <= set(done.stdout.splitlines())


def test_in_a_foreign_process_an_address_goes_to_the_loader_that_is_registered_for_it() -> None:
    from mmengine.runner import CheckpointLoader

    from mixmae_bench.backbones.loading import read_state_dict

    before = CheckpointLoader._schemes
    CheckpointLoader._schemes = dict(before)
    try:
        CheckpointLoader.register_scheme("mine://", lambda path, map_location=None: {path: torch.ones(1)})
        assert list(read_state_dict("mine://a-b")) == ["mine://a-b"]
    finally:
        CheckpointLoader._schemes = before
