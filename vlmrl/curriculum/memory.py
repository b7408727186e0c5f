"""Prompt memory: what a run knows of each prompt, in columns by its number in the data set.

    memory = PromptMemory(source_N, ("counting", "ocr"))
    memory.observe(groups)                        # after every round of rollouts
    memory.pass_rate(indices)                     # of the last visit, or else of the grade; NaN if neither is known
    memory.export("history.parquet")              # one row for each visited prompt, by the content key of its sample
    memory.load_grades(["history.parquet"], content_keys(dataset))

43 bytes a prompt. The pass rate of a group is its mean score, which for a verifier of right and wrong is the share
that is right; with `pass_score`, the share of the responses that reach it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vlmrl.errors import UnreadableError, UserError
from vlmrl.files import whole_file
from vlmrl.rollout.group import Group
from vlmrl.sample import Sample

NAN = float("nan")
CHUNK = 1_000_000
"""Prompts that are written or graded at one time."""
BATCH = 100_000
"""Rows of a history that are read at one time."""
GRADES = ("pass_rate", "spread", "length")
"""The columns of a history that serve another run."""


class PromptMemory:
    """Columns of length N, one entry for each prompt. `source_N` holds numbers of `source_names`."""

    def __init__(
        self, source_N: np.ndarray, source_names: Sequence[str] = ("",), pass_score: float | None = None
    ) -> None:
        def column(kind: type[np.generic], empty: float) -> np.ndarray:
            return np.full(len(source_N), empty, kind)

        self.source_N = source_N
        self.source_names = tuple(source_names)
        self.pass_score = pass_score
        self.visits_N = column(np.uint16, 0)
        self.flat_visits_N = column(np.uint8, 0)  # the latest visits in a row whose scores were all alike
        self.last_N = column(np.float16, NAN)  # pass rate of the last visit
        self.mean_N = column(np.float32, 0)  # of the visits' pass rates, and their summed squared deviations
        self.squares_N = column(np.float32, 0)
        self.reward_N = column(np.float16, NAN)  # mean score of the last visit
        self.spread_N = column(np.float16, NAN)  # std of the scores within the last visit
        self.length_N = column(np.float32, NAN)  # mean response tokens of the last visit
        self.version_N = column(np.int32, -1)
        self.graded_pass_rate_N = column(np.float16, NAN)
        self.graded_spread_N = column(np.float16, NAN)
        self.graded_length_N = column(np.float32, NAN)
        self.key_N = column(np.uint64, 0)

    def __len__(self) -> int:
        return len(self.source_N)

    # --- what is known ------------------------------------------------------------------------------------

    def pass_rate(self, indices: np.ndarray) -> np.ndarray:
        """Pass rate of the last visit, or else of the grade; NaN where neither is known. Float32."""
        return _first_known(self.last_N[indices], self.graded_pass_rate_N[indices])

    def spread(self, indices: np.ndarray) -> np.ndarray:
        """Standard deviation (biased) of the scores within the last visit, or else within the grade."""
        return _first_known(self.spread_N[indices], self.graded_spread_N[indices])

    def length(self, indices: np.ndarray) -> np.ndarray:
        """Mean response tokens of the last visit, or else of the grade."""
        return _first_known(self.length_N[indices], self.graded_length_N[indices])

    def std_over_visits(self, indices: np.ndarray) -> np.ndarray:
        """Standard deviation (biased) of a prompt's pass rate over its visits; NaN before the first."""
        with np.errstate(invalid="ignore"):
            return np.sqrt(self.squares_N[indices] / self.visits_N[indices].astype(np.float32))

    def flat_visits(self, indices: np.ndarray) -> np.ndarray:
        """The latest visits in a row without spread; before the first visit, a grade without spread is one."""
        graded_flat = (self.visits_N[indices] == 0) & (self.graded_spread_N[indices] == 0)
        return self.flat_visits_N[indices] + graded_flat

    def group_pass_rate(self, group: Group) -> float:
        """Pass rate of what the policy wrote in one group; NaN if nothing of it was scored."""
        scores = np.array(group.own_scores)
        passed = scores if self.pass_score is None else scores >= self.pass_score
        return float(passed.mean()) if len(scores) else NAN

    # --- what is learnt -----------------------------------------------------------------------------------

    def observe(self, groups: Iterable[Group]) -> None:
        """Takes in groups that were paid for; one without a score leaves no trace."""
        for group in groups:
            if not group.own_scores:
                continue
            i, passed = group.index, self.group_pass_rate(group)
            has_spread = len(set(group.scores)) > 1  # also of a group that a hook keeps out of the update
            visits = min(int(self.visits_N[i]) + 1, 2**16 - 1)
            away = passed - self.mean_N[i]
            self.mean_N[i] += away / visits
            self.squares_N[i] += away * (passed - self.mean_N[i])
            self.visits_N[i] = visits
            self.flat_visits_N[i] = 0 if has_spread else min(int(self.flat_visits_N[i]) + 1, 255)
            self.last_N[i] = passed
            self.reward_N[i] = np.mean(group.own_scores)
            # Equal scores need not sum to a mean that equals them.
            self.spread_N[i] = np.std(group.own_scores) if len(set(group.own_scores)) > 1 else 0.0
            self.length_N[i] = np.mean([len(rollout.token_ids) for rollout, _ in group.own])
            self.version_N[i] = max(rollout.version for rollout in group.rollouts)
            self.key_N[i] = _number(group.sample)

    def state_dict(self) -> dict[str, np.ndarray]:
        """The rows of prompts of which anything is known."""
        known = np.flatnonzero((self.visits_N > 0) | ~np.isnan(self.graded_pass_rate_N)).astype(np.int32)
        return {"index": known} | {name: column[known] for name, column in self._columns().items()}

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        for name, column in self._columns().items():
            column[state["index"]] = state[name]

    def carry_over(self, state: dict[str, np.ndarray], key_N: np.ndarray) -> int:
        """Takes the state of another data set for the visited prompts that both have; returns how many those are.

        `key_N` are the `content_keys` of this data set.
        """
        order = np.argsort(key_N, kind="stable")
        place, known = _find(key_N[order], state["key_N"])
        for name, column in self._columns().items():
            column[order[place]] = state[name][known]
        return int(known.sum())

    def _columns(self) -> dict[str, np.ndarray]:
        return {name: value for name, value in vars(self).items() if name.endswith("_N") and name != "source_N"}

    # --- files --------------------------------------------------------------------------------------------

    def export(self, path: str | Path, indices: np.ndarray | None = None) -> int:
        """Writes the visited prompts (among `indices`) to a parquet file; returns their number.

        `key` is the first half of the sample's content key; `pass_rate`, `reward`, `spread`, `length` and
        `version` are those of the last visit, `pass_rate_mean` and `pass_rate_std` go over all visits.
        """
        import pyarrow.parquet as pq

        visited = np.flatnonzero(self.visits_N > 0) if indices is None else indices[self.visits_N[indices] > 0]
        with (
            whole_file(path) as partial,
            pq.ParquetWriter(partial, history_schema(), write_page_checksum=True) as writer,
        ):
            for start in range(0, max(1, len(visited)), CHUNK):
                writer.write_table(self._table(visited[start : start + CHUNK]))
        return len(visited)

    def _table(self, indices: np.ndarray) -> Any:
        import pyarrow as pa

        names = np.array(self.source_names, dtype=object)
        columns = {
            "key": [f"{key:016x}" for key in self.key_N[indices].tolist()],
            "source": names[self.source_N[indices]],
            "visits": self.visits_N[indices],
            "pass_rate": self.last_N[indices],
            "pass_rate_mean": self.mean_N[indices],
            "pass_rate_std": self.std_over_visits(indices),
            "reward": self.reward_N[indices],
            "spread": self.spread_N[indices],
            "length": self.length_N[indices],
            "version": self.version_N[indices],
        }
        arrays = [pa.array(columns[field.name]).cast(field.type) for field in history_schema()]
        return pa.Table.from_arrays(arrays, schema=history_schema())

    def load_grades(self, paths: Sequence[str], key_N: np.ndarray) -> int:
        """Takes the grades of exported histories, averaged over the files; returns how many prompts have one.

        `key_N` are the `content_keys` of this data set. `UserError` for a file that knows none of its prompts.
        """
        keys = np.sort(key_N)  # a prompt that the data set has twice is known by the first of its places
        total = {name: np.zeros(len(self), np.float32) for name in GRADES}
        files = np.zeros(len(self), np.uint16)
        for path in paths:
            files += _add_history(path, keys, total)
        graded = 0
        for start in range(0, len(self), CHUNK):
            part = start + np.argsort(key_N[start : start + CHUNK])
            place = np.searchsorted(keys, key_N[part])
            graded += int(np.count_nonzero(files[place]))
            for name, sums in total.items():
                with np.errstate(invalid="ignore"):
                    getattr(self, f"graded_{name}_N")[part] = sums[place] / files[place]
        return graded


