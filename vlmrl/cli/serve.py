"""Judges answers over HTTP.

vlmrl serve --port 8765                                  for this machine alone
vlmrl serve --host 0.0.0.0 --workers 16                  for others too; needs VLMRL_SERVICE_TOKEN

docs/service.md describes the requests. SIGTERM and Ctrl-C stop it once the requests in flight are answered.
"""

from __future__ import annotations

import argparse
import os

from vlmrl.cli.arguments import add_isolation, count


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--host", default="127.0.0.1", help="any other than the default needs VLMRL_SERVICE_TOKEN (default 127.0.0.1)"
    )
    parser.add_argument("--port", type=port, default=8765, help="0 takes a free one (default 8765)")
    add_isolation(parser)
    parser.add_argument("--body-mb", type=count, default=16, metavar="MB", help="limit of one request (default 16)")
    parser.add_argument("--rows", type=count, default=1024, metavar="N", help="limit of one request (default 1024)")
    parser.add_argument(
        "--rows-in-flight", type=count, default=8192, metavar="N", help="limit of all requests (default 8192)"
    )
    parser.add_argument(
        "--grace", type=count, default=60, metavar="S", help="time for requests to finish when stopped (default 60)"
    )


def port(text: str) -> int:
    """A port number; 0 stands for a free one."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"expected a port from 0 to 65535, got {text!r}")
    return int(text)


def run(options: argparse.Namespace) -> None:
    from vlmrl.serve.service import TOKEN, Limits, serve

    limits = Limits(options.body_mb, options.rows, options.rows_in_flight, options.grace)
    token = os.environ.get(TOKEN)
    serve(options.host, options.port, token, options.workers, options.deadline, options.memory_mb, limits)
