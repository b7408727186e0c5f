"""Samples whose image or video cannot be read in the middle of a run: it stops, or goes on without them.

    reader = SampleReader(config.data.on_unreadable, formatter, folder)
    places, prompts = reader.encode(samples, step)      of the samples that can be read
    reader.metrics()                                    {"source/charts/unreadable": 2}

A sample that is left out is listed in `unreadable.jsonl`, counted by its source, and said once for each source. A step
is smaller by it. What a run draws does not depend on it, so that a resumed run equals an uninterrupted one.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from vlmrl.errors import UnreadableError, UserError, escaped
from vlmrl.files import json_line, lines_until, whole_file
from vlmrl.models.encoded_prompt import EncodedPrompt
from vlmrl.models.formatting import Formatter
from vlmrl.rollout.read_ahead import ReadAhead
from vlmrl.sample import Sample

MOST_IN_VAIN = 100
"""Batches in a row of which no sample can be read."""


class SampleReader:
    """Encodes the samples that can be read, as `data.on_unreadable` says."""

    def __init__(self, on_unreadable: Literal["stop", "skip"], formatter: Formatter, folder: Path) -> None:
        self.stops = on_unreadable == "stop"
        self.path = folder / "unreadable.jsonl"
        self._counts: Counter[str] = Counter()
        self._said: set[str] = set()
        self._in_vain = 0
        self._waited = 0.0
        self.ahead = ReadAhead(formatter)

    def encode(
        self, samples: Sequence[Sample], step: int, split: str = "train"
    ) -> tuple[list[int], list[EncodedPrompt]]:
        """The places and prompts of the samples that can be read; `UserError` if the run stops here."""
        started = time.perf_counter()
        results = self.ahead.take(samples)
        if split == "train":
            self._waited += time.perf_counter() - started
        for sample, result in zip(samples, results, strict=True):
            if isinstance(result, UnreadableError):
                self._leave_out(sample, result, step, split)
        prompts = {place: result for place, result in enumerate(results) if isinstance(result, EncodedPrompt)}
        self._in_vain = self._in_vain + 1 if samples and not prompts else 0
        if self._in_vain == MOST_IN_VAIN:
            raise UserError(f"no sample of the last {MOST_IN_VAIN} batches can be read; see {self.path}")
        return list(prompts), list(prompts.values())

    def _leave_out(self, sample: Sample, error: UnreadableError, step: int, split: str) -> None:
        if self.stops:
            raise UserError(
                f"{error.where}{error.file}: {error.why}; replace the file and go on with --resume --changed-data "
                "keep, or leave such samples out: --resume --data.on_unreadable skip"
            )
        about = {"step": step, "split": split, "id": sample.id, "source": sample.source}
        line = json_line(about | {"file": error.file, "why": error.why})
        if line not in self._lines():  # an evaluation that is repeated finds the same samples
            with self.path.open("ab") as file:
                file.write(line)
        where = ("source", "all") if split == "train" else ("heldout", "heldout/all")
        self._counts.update((f"{where[0]}/{sample.source}", where[1]))
        if sample.source not in self._said:
            self._said.add(sample.source)
            name = self.path.parent.name
            print(
                f"[{name}] source {sample.source!r}: left out, as all that cannot be read (unreadable.jsonl lists "
                f"them): {escaped(f'{error.where}{error.file}: {error.why}')}",
                file=sys.stderr,
                flush=True,
            )

    def metrics(self) -> dict[str, float]:
        """How many samples were left out since the last call, of each source and of all; nothing if none was."""
        counted = {f"{name}/unreadable": float(count) for name, count in sorted(self._counts.items())}
        self._counts.clear()
        return counted

    def waited(self) -> float:
        """Seconds that training has waited for prompts to be encoded since the last call."""
        waited, self._waited = self._waited, 0.0
        return waited

    def truncate(self, step: int) -> None:
        """Drops what was listed after a step that will be done again, and a half-written last line."""
        if self.path.exists():
            kept = lines_until(self.path, step)
            with whole_file(self.path) as partial:
                partial.write_bytes(kept)

    def _lines(self) -> list[bytes]:
        lines = self.path.read_bytes().splitlines(True) if self.path.exists() else []
        return [line for line in lines if line.endswith(b"\n")]
