"""The lock of a folder: one process at a time works on a run, or grades into one file.

lock = RunLock(folder)      `UserError` if another process holds it
lock.release()

The system drops the lock of a process that ends in whatever way, so nobody has to judge whether a holder still lives.
The file names the holder. A process that releases the lock empties the file; a name in it tells of one that was killed.
"""

from __future__ import annotations

import fcntl
import os
import socket
import sys
from pathlib import Path

from vlmrl.errors import UserError

LOCK = ".lock"


class RunLock:
    """Held from its creation until `release`, or until the object is gone."""

    def __init__(self, folder: Path) -> None:
        path = folder / LOCK
        while True:
            self._file = path.open("a+", encoding="utf-8")
            self._take(folder)
            # Whoever held it before may have removed the file, and a third process may have made a new one.
            if path.exists() and os.path.samestat(path.stat(), os.fstat(self._file.fileno())):
                break
            self._file.close()
        self._file.seek(0)
        holder = self._file.read().strip()
        if holder:
            _say(folder, f"{holder:.200} was killed, or its machine stopped, while it held this: taken over from it")
        self._file.truncate(0)
        self._file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        self._file.flush()

    def _take(self, folder: Path) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            holder = self._file.read().strip() or "another process"
            self._file.close()
            raise UserError(
                f"{folder}: is in use by {holder:.200}; wait until that ends, or choose another folder"
            ) from None
        except OSError as error:
            reason = error.strerror or error
            _say(folder, f"this file system has no locks ({reason}): see to it that no other process uses the folder")

    def release(self) -> None:
        if not self._file.closed:
            self._file.truncate(0)
            self._file.close()


def _say(folder: Path, line: str) -> None:
    print(f"[{folder.name}] {' '.join(line.split())}", file=sys.stderr, flush=True)
