"""Workers: verifiers in processes that can be killed, so that no answer hangs, crashes or starves a run.

    with Workers() as workers:
        verdicts = workers([Call("math", (Member(r"\\boxed{9^{9^{9^9}}}"),), "3", {})])

Every response has a deadline of its own. A process that passes it, dies or leaves its memory limit costs that
one response its verdict (`timeout`, `error`: unscored); a new process takes its place and the others go on.

Each process has a pipe and a thread of its own: a pool whose processes share a pipe and its lock, such as pebble's,
stands still for a minute when one of them is killed while it holds the lock.

What runs where is measured. Each verifier starts in the processes, to which calls travel in chunks of about 20 ms of
work. One of the toolkit's own rules that takes less than `CHEAP` a response judges responses of common length in this
process, for as long as it stays that fast. Our rules need bounded time for any answer, which
tests/rewards/audit/test_check.py proves with hostile ones; a verifier file that the user names may hang, and never runs
here. Soft verifiers wait for their servers in threads of their own. Verdicts come back in the order of the calls.
"""

from __future__ import annotations

import marshal
import math
import os
import queue
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

from vlmrl import catalog
from vlmrl.errors import UserError
from vlmrl.rewards.calls import Call, run_call
from vlmrl.rewards.soft_threads import SoftThreads
from vlmrl.rewards.worker_process import LostError, Worker
from vlmrl.verdict import Status, Verdict

CHUNK_SECONDS = 0.02
LARGEST_CHUNK = 512
CHEAP = 150e-6
"""Seconds of a response below which this process judges it itself: ten times what the way to another costs."""
STRETCH = 32
"""Calls that this process judges between two looks at the clock, which is slow itself."""
LONGEST_HERE = 20_000
"""Characters of a response, and bytes of its target and parameters, that this process judges itself."""
SOFT_DEADLINES = 24
"""The deadline of a soft verifier, in deadlines of the others: all tries of a server have to fit into it."""

ATTEMPTS = 5
"""Times a chunk is judged again because its process died before it began."""
_POLL = 0.02