def content_keys(samples: Iterable[Sample]) -> np.ndarray:
    """The first 64 bits of each sample's content key; reads every sample with its media."""
    return np.fromiter(map(_number, samples), np.uint64)


def _number(sample: Sample) -> int:
    try:
        return int(sample.key[:16], 16)
    except UnreadableError:  # a run may leave it out; its id stands for a content that no other sample has
        return int(hashlib.sha256(f"unreadable {sample.id}".encode()).hexdigest()[:16], 16)


def _first_known(online: np.ndarray, graded: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(online), graded, online).astype(np.float32)


def history_schema() -> Any:
    """The columns of a history, as an Arrow schema."""
    import pyarrow as pa

    floats = ("pass_rate", "pass_rate_mean", "pass_rate_std", "reward", "spread", "length")
    fields = [("key", pa.string()), ("source", pa.string()), ("visits", pa.int32())]
    return pa.schema([*fields, *((name, pa.float32()) for name in floats), ("version", pa.int32())])


def _add_history(path: str, keys: np.ndarray, total: dict[str, np.ndarray]) -> np.ndarray:
    """Adds the grades of a file, rows of one key averaged, to those of the ascending `keys`; returns which it knows."""
    rows = np.zeros(len(keys), np.uint32)
    for wanted, _ in _read_history(path):
        np.add.at(rows, _find(keys, wanted)[0], np.uint32(1))
    if not rows.any():
        raise UserError(f"{path}: knows none of the prompts in data.train; grade that data set")
    for wanted, columns in _read_history(path, GRADES):
        place, known = _find(keys, wanted)
        for name, values in columns.items():
            np.add.at(total[name], place, (values[known] / rows[place]).astype(np.float32))
    return rows > 0


