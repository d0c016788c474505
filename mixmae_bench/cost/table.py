"""The command `mixmae-bench flops`: a table of parameters and FLOPs per model."""

from rich.console import Console
from rich.table import Table
from torch import nn

from mixmae_bench.cost.flops import Cost, count, size, trained
from mixmae_bench.cost.models import load_call
from mixmae_bench.errors import UserError
from mixmae_bench.results.measurements import COUNT_SCHEMA, Count
from mixmae_bench.system.environment import code_version, packages


def show_cost(name: str, shape: tuple[int, int] | None, device: str, console: Console) -> Count:
    """Print parameters and FLOPs of a model and of its parts, and return them.

    Args:
        name: See `load_call`.
        shape: Height and width of the images, or None for the model's default.
        device: 'meta', 'cpu' or 'cuda'.
        console: Console to print to.

    Raises:
        UserError: If the model cannot be built or does not run.
    """
    try:
        call = load_call(name, shape, device)
        cost = count(call.model, *call.inputs, forward=call.forward, images=call.images)
    except UserError:
        raise
    except Exception as error:  # a model from a config can fail in any way
        reason = (str(error).strip() or "no message").splitlines()[0]
        at = f" at {shape[0]}x{shape[1]} px" if shape else ""
        remedy = "; add --device cpu" if device == "meta" and "meta" in str(error) else ""
        raise UserError(
            f"{name} cannot be counted{at}: {type(error).__name__}: {reason[:300]}{remedy}"
        ) from error
    height, width = call.inputs[0].shape[-2:]
    console.print(
        f"\n{name}: one image of {height}x{width} px{call.what and ', '}{call.what}", highlight=False
    )
    console.print(cost_table(call.model, cost))
    size_and_pass = ([height, width], call.what)
    costs = (cost.params, cost.trainable, cost.flops)
    return Count(COUNT_SCHEMA, name, *size_and_pass, *costs, code_version(), packages())


def cost_table(model: nn.Module, cost: Cost) -> Table:
    """Return a table with a row per child of a model, a row for the rest, and the total."""
    table = Table("module", box=None)
    for title in ("params (M)", "trainable (M)", "FLOPs (G)"):
        table.add_column(title, justify="right")
    rows = {
        name: (size(child.parameters()), size(trained(child)), cost.by_module.get(name, 0))
        for name, child in model.named_children()
    }
    total = (cost.params, cost.trainable, cost.flops)
    rows["(in none of them)"] = tuple(n - sum(row[i] for row in rows.values()) for i, n in enumerate(total))
    for name, row in rows.items():
        if any(row):
            table.add_row(name, *_millions_and_billions(row))
    table.add_section()
    table.add_row("total", *_millions_and_billions(total))
    return table


def _millions_and_billions(row: tuple[int, int, int]) -> list[str]:
    return [f"{row[0] / 1e6:,.2f}", f"{row[1] / 1e6:,.2f}", f"{row[2] / 1e9:,.3f}"]
