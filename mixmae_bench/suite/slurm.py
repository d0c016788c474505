"""Slurm parameters: read those that a user gives (under submitit's names), and compute a run's resources."""

from pathlib import Path

import yaml

from mixmae_bench.errors import UserError, did_you_mean

INTEGERS = ("time", "nodes", "gpus_per_node", "cpus_per_task", "signal_delay_s")
TEXTS = (
    *("partition", "account", "qos", "constraint", "mem", "mem_per_cpu", "mem_per_gpu"),
    *("exclude", "nodelist", "comment", "mail_type", "mail_user", "wckey"),
)
LISTS = ("setup", "teardown", "srun_args")
MAPPINGS = ("additional_parameters",)
KNOWN = (*INTEGERS, *TEXTS, *LISTS, *MAPPINGS)
"""Parameters of `submitit.SlurmExecutor`; `time` in minutes, `setup` shell commands before the run."""

KINDS = {str: "text", list: "list", dict: "mapping, in a YAML file"}

DEFAULTS = {"time": 24 * 60, "stderr_to_stdout": True}
"""One day, as a job at its time limit is requeued and resumes."""


def read_parameters(given: list[str]) -> dict[str, object]:
    """Read the values of `--slurm`: KEY=VALUE, or a YAML file of such keys; later values take precedence.

    Raises:
        UserError: If a key is unknown or a value has the wrong type.
    """
    parameters: dict[str, object] = {}
    for text in given:
        key, is_pair, value = text.partition("=")
        content = {key: value} if is_pair else _read_file(Path(text))
        parameters |= {key: _value(key, value, text) for key, value in content.items()}
    if "nodes" in parameters and "gpus_per_node" not in parameters:
        raise UserError("--slurm nodes= requires gpus_per_node=")
    return parameters


def resources(parameters: dict[str, object], gpus: int, config: str) -> dict[str, int]:
    """Return a run's nodes and tasks per node, one task per GPU.

    A run uses the number of GPUs that its config is written for, on as few nodes as possible. If `nodes` is
    given, every run uses `nodes` x `gpus_per_node` GPUs. Without `gpus_per_node`, a run is one task without a
    GPU.

    Args:
        parameters: Result of `read_parameters`.
        gpus: Number of GPUs that the config is written for.
        config: Name of the config, for error messages.

    Raises:
        UserError: If the number of GPUs is not a multiple of `gpus_per_node`.
    """
    of_node = parameters.get("gpus_per_node")
    if of_node is None:
        return {"nodes": 1, "ntasks_per_node": 1}
    if "nodes" in parameters:
        nodes, own = parameters["nodes"], of_node
    else:
        own = min(gpus, of_node)
        nodes, left = divmod(gpus, own)
        if left:
            raise UserError(
                f"config {config} is written for {gpus} GPUs, not a multiple of gpus_per_node={of_node}; "
                "give another number, or add nodes= and --auto-scale-lr"
            )
    return {"nodes": nodes, "ntasks_per_node": own, "gpus_per_node": own}


def _read_file(path: Path) -> dict[str, object]:
    if not path.is_file():
        raise UserError(
            f"--slurm {path}: no such file; give KEY=VALUE, such as partition=gpu, or a YAML file"
        )
    try:
        # Read strings only: YAML would read `1:00:00` as 3600.
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"--slurm {path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UserError(f"--slurm {path} must be a mapping, such as `partition: gpu`")
    return content


def _value(key: str, value: object, where: str) -> object:
    if key not in KNOWN:
        raise UserError(
            f"--slurm {where}: unknown parameter '{key}'; "
            f"known: {', '.join(KNOWN)}.{did_you_mean(key, KNOWN)}"
        )
    if key in INTEGERS:
        if not (isinstance(value, str) and value.isdecimal() and int(value) > 0):
            unit = " of minutes, such as 1440" if key == "time" else ""
            raise UserError(f"--slurm {where}: {key} must be a whole number{unit}, not {value!r}")
        return int(value)
    if key in LISTS and isinstance(value, str):
        return [value]
    kind = list if key in LISTS else dict if key in MAPPINGS else str
    if not isinstance(value, kind):
        raise UserError(f"--slurm {where}: {key} must be a {KINDS[kind]}, not {value!r}")
    return value
