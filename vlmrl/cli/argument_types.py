"""Values of command-line arguments: each function reads one from text, or says in one line what was expected."""

from __future__ import annotations

import argparse


def add_verifiers_path(parser: argparse.ArgumentParser) -> None:
    """The option of every command that judges."""
    about = "your own verifiers: a folder of files, one file, or my_rewards.py:FUNCTION; may be repeated"
    parser.add_argument("--verifiers-path", action="append", default=[], metavar="PATH", help=about)


def bounds(text: str) -> tuple[str, tuple[float, float]]:
    source, _, values = text.rpartition("=")
    try:
        low, high = map(float, values.split(":"))
    except ValueError:
        low, high = 1.0, 0.0
    if not (source and 0 <= low <= high <= 1):
        raise argparse.ArgumentTypeError(f"expected SOURCE=LOW:HIGH within 0 and 1, got {text!r}")
    return source, (low, high)


def weight(text: str) -> tuple[str, float]:
    source, _, value = text.rpartition("=")
    try:
        weight = float(value)
    except ValueError:
        weight = 0.0
    if not (source and 0 < weight < float("inf")):
        raise argparse.ArgumentTypeError(f"expected SOURCE=WEIGHT with a weight above 0, got {text!r}")
    return source, weight


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected seconds above 0, got {text!r}")
    return value


def image(text: str) -> tuple[int, int] | None:
    if text == "none":
        return None
    width, by, height = text.partition("x")
    if not (width.isdecimal() and (height.isdecimal() if by else True)):
        raise argparse.ArgumentTypeError(f"expected pixels as 448 or 640x480, or none, got {text!r}")
    return count(width), count(height or width)


def seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number from 0, got {text!r}")
    return int(text)


def count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a positive whole number, got {text!r}")
    return int(text)
