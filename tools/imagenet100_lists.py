"""Write the image lists of ImageNet-100 into the folder of ImageNet-1K.

usage: python tools/imagenet100_lists.py DATA   DATA contains train and val, such as data/imagenet.

The subset has every tenth class of ImageNet-1K in the order of WordNet IDs (labels 0, 10, ..., 990, which are
kept), and of each class the first 700 training images by name and all 50 validation images. Other papers use
other classes for their ImageNet-100. The lists are written to DATA/meta.
"""

import sys
from collections import defaultdict
from pathlib import Path

from mixmae_bench.cli import exits_on_user_error
from mixmae_bench.datasets.catalog.imagenet import LISTS_OF_100, ImageNet
from mixmae_bench.errors import UserError
from mixmae_bench.system.files import write_atomically


@exits_on_user_error
def main(argv: list[str]) -> int:
    """Write the lists; return the exit status."""
    if len(argv) != 1:
        raise UserError("usage: python tools/imagenet100_lists.py DATA, such as data/imagenet")
    root = Path(argv[0])
    for name, (split, per_class) in LISTS_OF_100.items():
        lines = list(lines_of(root, split, per_class))
        (root / "meta").mkdir(exist_ok=True)
        write_atomically(root / name, "".join(f"{line}\n" for line in lines).encode())
        print(f"{root / name}: {len(lines)} images")
    return 0


def lines_of(root: Path, split: str, per_class: int) -> list[str]:
    """Return the lines `FILE LABEL` of a split, sorted by label and name.

    Raises:
        UserError: If a class has fewer images than `per_class`.
    """
    files = defaultdict(list)
    for item in ImageNet(data_root=str(root), split=split, pipeline=[]).load_data_list():
        files[item["gt_label"]].append(Path(item["img_path"]).relative_to(root / split).as_posix())
    lines = []
    for label in range(0, 1000, 10):
        if len(files[label]) < per_class:
            raise UserError(
                f"{root / split} has {len(files[label])} images of class {label}, fewer than {per_class}; "
                "see mixmae-bench data check imagenet"
            )
        lines += [f"{file} {label}" for file in sorted(files[label])[:per_class]]
    return lines


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
