"""ReadAhead: encodes prompts in threads, some before they are asked for, while the learner updates the policy.

    ahead = ReadAhead(formatter)
    ahead.begin(samples)                    those that will probably be asked for next
    results = ahead.take(samples)           the prompt of each, or why it cannot be read

Readers of media and the arithmetic of pixels run outside of Python's lock, so threads are enough, and no pixels are
copied between processes. A prompt is the same whoever encodes it and when: a wrong guess costs only time.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from vlmrl.errors import UnreadableError, UserError
from vlmrl.models.encoded_prompt import EncodedPrompt
from vlmrl.models.formatting import Formatter
from vlmrl.sample import MediaSet, Sample

Result = EncodedPrompt | UnreadableError

MOST_BYTES = 2**31
"""Bytes of pixels that are kept for later, about; what is beyond is read when it is asked for."""
MOST_THREADS = 8
TOGETHER = 8
"""Prompts that a thread encodes as one batch."""


class _Task(NamedTuple):
    sample: Sample
    batch: Future[Sequence[Result | None]]
    place: int


class ReadAhead:
    """Prompts on their way."""

    def __init__(self, formatter: Formatter) -> None:
        self.formatter = formatter
        self._pool = ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1), "read-ahead")
        self._begun: dict[str, _Task] = {}
        self._bytes = 0

    def begin(self, samples: Sequence[Sample]) -> None:
        """Starts to read those with media, and forgets what was begun before and not taken."""
        for task in self._begun.values():
            task.batch.cancel()
        self._bytes = 0
        tasks = self._start([sample for sample in samples if sample.media != MediaSet()], early=True)
        self._begun = {task.sample.id: task for task in tasks}

    def take(self, samples: Sequence[Sample]) -> list[Result]:
        """The prompt of each sample, or why it cannot be read; another error of `Formatter.encode` is raised."""
        begun = [self._taken(sample) for sample in samples]
        others = iter(self._start([s for s, task in zip(samples, begun, strict=True) if not task], early=False))
        tasks = [task or next(others) for task in begun]
        results = [task.batch.result()[task.place] for task in tasks]
        return [one or encode_each(self.formatter, [s])[0] for s, one in zip(samples, results, strict=True)]

    def close(self) -> None:
        """Waits for what is being read, and ends the threads."""
        self._pool.shutdown(cancel_futures=True)

    def _taken(self, sample: Sample) -> _Task | None:
        """What was begun for this sample, and not for another of the same id."""
        task = self._begun.pop(sample.id, None)
        return task if task and task.sample == sample else None

    def _start(self, samples: Sequence[Sample], early: bool) -> list[_Task]:
        batches = [samples[start : start + TOGETHER] for start in range(0, len(samples), TOGETHER)]
        started = [(batch, self._pool.submit(self._encode, batch, early)) for batch in batches]
        return [_Task(sample, future, place) for batch, future in started for place, sample in enumerate(batch)]

    def _encode(self, samples: Sequence[Sample], early: bool) -> Sequence[Result | None]:
        """The result of each; None for what is read later: enough is kept, or a sample is wrong that nobody wants."""
        if not early:
            return encode_each(self.formatter, samples)
        if self._bytes > MOST_BYTES:
            return [None] * len(samples)
        try:
            results = encode_each(self.formatter, samples)
        except UserError:
            return [None] * len(samples)
        prompts = [result for result in results if isinstance(result, EncodedPrompt)]
        self._bytes += sum(values.nbytes for prompt in prompts for values in prompt.features.values())
        return results


def encode_each(formatter: Formatter, samples: Sequence[Sample]) -> list[Result]:
    """The prompt of each sample, encoded as one batch, or why it cannot be read."""
    try:
        return list(formatter.encode(samples)) if samples else []
    except UnreadableError:
        errors = {place: error for place, sample in enumerate(samples) if (error := _error(formatter, sample))}
        readable = iter(encode_each(formatter, [s for place, s in enumerate(samples) if place not in errors]))
        return [errors[place] if place in errors else next(readable) for place in range(len(samples))]


def _error(formatter: Formatter, sample: Sample) -> UnreadableError | None:
    try:
        formatter.encode([sample])
    except UnreadableError as error:
        return error
    return None
