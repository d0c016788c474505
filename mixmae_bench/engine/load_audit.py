"""The load audit where mmengine does the loading: `load_from`, `resume`, and `init_cfg` of any backbone."""

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner

from mixmae_bench.backbones.weights import unwrap
from mixmae_bench.engine.distributed import unwrapped
from mixmae_bench.errors import UserError
from mixmae_bench.registry import HOOKS
from mixmae_bench.transfer.audit import backbone_of, fit_model, watch


@HOOKS.register_module()
class LoadAuditHook(Hook):
    """Audits what a run is initialised from; training does not start where the backbone is not filled.

    mmengine takes what happens to have the names of the model, and logs the rest.
    """

    priority = "VERY_HIGH"  # others read the weights as this one leaves them

    def before_run(self, runner: Runner) -> None:
        if not hasattr(self, "_file"):
            self._file = ""
            watch(backbone_of(unwrapped(runner.model)), lambda: self._file)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Put the weights that the model takes, under its names, in the place of those of the checkpoint.

        Raises:
            UserError: As `fit_model`, or where the checkpoint holds no weights.
        """
        model, self._file = unwrapped(runner.model), runner._load_from
        content = checkpoint
        if runner._resume:
            if not isinstance(checkpoint.get("state_dict"), dict):
                return  # the checkpoint hook says what else a resume needs
            content = checkpoint["state_dict"]
        try:
            weights = unwrap(content, model.state_dict().keys())
        except ValueError as error:
            raise UserError(f"checkpoint {self._file} {error}") from error
        if runner._resume:
            for note in weights.notes:
                print_log(f"checkpoint {self._file}: {note}", logger="current")
        checkpoint["state_dict"] = weights.state if runner._resume else fit_model(model, weights, self._file)
