"""`vlmrl serve` in a process of its own, on a free port."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

VLMRL = (sys.executable, "-m", "vlmrl.cli", "serve")
TOKEN = "s3cret"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


class Service:
    """A running `vlmrl serve`."""

    def __init__(self, *options: Any, command: tuple[str, ...] = VLMRL, **environment: str) -> None:
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as the service
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.process = subprocess.Popen(
            [*command, "--port", "0", "--workers", "2", *map(str, options)],
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "VLMRL_SETUP": "skip", "PATH": path} | environment,
        )
        assert self.process.stdout
        line = next((line for line in self.process.stdout if line.startswith("vlmrl serve: http")), "")
        self.url = line.split()[2] if line else ""
        assert self.url, (self.process.wait(), self.stderr())

    def stderr(self) -> str:
        """What it has written to standard error."""
        self.errors.seek(0)
        return self.errors.read()

    def port(self) -> str:
        return self.url.rpartition(":")[2]

    def post(self, body: Any) -> httpx.Response:
        return httpx.post(f"{self.url}/judge", json=body, timeout=60, headers=HEADERS)

    def metrics(self) -> dict[str, float]:
        lines = httpx.get(f"{self.url}/metrics", headers=HEADERS).text.splitlines()
        return {name: float(value) for name, value in (x.rsplit(" ", 1) for x in lines if not x.startswith("#"))}

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def judges(self) -> list[psutil.Process]:
        """The worker processes, which are the children of the fork server."""
        return [p for child in psutil.Process(self.process.pid).children() for p in child.children()]

    def stop(self, how: int = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(60)


def gone(processes: list[psutil.Process]) -> bool:
    """Whether all have ended; a zombie has."""
    _, alive = psutil.wait_procs(processes, timeout=20)
    return not [p for p in alive if p.status() != psutil.STATUS_ZOMBIE]


@contextmanager
def serving(*options: Any, **settings: Any) -> Iterator[Service]:
    service = Service(*options, **settings)
    try:
        yield service
    finally:
        if service.process.poll() is None:
            service.stop()
