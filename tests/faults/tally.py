"""Outcomes of the injected faults."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Outcome:
    """One injected fault: its kind, a description, and the problem it caused, or None."""

    kind: str
    what: str
    wrong: str | None = None


@dataclass
class Tally:
    """Collects outcomes and prints progress."""

    outcomes: list[Outcome] = field(default_factory=list)
    done: float = 0.0
    """Expected seconds of the finished pieces of work."""

    def __post_init__(self) -> None:
        self._began = time.monotonic()

    def add(self, outcomes: Iterable[Outcome], expected: float, total: float) -> None:
        """Add the outcomes of a piece of work and print a line of progress.

        Args:
            outcomes: The outcomes.
            expected: Expected seconds of the piece.
            total: Expected seconds of all pieces.
        """
        outcomes = list(outcomes)
        self.outcomes += outcomes
        self.done += expected
        took = time.monotonic() - self._began
        left = took * (total / self.done - 1)
        lost = sum(o.wrong is not None for o in self.outcomes)
        kinds = ", ".join(dict.fromkeys(o.kind for o in outcomes))
        count = f"{len(self.outcomes):4} faults, {lost} lost"
        print(f"{took / 60:4.1f} min, {left / 60:4.1f} left  {count}  {kinds}", flush=True)
        for outcome in outcomes:
            if outcome.wrong is not None:
                print(f"  LOST  {outcome.kind}: {outcome.what}: {outcome.wrong}", flush=True)

    def table(self) -> str:
        """Return a table with a row per kind, the total, and counts of tracebacks and executed code."""
        kinds = list(dict.fromkeys(outcome.kind for outcome in self.outcomes))
        rows = [(kind, [o for o in self.outcomes if o.kind == kind]) for kind in kinds]
        width = max(map(len, kinds), default=5)
        lines = [f"{'kind':{width}}  tried  survived  lost"]
        for kind, own in [*rows, ("total", self.outcomes)]:
            lost = sum(outcome.wrong is not None for outcome in own)
            lines.append(f"{kind:{width}}  {len(own):5}  {len(own) - lost:8}  {lost:4}")
        wrongs = [outcome.wrong for outcome in self.outcomes if outcome.wrong is not None]
        shown, ran = (sum(words in wrong for wrong in wrongs) for words in ("a traceback", "was executed"))
        lines.append(f"{len(wrongs)} lost, {shown} tracebacks shown, {ran} times code of a file executed")
        return "\n".join(lines)
