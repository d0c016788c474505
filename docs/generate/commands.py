"""The page of all options, from the parsers of the commands."""

import argparse
from collections.abc import Iterator

from mixmae_bench.cli import make_parser

HEAD = """# Options of every command

Written from the command line's own parsers, as `mixmae-bench COMMAND --help` prints them. What the
commands do together is described in [Commands](commands.md).
"""
WIDTH = 96
"""Characters per line of a usage."""


def page() -> str:
    """Return a section per command: usage, and a definition list of arguments and options."""
    return HEAD + "".join(_section(parser, about, 2) for parser, about in _commands(make_parser()))


def _commands(parser: argparse.ArgumentParser) -> Iterator[tuple[argparse.ArgumentParser, str]]:
    for action in parser._actions:  # argparse has no public list of commands
        if isinstance(action, argparse._SubParsersAction):
            abouts = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, command in action.choices.items():
                yield command, abouts.get(name, "")


def _section(parser: argparse.ArgumentParser, about: str, level: int) -> str:
    parser.formatter_class = lambda prog: argparse.HelpFormatter(prog, width=WIDTH)
    usage = parser.format_usage().replace(f"\n{' ' * len('usage: ')}", "\n").removeprefix("usage: ").strip()
    text = f"\n{'#' * level} {parser.prog}\n\n{_sentence(about)}\n\n```text\n{usage}\n```\n"
    for action in parser._actions:
        hidden = isinstance(action, argparse._HelpAction | argparse._SubParsersAction)
        if not hidden and action.help != argparse.SUPPRESS:
            text += f"\n{_names(action, parser)}\n:   {_meaning(action, parser)}\n"
    return text + "".join(_section(command, own, level + 1) for command, own in _commands(parser))


def _names(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    """Return an argument, or an option with its value, as code."""
    formatter = parser._get_formatter()
    if not action.option_strings:
        return f"`{formatter._format_args(action, formatter._get_default_metavar_for_positional(action))}`"
    value = ""
    if action.nargs != 0:
        value = " " + formatter._format_args(action, formatter._get_default_metavar_for_optional(action))
    return ", ".join(f"`{name}{value}`" for name in action.option_strings)


def _meaning(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    text = _sentence(parser._get_formatter()._expand_help(action) if action.help else "")
    if action.choices and action.metavar:  # else they are the name of the value
        text += f" One of {', '.join(f'`{choice}`' for choice in action.choices)}."
    return text.strip()


def _sentence(text: str) -> str:
    """Return a text of a help as a sentence, escaped for Markdown outside of its code."""
    parts = text.strip().split("`")
    for i in range(0, len(parts), 2):
        for character in "\\*_<>[]#":
            parts[i] = parts[i].replace(character, f"\\{character}")
    text = "`".join(parts)
    return text and f"{text[0].upper()}{text[1:]}" + ("" if text.endswith((".", ":")) else ".")
