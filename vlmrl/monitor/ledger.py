"""The ledger: metrics by data source, reward part and modality, and all rollouts with their verdicts.

    ledger = Ledger(run_folder, total_steps=300)
    ledger.truncate(step)                                # only after a resume from the checkpoint of `step`
    ledger.record_eval(0, "before training", rows)
    ledger.record(step, groups, update, seconds)         # each step, from 1
    ledger.close()

The run folder then holds `metrics.jsonl` (one object for each step and each evaluation, keys
`source/<name>/<metric>`, `all/<metric>`, `modality/<name>/<metric>`, `heldout/<source>/<mode>/<metric>`),
`rollouts/step_*.parquet`, `heldout/step_*.parquet` and `tensorboard/`. Wall-clock times are only under `seconds/`: all
other values of two runs with one seed are equal. A metric without a value at a step (a source without prompts, the
length of wrong answers if there are none) has no key in that row.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from vlmrl.data.media import encode_png, load_image
from vlmrl.errors import UserError, nearest
from vlmrl.files import whole_file, with_checksum
from vlmrl.monitor.metrics import Metrics, by, figures, finite, step_metrics, verdict_metrics
from vlmrl.monitor.sinks import SINKS
from vlmrl.monitor.summary import Table, heldout_tables, metrics_line, read_metrics
from vlmrl.rewards.frames import drawn_image
from vlmrl.rollout.group import Group, UpdateReport
from vlmrl.sample import MARKS, Media
from vlmrl.verdict import Verdict

EvalRow = tuple[Group, Literal["sampled", "greedy"]]
"""A held-out group of one response, and how it was decoded."""

PICTURES_PER_SOURCE = 40
"""Number of held-out samples of each source that are stored with their image."""
_PICTURE_SIDE, _PNG_BYTES = 640, 60_000


class Ledger:
    """Records a run in `folder` while it happens.

    `rollouts_mb` (10^6 bytes) bounds `rollouts/`: the oldest steps are deleted, never the newest.
    `UserError` for an unknown sink, a sink that is not installed, and a disk that cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        *,
        sinks: Sequence[str] = ("jsonl", "tensorboard", "console"),
        total_steps: int,
        rollouts_mb: float = 512.0,
    ) -> None:
        for name in sinks:
            if name not in SINKS:
                raise UserError(f"unknown sink {name!r}{nearest(name, SINKS)}")
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._rollouts_bytes = rollouts_mb * 1e6
        self._sizes: dict[int, int] = {}
        self._deleted = 0
        self._sinks = [SINKS[name](self.folder, total_steps) for name in sinks]

    def record(
        self,
        step: int,
        groups: Sequence[Group],
        update: UpdateReport,
        seconds: Mapping[str, float],
        extra: Mapping[str, float] = {},
        trained: Sequence[Group] | None = None,
    ) -> dict[str, float]:
        """Writes the metrics and rollouts of a step; returns the metrics as `metrics.jsonl` has them.

        `groups` are all groups that the step generated, `trained` those of the update (default: the same). `seconds`
        are by phase (`rollout`, `reward`, `update`, `sync`). The keys of `extra` are written unchanged.
        """
        metrics = step_metrics(groups, trained) | {
            "all/loss": update.loss,
            "all/grad_norm": update.grad_norm,
            "all/learning_rate": update.learning_rate,
            "all/groups_updated": update.groups,
            "all/optimizer_steps": update.optimizer_steps,
            "all/skipped_steps": update.skipped_steps,
        }
        metrics |= self._write_rollouts(step, groups) | dict(extra) | _seconds(seconds, groups)
        return self._write(step, metrics)

    def record_eval(
        self,
        step: int,
        name: str,
        rows: Sequence[EvalRow],
        seconds: Mapping[str, float] = {},
        extra: Mapping[str, float] = {},
    ) -> Table:
        """Writes a held-out evaluation and its rows; the console shows `name`.

        Step 0 is before training. Keys under `heldout/<source>/<mode>/` are `mean`, `low`, `high` and `n` of the reward
        and the other `verdict_metrics`. `seconds`, such as `{"eval": 12.3}`, count in the summary's times. The keys of
        `extra` are written unchanged.
        """
        by_source_and_mode: dict[tuple[str, str], list[Verdict]] = defaultdict(list)
        for group, mode in rows:
            by_source_and_mode[group.sample.source, mode] += group.verdicts
            by_source_and_mode["all", mode] += group.verdicts
        metrics: Metrics = {}
        for (source, mode), verdicts in sorted(by_source_and_mode.items()):
            values = figures(v.score for v in verdicts) | verdict_metrics(verdicts)
            del values["reward"]
            metrics |= {f"heldout/{source}/{mode}/{key}": value for key, value in values.items()}
        if rows:
            _write_parquet(self.folder / "heldout" / _file_name(step), _eval_rows(step, rows))
        written = self._write(step, metrics | dict(extra) | _seconds(seconds, ()), label=name)
        return heldout_tables([written]).get(step, {})

    def truncate(self, step: int, finished: bool = False) -> None:
        """Deletes everything recorded after `step`, and a half-written last line.

        `finished`: `step` is the last step. Its evaluation is deleted too, because it will be recorded again.
        """
        rows = [row for row in read_metrics(self.folder) if row["step"] <= step]
        rows = [row for row in rows if not finished or row["step"] < step or "all/groups" in row]
        with whole_file(self.folder / "metrics.jsonl") as partial:
            partial.write_text("".join(map(metrics_line, rows)), encoding="utf-8")
        for file in (*self.folder.glob("rollouts/*"), *self.folder.glob("heldout/*")):
            match = re.fullmatch(r"(\.?)step_(\d+)\.parquet(\.partial)?", file.name)
            if match and (match[3] or int(match[2]) > step):
                file.unlink()
        self._sizes, self._deleted = {}, 0
        for row in rows:
            if "all/rollout_bytes" in row:
                self._delete_oldest(int(row["step"]), int(row["all/rollout_bytes"]))

    def close(self) -> None:
        """Stops the progress bar and closes the files."""
        for sink in self._sinks:
            sink.close()

    def _write_rollouts(self, step: int, groups: Sequence[Group]) -> Metrics:
        rows = [_rollout_row(step, group, number) for group in groups for number in range(len(group.rollouts))]
        if not rows:
            return {}
        size = _write_parquet(self.folder / "rollouts" / _file_name(step), rows)
        return {"all/rollout_bytes": size, "all/rollout_steps_deleted": self._delete_oldest(step, size)}

    def _delete_oldest(self, step: int, size: int) -> int:
        """Number of steps deleted so far. It depends only on recorded sizes, so a resumed run has the same count."""
        self._sizes[step] = size
        while sum(self._sizes.values()) > self._rollouts_bytes and len(self._sizes) > 1:
            oldest = min(self._sizes)
            del self._sizes[oldest]
            (self.folder / "rollouts" / _file_name(oldest)).unlink(missing_ok=True)
            self._deleted += 1
        return self._deleted

    def _write(self, step: int, metrics: Metrics, label: str = "") -> dict[str, float]:
        row = {"step": step, **finite(metrics)}
        for sink in self._sinks:
            sink.write(row, label)
        return row


