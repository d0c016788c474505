"""Encoders of pretraining by another package, for transfer with this package's backbones."""

from pathlib import Path

from mixmae_bench.backbones.loading import read_state_dict
from mixmae_bench.convert.recognise import OFFICIAL, OURS, recognise
from mixmae_bench.convert.run import identify, write_own


def for_transfer(checkpoint: Path) -> Path:
    """Return a checkpoint, or its conversion beside it if another package pretrained it.

    A classifier is returned as it is: it may have a backbone of that package.

    Args:
        checkpoint: A file, written by a training.

    Raises:
        UserError: If the file is damaged, or the conversion cannot be written.
    """
    matches = recognise(list(read_state_dict(checkpoint)))
    if isinstance(matches, str):
        return checkpoint
    kind, layout = matches[0].kind, matches[0].layout
    pretraining = kind.pretraining or kind.fits != "ImageClassifier"
    if layout in (OURS, OFFICIAL) or not pretraining:
        return checkpoint
    out = checkpoint.with_suffix(".encoder.safetensors")
    if not out.is_file() or out.stat().st_mtime < checkpoint.stat().st_mtime:
        write_own(identify(checkpoint), out)
    return out
