"""The command `vlmrl`: a file for each sub-command, with its flags beside the code that runs it. Run `vlmrl --help`.

Exit codes: 0 done; 2 the user's input is wrong, or the system refuses a file, in one line on standard error;
130 interrupted; 141 the reader of the output has left; 1 (with a traceback) a failure of the toolkit.

A sub-command is a module: its docstring is its help, the first line also in the list of commands; `add_arguments`
declares its flags, `run(options)` does the work. Heavy imports are made in `run`, so that `--help` is quick.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import json
import os
import sys
from collections.abc import Sequence

import vlmrl
from vlmrl import catalog
from vlmrl.cli.arguments import Parser, add_module, examples, split_settings
from vlmrl.errors import UserError
from vlmrl.rewards.redaction import redact

# Importing vlmrl.cli.list makes `list` a module in this namespace: the builtin is not used in this file.
COMMANDS = ("train", "score", "check", "data", "serve", "report", "bench", "list", "settings", "doctor")
"""The sub-commands, in the order of the help; each is a module of this folder."""
REFUSALS = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT),
    *(errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.ELOOP),
}
"""What the system says of a file that the user, not the toolkit, can correct."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    try:
        options = parse(sys.argv[1:] if argv is None else argv)
        catalog.add_verifiers(*options.verifiers_path)
        code = options.run(options) or 0
        sys.stdout.flush()
        return code
    except UserError as error:
        print(f"vlmrl: {redact(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _discard_output()
        return 141
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        line = UserError(f"{error.filename or 'the system refuses'}: {error.strerror or error}")
        print(f"vlmrl: {line}", file=sys.stderr)
        _discard_refused_output()
        return 2


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of a command line; `run` among them is the function to call, `overrides` the settings given as
    flags. `SystemExit` after one line on standard error if it is wrong."""
    own, overrides = split_settings(arguments)
    options, unknown = build_parser().parse_known_args(own)
    if overrides and not options.takes_settings:
        unknown = [*unknown, overrides[0]]
    if unknown:
        options.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    if options.takes_settings and options.verifiers_path:
        overrides += ["--reward.verifiers_path", json.dumps(options.verifiers_path, ensure_ascii=False)]
    options.overrides = overrides
    return options


def build_parser() -> Parser:
    """All commands and their arguments."""
    parser = Parser(prog="vlmrl", description=(vlmrl.__doc__ or "").partition("\n")[0])
    parser.add_argument("--version", action="version", version=f"vlmrl {vlmrl.__version__}")
    parser.set_defaults(takes_settings=False, verifiers_path=[])
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    modules = [importlib.import_module(f"vlmrl.cli.{name}") for name in COMMANDS]
    for name, module in zip(COMMANDS, modules, strict=True):
        add_module(commands, name, module)
    shown = [f"  {line}" for module in modules for line in examples(module)]
    parser.epilog = "\n".join(["examples:", *shown, "", "`vlmrl COMMAND --help` says more about one command."])
    return parser


def _discard_refused_output() -> None:
    """Drops what standard output does not take; otherwise the flush at exit would complain a second time."""
    try:
        sys.stdout.flush()
    except OSError:
        _discard_output()


def _discard_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