def _seconds(seconds: Mapping[str, float], groups: Sequence[Group]) -> Metrics:
    """Seconds by phase, and the seconds of rollout + reward + update divided among the sources by tokens."""
    spent = sum(seconds.get(phase, 0.0) for phase in ("rollout", "reward", "update"))
    total = sum(group.tokens for group in groups)
    metrics: Metrics = {f"seconds/{phase}": value for phase, value in seconds.items()}
    for source, part in by(groups, lambda group: group.sample.source).items():
        metrics[f"seconds/source/{source}"] = spent * sum(group.tokens for group in part) / total
    return metrics


# --- rows of the parquet files ----------------------------------------------------------------------------


def _file_name(step: int) -> str:
    return f"step_{step:06d}.parquet"


def _rollout_row(step: int, group: Group, number: int) -> dict[str, Any]:
    """All that it takes to look at a response, and to judge it again as `vlmrl score` does."""
    sample, rollout, verdict = group.sample, group.rollouts[number], group.verdicts[number]
    stats = group.stats[number] if group.stats else None
    return {
        "step": step,
        "source": sample.source,
        "id": sample.id,
        "key": sample.key,
        "task": _utf8(sample.task),
        "messages": json.dumps([message.model_dump() for message in sample.prompt]),
        "media": json.dumps({kind: refs for kind in MARKS if (refs := _references(getattr(sample.media, kind)))}),
        "boxes": json.dumps([box.model_dump(exclude_none=True) for box in sample.boxes]),
        "meta": json.dumps(sample.meta),
        "reward": json.dumps([spec.model_dump() for spec in group.reward or sample.reward]),
        "prompt": _utf8(next(m.content for m in reversed(sample.prompt) if m.role == "user")),
        "response": _utf8(rollout.text),
        "tokens": len(rollout.token_ids),
        "finish": rollout.finish,
        "kind": rollout.kind,
        "forced_tokens": rollout.trained.count(False) if rollout.trained else 0,
        "score": verdict.score,
        "status": verdict.status,
        "parts": json.dumps(verdict.parts),
        "answer": None if verdict.answer is None else _utf8(verdict.answer),
        "why": _utf8(verdict.why),
        "version": rollout.version,
        "advantage": stats.advantage if stats else None,
    }


