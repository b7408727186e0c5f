"""Checks one verifier: contract, what known tricks earn, speed.

vlmrl check counting                                     a verifier of the toolkit
vlmrl check my_verifiers/direction.py                    your own file

The exit code is 0 if contract and probes hold, else 2.
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("verifier", metavar="VERIFIER|FILE.py", help="a name from `vlmrl list verifiers`, or a file")


def run(options: argparse.Namespace) -> int:
    from vlmrl.rewards.audit import check

    return 0 if check.run(options.verifier) else 2
