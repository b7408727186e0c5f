"""What the commands share: the parser with its one-line errors, the types of flags, settings given as flags."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

from vlmrl.errors import UserError

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction["Parser"]

Run = Callable[[argparse.Namespace], int | None]
"""What a command does with its options; None means exit code 0."""


class Parser(argparse.ArgumentParser):
    """argparse with one-line errors; options cannot be abbreviated."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def error(self, message: str) -> NoReturn:
        line = UserError(f"{' '.join(message.split())}; see `{self.prog} --help`")
        self.exit(2, f"vlmrl: {line}\n")


def add_command(commands: Commands, run: Run) -> Parser:
    """Adds a command that is a function, under its name; its docstring is the help, the first line also in the list."""
    return _add(commands, run.__name__, run, run)


def add_module(commands: Commands, name: str, module: ModuleType) -> None:
    """Adds a command that is a module; if it has commands of its own, it needs no `run`."""
    module.add_arguments(_add(commands, name, module, getattr(module, "run", None)))


def _add(commands: Commands, name: str, documented: ModuleType | Run, run: Run | None) -> Parser:
    doc = inspect.getdoc(documented) or ""
    parser = commands.add_parser(name, help=doc.partition("\n")[0], description=doc)
    parser.set_defaults(run=run, parser=parser)
    return parser


def examples(module: ModuleType) -> list[str]:
    """The lines of its docstring that show a command line, each with its comment."""
    return [line for line in (inspect.getdoc(module) or "").splitlines() if line.startswith("vlmrl ")]


# --- settings as flags ------------------------------------------------------------------------------------


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Lets a command take `--section.field VALUE`; `options.overrides` holds them."""
    # Listed for the help alone: split_settings takes these flags out before argparse sees them.
    parser.add_argument("--section.field", metavar="VALUE", help="any setting of a run file; see `vlmrl settings`")
    parser.set_defaults(takes_settings=True)


def add_run_file(parser: argparse.ArgumentParser, meaning: str) -> None:
    """The arguments of a command that reads a run file."""
    parser.add_argument("files", nargs="+", metavar="RUN.toml", help=meaning)
    add_settings(parser)
    add_verifiers_path(parser)


def split_settings(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Splits `--section.field VALUE` and `--section.field=VALUE` from all other arguments; the order is kept."""
    own: list[str] = []
    settings: list[str] = []
    rest = iter(arguments)
    for token in rest:
        name, equals, _ = token.partition("=")
        if not name.startswith("--") or "." not in name:
            own.append(token)
            continue
        settings.append(token)
        if not equals:
            value = next(rest, None)
            if value is None:
                raise UserError(f"{token}: has no value; write {token} VALUE")
            settings.append(value)
    return own, settings


# --- flags that several commands have ---------------------------------------------------------------------


def add_verifiers_path(parser: argparse.ArgumentParser) -> None:
    about = "your own verifiers: a folder of files, one file, or my_rewards.py:FUNCTION; may be repeated"
    parser.add_argument("--verifiers-path", action="append", default=[], metavar="PATH", help=about)


def add_isolation(parser: argparse.ArgumentParser) -> None:
    """The flags of a command that judges answers in worker processes."""
    add_verifiers_path(parser)
    parser.add_argument("--workers", type=count, metavar="N", help="processes that judge (default: all cores but one)")
    parser.add_argument("--deadline", type=seconds, default=5.0, metavar="S", help="for one response (default 5)")
    parser.add_argument("--memory-mb", type=count, default=1024, metavar="MB", help="for one response (default 1024)")


# --- types ------------------------------------------------------------------------------------------------


def count(text: str) -> int:
    """A positive whole number."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a positive whole number, got {text!r}")
    return int(text)


def seed(text: str) -> int:
    """A whole number from 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number from 0, got {text!r}")
    return int(text)


def seconds(text: str) -> float:
    """A finite number of seconds above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected seconds above 0, got {text!r}")
    return value