def _find(keys: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where in the ascending `keys` those of the wanted stand that are there, and which of the wanted these are."""
    place = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
    known = keys[place] == wanted
    return place[known], known


def _read_history(path: str, names: Sequence[str] = ()) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """A history's keys and its columns `names`, batch by batch: the whole of ten million rows would take gigabytes.

    Within a batch keys ascend: in that order the search is several times as fast.
    """
    import pyarrow.parquet as pq

    try:
        # With pre_buffer, all of a column would be fetched at once.
        with pq.ParquetFile(path, pre_buffer=False, page_checksum_verification=True) as file:
            rows = file.metadata.num_rows
            if missing := {"key", *GRADES} - set(file.schema_arrow.names):
                raise ValueError(f"it has no column {min(missing)!r}")
            for batch in file.iter_batches(BATCH, columns=["key", *names]):
                keys = np.fromiter((int(key, 16) for key in batch["key"].to_pylist()), np.uint64, batch.num_rows)
                order = np.argsort(keys)
                yield (
                    keys[order],
                    {name: batch[name].cast("float32").to_numpy(zero_copy_only=False)[order] for name in names},
                )
    except (OSError, ValueError, TypeError, OverflowError) as error:  # pyarrow's are ValueErrors
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: not a history of prompts ({reason}); write it with `vlmrl data grade`") from None
    if not rows:
        raise UserError(f"{path}: holds no prompts; write it with `vlmrl data grade`")
