import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent


class BuildWithConfigs(build_py):
    """Puts configs, results and model index into the wheel, in `.mim`, as OpenMMLab's packages do."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return  # a checkout has them beside the package
        inside = Path(self.build_lib, "mixmae_bench", ".mim")
        for name in ("configs", "results"):
            shutil.rmtree(inside / name, ignore_errors=True)
            shutil.copytree(ROOT / name, inside / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "model-index.yml", inside)


# The maintained forks (default) and the original OpenMMLab packages install the same import
# names, so an environment holds exactly one of the two families (`mixmae-bench doctor` checks).
ONEDL = [
    "onedl-mmengine>=0.10.12",
    "onedl-mmcv>=2.3.6",
    "onedl-mmdetection>=3.5.1",
    "onedl-mmsegmentation>=1.4.2",
    "onedl-mmpretrain>=1.3.6",
]
OPENMMLAB = [
    "mmengine>=0.10.7",
    "mmcv-lite>=2.1.0,<2.2.0",
    "mmdet>=3.3.0",
    "mmsegmentation>=1.2.2",
    "mmpretrain>=1.2.0",
    "setuptools<81",  # mmengine 0.10.7 imports pkg_resources
    "ftfy",
    "regex",
]

setup(
    name="mixmae-bench",
    version="0.1.0",
    description="Transfer benchmark for masked image modelling on hierarchical vision transformers",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="The mixmae-bench authors",
    license="Apache-2.0",
    license_files=["LICENSE"],
    keywords=[
        "masked image modelling",
        "self-supervised learning",
        "transfer learning",
        "benchmark",
        "Swin transformer",
        "MixMAE",
        "SimMIM",
        "UM-MAE",
        "OpenMMLab",
        "timm",
    ],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",  # all tests
        "Programming Language :: Python :: 3.12",  # the tests on a GPU
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
    cmdclass={"build_py": BuildWithConfigs},
    packages=find_packages(include=["mixmae_bench", "mixmae_bench.*"]),
    package_data={"mixmae_bench.report": ["templates/*"]},
    python_requires=">=3.11",
    install_requires=[
        "torch>=2.11",
        "torchvision>=0.26",
        "timm>=1.0.26",  # reads checkpoints as data only
        "filelock",
        "jinja2",
        "matplotlib",
        "numpy",
        "pillow",
        "pycocotools",
        "pydantic>=2.10",
        "pyyaml",
        "rich",
        "safetensors",
        "scikit-learn",
        "scipy",
        "submitit>=1.5.4",
    ],
    extras_require={
        "onedl": ONEDL,
        "openmmlab": OPENMMLAB,
        "gpu": ["triton>=3.2; platform_system == 'Linux'"],  # part of PyTorch's wheels for CUDA
        "trackers": ["mlflow", "tensorboard", "wandb"],
        "docs": ["mkdocs>=1.6", "mkdocs-material>=9.6", "nbconvert", "ipykernel"],  # see constraints-docs.txt
        "test": ["pytest", "pytest-timeout", "pytest-xdist", "ruff", "tensorboard"],
    },
    entry_points={"console_scripts": ["mixmae-bench=mixmae_bench.cli:main"]},
)
