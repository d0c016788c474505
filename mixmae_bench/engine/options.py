"""Parse `--cfg-options KEY=VALUE`: mmengine's notation, extended by dicts."""

import argparse
from collections.abc import Sequence

from mmengine.config import DictAction

from mixmae_bench.errors import UserError

BRACKETS = {"[": "]", "(": ")", "{": "}"}


class Options(DictAction):
    """Collects KEY=VALUE arguments into a dict like mmengine's DictAction, but with `parse_option`."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Sequence[str],
        option_string: str | None = None,
    ) -> None:
        options = dict(getattr(namespace, self.dest, None) or {})
        options.update(parse_option(option) for option in values)
        setattr(namespace, self.dest, options)


def parse_option(option: str) -> tuple[str, object]:
    """Read KEY=VALUE.

    A value is a number, true, false, None or a word; a list `a,b` or `[a,b]`; a tuple `(a,b)`; a dict
    `{key:a,key:b}`, `{'key': a}` or `dict(key=a)`; these may be nested. A quoted value is a string and may
    contain commas and spaces. Quotes around a whole list, tuple or dict are dropped, as in mmengine's
    DictAction (which does not read dicts).

    Raises:
        UserError: If it is not KEY=VALUE, or brackets and quotes do not match.
    """
    key, equals, text = option.partition("=")
    if not equals or not all(part.strip() for part in key.split(".")):
        raise UserError(
            f"--cfg-options takes KEY=VALUE, such as optim_wrapper.optimizer.lr=1e-3, not '{option}'"
        )
    text = text.strip()
    if text[:1] in ("'", '"') and text[-1] == text[0] and text[1:2] in BRACKETS:
        text = text[1:-1]
    try:
        return key.strip(), _Reader(text).whole()
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        value = " ".join(text.split())[:200]
        raise UserError(f"--cfg-options {key}: the value {value} cannot be read: {reason}") from error


class _Reader:
    """Parser of a value."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def whole(self) -> object:
        values = self._items("")
        return values if len(values) > 1 or self.text.endswith(",") else values[0] if values else ""

    def _items(self, end: str) -> list:
        """Read comma-separated values up to the bracket `end`, or to the end of the text if it is ''."""
        items = []
        while not self._skip(end):
            items.append(self._value(end))
            self._comma(end)
        return items

    def _pairs(self, end: str, between: str) -> dict:
        """Read keys and values up to the bracket `end`; `between` separates a key from its value."""
        pairs = {}
        while not self._skip(end):
            key = self._word(end + between + ",")
            if not self._skip(between):
                raise ValueError(f"'{between}' is missing after the key {key!r}")
            pairs[key] = self._value(end)
            self._comma(end)
        return pairs

    def _value(self, end: str) -> object:
        if self._skip("dict("):
            return self._pairs(")", "=")
        if self._skip("{"):
            return self._pairs("}", ":")
        if self._skip("["):
            return self._items("]")
        if self._skip("("):
            return tuple(self._items(")"))
        return self._word(end + ",")

    def _word(self, ends: str) -> object:
        """Read a quoted string, or a word up to the first of `ends` that is not inside brackets."""
        self._spaces()
        quote = self.text[self.at : self.at + 1]
        if quote in ("'", '"'):
            stop = self.text.find(quote, self.at + 1)
            if stop < 0:
                raise ValueError(f"a {quote} is not closed")
            word, self.at = self.text[self.at + 1 : stop], stop + 1
            return word
        start, open_brackets = self.at, []
        while self.at < len(self.text) and (open_brackets or self.text[self.at] not in ends):
            char = self.text[self.at]
            if char in BRACKETS:
                open_brackets.append(BRACKETS[char])
            elif char in BRACKETS.values() and (not open_brackets or open_brackets.pop() != char):
                raise ValueError(f"a '{char}' has no opening bracket")
            self.at += 1
        if open_brackets:
            raise ValueError(f"a '{open_brackets[-1]}' is missing")
        return DictAction._parse_int_float_bool(self.text[start : self.at].strip())

    def _spaces(self) -> None:
        while self.text[self.at : self.at + 1].isspace():
            self.at += 1

    def _skip(self, expected: str) -> bool:
        """Skip spaces and `expected` ('' is the end of the text); return whether it was found."""
        self._spaces()
        found = self.text.startswith(expected, self.at) if expected else self.at == len(self.text)
        if found:
            self.at += len(expected)
        elif self.at == len(self.text) and expected in BRACKETS.values():
            raise ValueError(f"a '{expected}' is missing")
        return found

    def _comma(self, end: str) -> None:
        """Skip a comma; if `end` follows instead, leave it."""
        here = self.at
        if self._skip(","):
            return
        if not self._skip(end):
            raise ValueError(f"a comma is missing before {self.text[self.at :][:20]!r}")
        self.at = here
