"""Read the arguments of an official constructor.

The function that maps them to the arguments of our model must read every argument: it uses the argument,
checks that it has the only supported value, or declares it to be without effect. Defaults are those of the
official classes.
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
"""Accepted spellings of the official `norm_layer` in a manifest, without white space."""


class Arguments:
    """The arguments of an official constructor.

    Args:
        lookup: Returns the manifest's value under some keys; under 'constructor', a dict of the arguments.
        tensors: Number of recorded tensors of the model.

    Raises:
        UserError: If the arguments are not a dict.
    """

    def __init__(self, lookup: Callable[..., object], tensors: int) -> None:
        given = lookup("constructor")
        if not isinstance(given, dict):
            raise UserError(f"'constructor' is {given!r}; it must be a dict of arguments")
        self.given: dict[str, object] = given
        self.lookup = lookup
        self.tensors = tensors
        self.read: set[str] = set()

    def _value(self, name: str, default: object) -> object:
        self.read.add(name)
        return self.given.get(name, default)

    def count(self, name: str, default: int, least: int = 1) -> int:
        """Return an integer argument."""
        value = self._value(name, default)
        if not _is_count(value, least):
            raise UserError(f"{name}={value!r} must be an integer of at least {least}")
        return value

    def counts(self, name: str, default: list[int]) -> list[int]:
        """Return a list of integers."""
        value = self._value(name, default)
        if not isinstance(value, list) or not value or not all(_is_count(item, 1) for item in value):
            raise UserError(f"{name}={value!r} must be a list of positive integers")
        return value

    def depth(self, name: str, default: int, least: int = 1) -> int:
        """Return a number of blocks, which is at most the number of recorded tensors."""
        return self._check_depth(name, self.count(name, default, least))

    def depths(self, default: list[int]) -> list[int]:
        """Return the number of blocks of every stage."""
        depths = self.counts("depths", default)
        self._check_depth("depths", sum(depths))
        return depths

    def _check_depth(self, name: str, blocks: int) -> int:
        if blocks > self.tensors:
            raise UserError(f"{name} is a larger number of blocks than the file has tensors ({self.tensors})")
        return blocks

    def real(self, name: str, default: float | None) -> float | None:
        """Return a finite number, or None if this is the default."""
        value = self._value(name, default)
        if not _is_real(value) and not value is default is None:
            raise UserError(f"{name}={value!r} must be a finite number")
        return value

    def reals(self, name: str, default: list[float]) -> list[float]:
        """Return a list of finite numbers."""
        value = self._value(name, default)
        if not isinstance(value, list) or not all(_is_real(item) for item in value):
            raise UserError(f"{name}={value!r} must be a list of finite numbers")
        return value

    def flag(self, name: str, default: bool) -> bool:
        """Return a Boolean."""
        value = self._value(name, default)
        if not isinstance(value, bool):
            raise UserError(f"{name}={value!r} must be true or false")
        return value

    def norm_eps(self) -> float:
        """Return the epsilon of `norm_layer`, or PyTorch's default if it is not given."""
        value = self._value("norm_layer", "LayerNorm")
        match = LAYER_NORM.fullmatch(re.sub(r"\s", "", value)) if isinstance(value, str) else None
        try:
            return float(match[1] or match[2] or 1e-5)
        except (TypeError, ValueError):
            raise UserError(
                f"norm_layer={value!r} is not supported; write 'LayerNorm' or 'LayerNorm(eps=1e-6)'"
            ) from None

    def only(self, **values: object) -> None:
        """Read arguments for which only one value is supported."""
        for name, value in values.items():
            given = self._value(name, value)
            if given != value or isinstance(given, bool) != isinstance(value, bool):
                raise UserError(f"{name}={given!r} is not supported")

    def without_effect(self, *names: str) -> None:
        """Mark arguments as read that the official code ignores."""
        self.read.update(names)

    def check_all_read(self) -> None:
        """Raise an error for the first argument that was not read."""
        for name in self.given:
            if name not in self.read:
                raise UserError(f"{name}={self.given[name]!r} is not supported")


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_real(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1e100  # False for NaN
