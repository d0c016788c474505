"""Check loader settings that yield no batch or leave images out of the evaluation."""

from collections.abc import Mapping

from mixmae_bench.datasets.leaves import type_name
from mixmae_bench.errors import UserError


def check_loader(cfg: Mapping, loader: str, length: int, processes: int, config: str) -> None:
    """Check that a loader's settings are consistent with each other and with the number of images.

    Args:
        cfg: The config.
        loader: Key of the loader.
        length: Images per epoch.
        processes: Number of processes that share them.
        config: The config's file, for messages.

    Raises:
        UserError: If they are not.
    """
    settings = cfg[loader]
    workers, batch = settings.get("num_workers", 0), settings.get("batch_size", 1)
    for key, value, least in (("num_workers", workers, 0), ("batch_size", batch, 1)):
        if type(value) is not int or value < least:
            raise UserError(
                f"config {config}: {loader}.{key} is {value!r}; give an integer of {least} or more"
            )
    for key in ("persistent_workers", "prefetch_factor"):
        if settings.get(key) and not workers:
            raise UserError(
                f"config {config}: {loader}.{key} needs workers, but num_workers is 0; set it to "
                f"{False if key == 'persistent_workers' else None}, or num_workers to 1 or more"
            )
    if settings.get("num_batch_per_epoch", 1) < 1:
        raise UserError(f"config {config}: {loader}.num_batch_per_epoch is below 1; no batch is left")
    drops = settings.get("drop_last") or (settings.get("batch_sampler") or {}).get("drop_last")
    if not drops or "Infinite" in type_name(settings.get("sampler") or {}):
        return
    rounds_up = (settings.get("sampler") or {}).get("round_up", True)
    each = -(-length // processes) if rounds_up else length // processes
    if each < batch:
        raise UserError(
            f"config {config}: {loader} gives no batch: {length} images for {processes} "
            f"process{'es' if processes > 1 else ''}, a batch of {batch} each, and drop_last; use a "
            "smaller batch, or drop_last=False"
        )
    if loader != "train_dataloader" and each % batch:
        raise UserError(
            f"config {config}: {loader} leaves {each % batch} of {each} images out of the evaluation by "
            "drop_last; set it to False"
        )
