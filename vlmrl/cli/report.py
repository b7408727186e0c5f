"""Writes a run's report, one self-contained HTML page.

vlmrl report runs/quickstart                             writes runs/quickstart/report.html

It shows curves by data source, scores before and after, and answers drawn into their images. A run that is not finished
has a report too.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_dir", metavar="RUN_DIR", type=Path, help="a run folder, as runs/quickstart")


def run(options: argparse.Namespace) -> None:
    from vlmrl.monitor import report

    print(report.write_report(options.run_dir))
