"""Reading the arguments of an official constructor.

Every argument is read by the function that returns the arguments of our model: it is used, checked to have
the only value that there is a counterpart for, or known to have no effect. Defaults are those of the official
classes.
"""

import re
from collections.abc import Callable

from mixmae_bench.errors import UserError

_CLASS = r"(?:torch\.)?(?:nn\.)?(?:modules\.normalization\.)?LayerNorm"
_EPS = r"eps=(\d[\d.]*(?:e[+-]?\d+)?|\.\d+(?:e[+-]?\d+)?)"
LAYER_NORM = re.compile(
    rf"{_CLASS}|<class'{_CLASS}'>|{_CLASS}\({_EPS}\)"
    rf"|(?:functools\.)?partial\((?:{_CLASS}|<class'{_CLASS}'>),{_EPS}\)"
)
"""How a manifest may write the official `norm_layer`, white space apart."""


class Arguments:
    """The arguments of an official constructor. An argument that nobody reads is refused.

    Args:
        says: Returns what the recording says under some keys; under 'constructor', the arguments by name.
        tensors: Number of tensors that the recording has of the model.

    Raises:
        UserError: Where there are no arguments by name.
    """

    def __init__(self, says: Callable[..., object], tensors: int) -> None:
        given = says("constructor")
        if not isinstance(given, dict):
            raise UserError(f"'constructor' is {given!r}, not arguments by name")
        self.given: dict[str, object] = given
        self.says = says
        self.tensors = tensors
        self.read: set[str] = set()

    def _value(self, name: str, default: object) -> object:
        self.read.add(name)
        return self.given.get(name, default)

    def count(self, name: str, default: int, least: int = 1) -> int:
        """Return a whole number."""
        value = self._value(name, default)
        if not _is_count(value, least):
            raise UserError(f"{name}={value!r} is no whole number from {least} on")
        return value

    def counts(self, name: str, default: list[int]) -> list[int]:
        """Return a list of whole numbers."""
        value = self._value(name, default)
        if not isinstance(value, list) or not value or not all(_is_count(item, 1) for item in value):
            raise UserError(f"{name}={value!r} is no list of whole numbers from 1 on")
        return value

    def depth(self, name: str, default: int, least: int = 1) -> int:
        """Return a number of blocks, of which the file can hold no more than tensors."""
        return self._check_depth(name, self.count(name, default, least))

    def depths(self, default: list[int]) -> list[int]:
        """Return the number of blocks of every stage."""
        depths = self.counts("depths", default)
        self._check_depth("depths", sum(depths))
        return depths

    def _check_depth(self, name: str, blocks: int) -> int:
        if blocks > self.tensors:
            raise UserError(f"{name} asks for more blocks than its file has weights ({self.tensors})")
        return blocks

    def real(self, name: str, default: float | None) -> float | None:
        """Return a finite number, or None where that is the default."""
        value = self._value(name, default)
        if not _is_real(value) and not value is default is None:
            raise UserError(f"{name}={value!r} is no finite number")
        return value

    def reals(self, name: str, default: list[float]) -> list[float]:
        """Return a list of finite numbers."""
        value = self._value(name, default)
        if not isinstance(value, list) or not all(_is_real(item) for item in value):
            raise UserError(f"{name}={value!r} is no list of finite numbers")
        return value

    def flag(self, name: str, default: bool) -> bool:
        """Return true or false."""
        value = self._value(name, default)
        if not isinstance(value, bool):
            raise UserError(f"{name}={value!r} is neither true nor false")
        return value

    def norm_eps(self) -> float:
        """Return the epsilon of `norm_layer`, PyTorch's own where it is not given."""
        value = self._value("norm_layer", "LayerNorm")
        match = LAYER_NORM.fullmatch(re.sub(r"\s", "", value)) if isinstance(value, str) else None
        try:
            return float(match[1] or match[2] or 1e-5)
        except (TypeError, ValueError):
            raise UserError(
                f"norm_layer={value!r} is unreadable; write 'LayerNorm' or 'LayerNorm(eps=1e-6)'"
            ) from None

    def only(self, **values: object) -> None:
        """Read arguments that there is no counterpart for, but for one value each."""
        for name, value in values.items():
            given = self._value(name, value)
            if given != value or isinstance(given, bool) != isinstance(value, bool):
                raise UserError(f"no counterpart here for {name}={given!r}")

    def without_effect(self, *names: str) -> None:
        """Read arguments that the official code accepts and ignores."""
        self.read.update(names)

    def check_all_read(self) -> None:
        """Refuse arguments that nobody read."""
        for name in self.given:
            if name not in self.read:
                raise UserError(f"no counterpart here for {name}={self.given[name]!r}")


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_real(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1e100  # False for NaN
