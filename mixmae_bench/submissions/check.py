"""The judge of submissions: every rule is a function, and its docstring is the rule."""

from collections.abc import Callable, Iterable
from pathlib import Path

from mixmae_bench.errors import UserError
from mixmae_bench.submissions import files, grid, recipe, scores, training
from mixmae_bench.submissions.folder import Submission

Rule = Callable[[Submission], Iterable[str]]
"""Function that yields one message for every place where a submission breaks the rule."""

STAGES: tuple[tuple[Rule, ...], ...] = (
    (files.links, files.size),
    (files.schema,),
    (files.paths,),
    (files.files,),
    (files.readable, files.outcomes),
    (grid.one_method,),
    (grid.suite,),
    (grid.seeds, grid.complete, grid.new, grid.finite, grid.precision),
    (
        *(recipe.key, recipe.recipe, recipe.config, recipe.seed, recipe.tuned, recipe.batch, recipe.data),
        *(recipe.initial_weights, recipe.checkpoint),
        *(training.schedule, training.log, training.curves, training.last_epoch),
        *(scores.metrics, scores.errors, scores.images),
    ),
)
"""All rules. If one is broken, later stages are not checked, as they rest on it."""

RULES: tuple[Rule, ...] = tuple(rule for stage in STAGES for rule in stage)


def check(folder: Path, suite_file: Path | None = None) -> list[str]:
    """Return one line for every rule that a submission breaks; none if it is accepted.

    Args:
        folder: The submission.
        suite_file: Suite file, if the suite is not part of this package.

    Raises:
        UserError: If the folder does not exist.
    """
    if not folder.is_dir():
        raise UserError(f"submission {folder} is no folder; give the folder that `mixmae-bench submit` wrote")
    submission = Submission(folder, suite_file)
    for stage in STAGES:
        if broken := [line for rule in stage if (line := _broken(rule, submission))]:
            return broken
    return []


def _broken(rule: Rule, submission: Submission) -> str | None:
    try:
        found = list(rule(submission))
    except UserError as error:
        found = [str(error)]
    except Exception as error:  # what a file contains is not known; a judge does not crash
        found = [f"a file has unexpected content ({type(error).__name__}: {error})"]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return " ".join(f"{rule.__name__}: {found[0]}{more}".split()) if found else None
