"""Hook that audits checkpoints loaded by mmengine: `load_from`, `resume`, and `init_cfg` of any backbone."""

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
    """Audits the initial weights of a run; training does not start if parts of the backbone are not loaded.

    mmengine loads the tensors with matching names and only logs the others.
    """

    priority = "VERY_HIGH"  # other hooks read the weights that this one replaces

    def before_run(self, runner: Runner) -> None:
        if not hasattr(self, "_file"):
            self._file = ""
            watch(backbone_of(unwrapped(runner.model)), lambda: self._file)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Replace the checkpoint's weights by the weights that the model loads, under the model's names.

        Raises:
            UserError: See `fit_model`; also if the checkpoint has no weights.
        """
        model, self._file = unwrapped(runner.model), runner._load_from
        content = checkpoint
        if runner._resume:
            if not isinstance(checkpoint.get("state_dict"), dict):
                return  # the checkpoint hook reports what is missing for a resume
            content = checkpoint["state_dict"]
        try:
            weights = unwrap(content, model.state_dict().keys())
        except ValueError as error:
            raise UserError(f"checkpoint {self._file} {error}") from error
        if runner._resume:
            for note in weights.notes:
                print_log(f"checkpoint {self._file}: {note}", logger="current")
        checkpoint["state_dict"] = weights.state if runner._resume else fit_model(model, weights, self._file)