def _references(media: Sequence[Media]) -> list[str]:
    """The path of each medium; of one that is in memory the hash of its bytes."""
    return [m.path or f"sha256:{hashlib.sha256(m.data or b'').hexdigest()}" for m in media]


def _utf8(text: str) -> str:
    # A JSON answer may hold a lone surrogate ("\ud800"). Python reads it, but parquet cannot store it.
    return text.encode("utf-8", "replace").decode()


def _eval_rows(step: int, rows: Sequence[EvalRow]) -> list[dict[str, Any]]:
    pictures: dict[str, dict[str, bytes | None]] = defaultdict(dict)
    for group, _ in rows:
        sample, stored = group.sample, pictures[group.sample.source]
        if sample.key not in stored and len(stored) < PICTURES_PER_SOURCE:
            stored[sample.key] = _picture(group)
    return [
        _rollout_row(step, group, 0) | {"mode": mode, "image": pictures[group.sample.source].get(group.sample.key)}
        for group, mode in rows
    ]


def _picture(group: Group) -> bytes | None:
    """The image of the targets, else the first, at most 640 pixels a side: PNG, or JPEG where a PNG would be large."""
    images = group.sample.media.images
    if not images:
        return None
    image = load_image(images[drawn_image(group.reward or group.sample.reward)])
    image.thumbnail((_PICTURE_SIDE, _PICTURE_SIDE))
    png = encode_png(image)
    if len(png) <= _PNG_BYTES:
        return png
    jpeg = io.BytesIO()
    image.save(jpeg, format="JPEG", quality=85)
    return min(png, jpeg.getvalue(), key=len)


_INTEGERS = ("step", "tokens", "forced_tokens", "version")
_COLUMNS = {**dict.fromkeys(_INTEGERS, "int64"), "score": "float64", "advantage": "float64", "image": "binary"}


def _write_parquet(path: Path, rows: list[dict[str, Any]]) -> int:
    """Writes the file whole or not at all; returns its size in bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields = [(name, pa.type_for_alias(_COLUMNS.get(name, "string"))) for name in rows[0]]
    table = with_checksum(pa.Table.from_pylist(rows, pa.schema(fields)))
    with whole_file(path) as partial:
        pq.write_table(table, partial, compression="zstd", write_page_checksum=True)
    return path.stat().st_size
