"""Soft threads: calls of verifiers that wait for a server or hold a model, each with a deadline.

    threads = SoftThreads(seconds=120.0)
    tasks = threads.submit(calls)
    verdicts = threads.collect(tasks)                     of each call; unscored what took too long

A thread cannot be killed. One that passes its deadline is left behind, its call is unscored, and another thread takes
its place; it ends when its verifier returns. The threads are daemons: none keeps the process from ending.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence

from vlmrl.rewards.calls import Call, failure, run_call
from vlmrl.verdict import Status, Verdict

THREADS = 32
"""Calls at one time."""
LEFT_BEHIND = 8 * THREADS
"""Threads, at most, with those that were left behind; once all of them are, calls that still wait are given up."""
_POLL = 0.05


class Task:
    """One call, when it began, and its verdicts."""

    __slots__ = ("begun", "call", "verdicts")

    def __init__(self, call: Call) -> None:
        self.call = call
        self.begun: float | None = None
        self.verdicts: list[Verdict] | None = None


class SoftThreads:
    """Threads that judge calls in turn; `seconds` is the deadline of a call, from its begin. Safe for many callers."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.waiting: deque[Task] = deque()
        self.running = self.idle = self.left_behind = 0
        """Threads that take calls, those of them without one, and those that were left behind."""
        self.closed = False
        self.changed = threading.Condition()

    def submit(self, calls: Sequence[Call]) -> list[Task]:
        """Puts the calls in the queue."""
        tasks = [Task(call) for call in calls]
        with self.changed:
            self.waiting.extend(tasks)
            self._start_threads()
            self.changed.notify_all()
        return tasks

    def collect(self, tasks: Sequence[Task], dropped: threading.Event | None = None) -> list[list[Verdict]]:
        """Waits for the verdicts of each task, at most until `dropped` is set: nobody wants them then."""
        with self.changed:
            while pending := [task for task in tasks if task.verdicts is None]:
                if self.closed or (dropped and dropped.is_set()):
                    for task in pending:
                        self._give_up(task, "error", "it was stopped before its verdict")
                    break
                for task in pending:
                    if task.begun is not None and time.monotonic() - task.begun >= self.seconds:
                        self._give_up(task, "timeout", f"no verdict after {self.seconds:g} s")
                    elif task.begun is None and self.left_behind >= LEFT_BEHIND:
                        self._give_up(task, "error", f"{self.left_behind} calls hang; no more are begun")
                self.changed.wait(_POLL)
        return [task.verdicts or [] for task in tasks]

    def close(self) -> None:
        """Gives up what waits or runs."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()

    def _start_threads(self) -> None:
        free = min(THREADS, LEFT_BEHIND - self.left_behind) - self.running
        wanted = min(len(self.waiting) - self.idle, free)
        for _ in range(wanted):
            self.running += 1
            threading.Thread(target=self._work, daemon=True, name="soft verifier").start()

    def _give_up(self, task: Task, status: Status, why: str) -> None:
        task.verdicts = [Verdict(None, status, why=f"{task.call.verifier}: {why}")] * len(task.call.members)
        if task.begun is None:
            self.waiting.remove(task)
        else:
            self.running -= 1
            self.left_behind += 1
            self._start_threads()

    def _work(self) -> None:
        while task := self._next():
            try:
                verdicts = run_call(task.call)
            except BaseException as error:  # a verifier that would end its thread, as by SystemExit
                verdicts = [failure(task.call.verifier, RuntimeError(repr(error)))] * len(task.call.members)
            with self.changed:
                if task.verdicts is not None:
                    self.left_behind -= 1
                    return
                task.verdicts = verdicts
                self.changed.notify_all()

    def _next(self) -> Task | None:
        """The next call, begun; None at the end."""
        with self.changed:
            self.idle += 1
            self.changed.wait_for(lambda: self.waiting or self.closed)
            self.idle -= 1
            if self.closed:
                self.running -= 1
                return None
            task = self.waiting.popleft()
            task.begun = time.monotonic()
            return task