class Workers:
    """A `CallRunner`. `deadline` in seconds and `memory_mb` above what a fresh process holds are per response.

    A soft verifier has `SOFT_DEADLINES` times as long, and no memory limit.
    Safe to call from several threads. Use as a context manager, or `close()`. `UserError` if a process cannot load a
    verifier file of the user, which may be gone since it was named.
    """

    def __init__(self, count: int | None = None, deadline: float = 5.0, memory_mb: int = 1024) -> None:
        self.count = count or max(1, (os.cpu_count() or 1) - 1)
        self.deadline = deadline
        self.memory_mb = memory_mb
        self.seconds: defaultdict[str, float] = defaultdict(lambda: 1e-3)
        """Seconds of a response, by verifier: a running mean of what was measured, after a first guess."""
        self.closed = False
        self.queue: queue.SimpleQueue[tuple[Future[Any], list[Any]] | None] = queue.SimpleQueue()
        self._seats = [_Seat(self) for _ in range(self.count)]
        self._soft = SoftThreads(SOFT_DEADLINES * deadline)

    def __call__(self, calls: Sequence[Call], dropped: threading.Event | None = None) -> list[list[Verdict]]:
        """The verdicts of each call, in order. Once `dropped` is set, what is not judged yet is unscored."""
        by_verifier: defaultdict[str, list[int]] = defaultdict(list)
        for i, call in enumerate(calls):
            by_verifier[call.verifier].append(i)
        soft = [i for name, own in by_verifier.items() if catalog.is_soft(name) for i in own]
        tasks = self._soft.submit([calls[i] for i in soft])
        verdicts: dict[int, list[Verdict]] = {}
        for name, own in by_verifier.items():
            if catalog.is_bounded(name):
                verdicts |= self._judge_here(name, calls, own)
        waiting = set(soft)
        isolated = [i for i in range(len(calls)) if i not in verdicts and i not in waiting]
        verdicts |= _Batch(self, calls, isolated, dropped).run()
        verdicts |= zip(soft, self._soft.collect(tasks, dropped), strict=True)
        return [verdicts[i] for i in range(len(calls))]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stops the processes, whatever they do; calls that another thread still waits for are unscored."""
        self.closed = True
        for _ in self._seats:
            self.queue.put(None)
        for seat in self._seats:
            seat.end()
        self._soft.close()

    def measure(self, verifier: str, seconds: float) -> None:
        """Adds the seconds of a response to the running mean of its verifier."""
        self.seconds[verifier] += 0.05 * (seconds - self.seconds[verifier])

    def _judge_here(self, verifier: str, calls: Sequence[Call], indices: Sequence[int]) -> dict[int, list[Verdict]]:
        """The verdicts of those calls of a verifier that this process judges itself."""
        verdicts: dict[int, list[Verdict]] = {}
        short = [i for i in indices if _is_short(calls[i])]
        for at in range(0, len(short), STRETCH):
            if self.seconds[verifier] >= CHEAP:
                break
            stretch = short[at : at + STRETCH]
            start = time.thread_time()
            verdicts |= {i: run_call(calls[i]) for i in stretch}
            self.measure(verifier, (time.thread_time() - start) / sum(max(1, len(calls[i].members)) for i in stretch))
        return verdicts

    def schedule(self, calls: Sequence[Call]) -> Future[Any]:
        """The verdicts and seconds of a chunk, or `LostError`."""
        future: Future[Any] = Future()
        plain = [(c.verifier, [tuple(m) for m in c.members], c.target, dict(c.params)) for c in calls]
        self.queue.put((future, plain))
        return future


def _is_short(call: Call) -> bool:
    """Whether it is so short that this process may judge it."""
    try:
        asked = marshal.dumps((call.target, dict(call.params)), 2)  # later versions keep what occurs twice once
    except ValueError:  # nested deeply, or no JSON
        return False
    return len(asked) <= LONGEST_HERE >= sum(len(member.response) for member in call.members)


# --- batches ----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Chunk:
    indices: list[int]
    attempts: int = 0


class _Batch:
    """One use of the workers: the verdicts of the calls at `indices`."""

    def __init__(
        self, workers: Workers, calls: Sequence[Call], indices: Sequence[int], dropped: threading.Event | None
    ) -> None:
        self.workers, self.calls, self.dropped = workers, calls, dropped
        self.verdicts: dict[int, list[Verdict]] = {}
        self.waiting = deque(self._chunks(indices))
        self.running: dict[Future[Any], _Chunk] = {}

    def run(self) -> dict[int, list[Verdict]]:
        while self.waiting or self.running:
            if self.workers.closed or (self.dropped and self.dropped.is_set()):
                for future, chunk in (*((None, chunk) for chunk in self.waiting), *self.running.items()):
                    if future:
                        future.cancel()  # of those that are judged now, the process is left to its deadline
                    self._give_up(chunk.indices, "error", "it was stopped before its verdict")
                break
            while self.waiting and len(self.running) < 2 * self.workers.count:
                chunk = self.waiting.popleft()
                self.running[self.workers.schedule([self.calls[i] for i in chunk.indices])] = chunk
            done, _ = wait(self.running, timeout=_POLL, return_when=FIRST_COMPLETED)
            for future in done:
                self._collect(future, self.running.pop(future))
        return self.verdicts

    def _chunks(self, indices: Sequence[int]) -> Iterator[_Chunk]:
        """Equal shares for the workers, cut where a chunk holds enough work."""
        largest = min(math.ceil(len(indices) / self.workers.count), LARGEST_CHUNK)
        chunk: list[int] = []
        work = 0.0
        for i in indices:
            chunk.append(i)
            work += self.workers.seconds[self.calls[i].verifier] * len(self.calls[i].members)
            if work >= CHUNK_SECONDS or len(chunk) >= largest:
                yield _Chunk(chunk)
                chunk, work = [], 0.0
        if chunk:
            yield _Chunk(chunk)

    def _collect(self, future: Future[Any], chunk: _Chunk) -> None:
        try:
            verdicts, seconds = future.result()
        except LostError as lost:
            if lost.place is not None:
                self._lose(chunk, lost.place, lost)
            elif chunk.attempts < ATTEMPTS:  # it died before it began: not the answers' fault
                self.waiting.appendleft(_Chunk(chunk.indices, chunk.attempts + 1))
            else:
                self._give_up(chunk.indices, "error", "no process lived long enough to judge it")
        except UserError:
            raise
        except Exception as error:  # what cannot be pickled, as it is nested too deeply
            if len(chunk.indices) > 1:
                self.waiting.extend(_Chunk([i]) for i in chunk.indices)
            else:
                self._give_up(chunk.indices, "error", f"cannot be handed to a process ({type(error).__name__})")
        else:
            self._fill(chunk.indices, verdicts, seconds)

    def _fill(self, indices: Sequence[int], verdicts: Sequence[Any], seconds: Sequence[float]) -> None:
        for i, fields, took in zip(indices, verdicts, seconds, strict=True):
            self.verdicts[i] = [Verdict(*one) for one in fields]
            self.workers.measure(self.calls[i].verifier, took / max(1, len(fields)))

    def _lose(self, chunk: _Chunk, place: int, lost: LostError) -> None:
        """Gives up the response at `place`; those of the chunk that have no verdict are judged again."""
        self._give_up([chunk.indices[place]], lost.status, str(lost))
        before, after = chunk.indices[:place], chunk.indices[place + 1 :]
        if lost.before is not None:
            # Fewer than all of them, if the process was slow at an earlier one.
            verdicts, seconds = lost.before
            self._fill(before[: len(verdicts)], verdicts, seconds)
            before = before[len(verdicts) :]
        for part in (after, before):
            if part:
                self.waiting.appendleft(_Chunk(part))

    def _give_up(self, indices: Sequence[int], status: Status, why: str) -> None:
        for i in indices:
            verdict = Verdict(None, status, why=f"{self.calls[i].verifier}: {why}")
            self.verdicts[i] = [verdict] * len(self.calls[i].members)


# --- processes ------------------------------------------------------------------------------------------


class _Seat:
    """A process, a standby that starts once it looks stuck, and the thread that feeds it and keeps its deadline."""

    def __init__(self, workers: Workers) -> None:
        self.workers = workers
        self.worker: Worker | None = None
        self.standby: Worker | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def end(self) -> None:
        """Stops the processes, whatever they do."""
        for worker in (self.worker, self.standby):
            if worker is not None:
                worker.process.kill()
        self.thread.join()

    def _run(self) -> None:
        with suppress(LostError):
            self.worker = self._start()  # while the caller does other things
        while (item := self.workers.queue.get()) and not self.workers.closed:
            future, calls = item
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(self._judge(calls))
            except LostError as lost:
                lost.before = self._replace()
                future.set_exception(lost)
            except Exception as error:
                future.set_exception(error)
        self._replace()
        self._replace()

    def _judge(self, calls: list[Any]) -> Any:
        self.worker = worker = self.worker or self._start()
        try:
            worker.begin(calls)
            while not worker.pipe.poll(min(_POLL, max(worker.left(), 0.001))):
                place, left = worker.place(), worker.left()
                if left <= 0 and worker.place() == place:
                    raise LostError(place, "timeout", f"no verdict after {worker.deadline:g} s")
                if left < worker.deadline / 2 and self.standby is None:
                    # What was judged before the response it is stuck at: so the standby is warm, and nothing is lost.
                    self.standby = self._start(calls[: place or 0])
            reply = worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join(1.0)
            code = worker.process.exitcode
            raise LostError(worker.place(), "error", f"its process died (exit code {code})") from None
        if self.standby is not None:
            self.standby.end()
            self.standby = None
        if isinstance(reply, UserError):
            self._replace()  # the next process may find the file again
            raise reply
        return reply

    def _start(self, calls: Sequence[Any] | None = None) -> Worker:
        """A process, at work on calls if there are any."""
        worker = Worker(self.workers.deadline, self.workers.memory_mb)
        if self.workers.closed:
            worker.end()
            raise LostError(None, "error", "the workers were closed")
        if calls is not None:
            with suppress(OSError):  # it died: `_replace` will notice
                worker.begin(calls)
        return worker

    def _replace(self) -> Any:
        """Ends the process and puts the standby in its place; returns what that made of the responses before.

        A standby that is not done ends as well: its reply would later pass for the reply to another chunk.
        """
        ended, self.worker, self.standby = self.worker, self.standby, None
        if ended is not None:
            ended.end()
        if self.worker is not None:
            with suppress(EOFError, OSError):
                if self.worker.pipe.poll() and not isinstance(reply := self.worker.pipe.recv(), UserError):
                    return reply
            self.worker.end()
            self.worker = None
        return None
