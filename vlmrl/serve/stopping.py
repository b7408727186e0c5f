"""Stopping: uvicorn with a grace period whose end refuses what is in flight, so that nothing is cancelled midway.

What uvicorn cancels itself at the end of its own period prints a traceback for every request.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn

LAST_WORDS = 1.0
"""Seconds after the grace period in which refusals are sent; then the connections are cut."""


class GracefulServer(uvicorn.Server):
    """Stops when `should_exit` is set: at once where nothing is in flight, else after `grace` seconds at most.

    `refuse` ends the requests in flight, `join` waits for their threads. A second signal ends the grace period.
    """

    def __init__(
        self, config: uvicorn.Config, grace: float, refuse: Callable[[], None], join: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self.grace = grace
        self.refuse = refuse
        self.join = join
        self.loop: asyncio.AbstractEventLoop | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.loop:
            self.loop.call_soon_threadsafe(self._end)
        # For a second SIGINT, uvicorn itself would cancel everything.
        super().handle_exit(signal.SIGTERM, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.loop.call_later(self.grace, self._end)
        await super().shutdown(sockets)
        self.refuse()  # of clients that have left, the threads may still judge
        await asyncio.to_thread(self.join)

    def _end(self) -> None:
        self.refuse()
        asyncio.get_running_loop().call_later(LAST_WORDS, self._cut)

    def _cut(self) -> None:
        """For clients that do not read their reply, or send no end of their request."""
        for connection in list(self.server_state.connections):
            connection.transport.abort()  # pyright: ignore[reportAttributeAccessIssue, reportOptionalMemberAccess]
