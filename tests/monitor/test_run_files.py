"""Damaged files of a run folder: each is refused in one line that names the file and what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.command import complains, run

FIGURES = {"mean": 0.5, "low": 0.4, "high": 0.6, "n": 8}
SUMMARY = {
    **{"sources": {"s": {"before": FIGURES, "after": FIGURES}}, "all": {"before": FIGURES, "after": FIGURES}},
    **{"steps": 2, "seconds": {"rollout": 1.0}, "agreement": {}},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.toml").write_text('[run]\nname = "x"\nsteps = 2\n')
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2}\n')
    (tmp_path / "summary.json").write_text(json.dumps(SUMMARY))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("summary.json", "{", "summary.json: row: invalid JSON: EOF while parsing an object"),
        ("summary.json", "5", "summary.json: row: input should be an object"),
        ("summary.json", json.dumps(SUMMARY | {"seconds": {"eval": "long"}}), "seconds.eval: input should be a valid"),
        ("summary.json", json.dumps(SUMMARY | {"all": {"after": {"low": 0.1}}}), "all.after: has not all of mean, low"),
        ("metrics.jsonl", '{"step": 1}\n5\n', "metrics.jsonl:2: expected a step and its numbers, got 5"),
        ("metrics.jsonl", '{"step": NaN}\n', "metrics.jsonl:1: expected a step and its numbers"),
        ("metrics.jsonl", "[" * 100_000 + "\n", "metrics.jsonl:1: not valid JSON"),
        ("metrics.jsonl", '{"step": 1, "heldout/s/sampled/low": 0}\n', "held-out figures of 's' are incomplete"),
        ("config.toml", "[[[", "config.toml: not a run file ("),
        ("config.toml", "run = 5", "config.toml: not a run file ("),
        ("config.toml", b"\xff", "config.toml: not text ("),
    ],
)
def test_a_damaged_file_is_named(folder: Path, capsys, name: str, content: str | bytes, complaint: str) -> None:
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    complains(run(capsys, "report", folder), complaint)
    assert not (folder / "report.html").exists()


def write_heldout(folder: Path, **change: object) -> None:
    row = {"key": "k", "source": "s", "mode": "sampled", "prompt": "?", "response": "3", "score": 1.0, "answer": "3"}
    row |= {
        "reward": json.dumps([{"verifier": "counting", "target": 3}]),
        "image": b"<svg/>",
        "status": "ok",
        "why": "",
    }
    (folder / "heldout").mkdir()
    pq.write_table(pa.Table.from_pylist([row | change]), folder / "heldout" / "step_000002.parquet")


def test_a_picture_that_cannot_be_read_is_left_out(folder: Path, capsys) -> None:
    write_heldout(folder)
    assert run(capsys, "report", folder).code == 0
    assert "<svg/>" not in (folder / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("change", [{"reward": "{"}, {"reward": "[]"}, {"prompt": None}, {"score": "high"}])
def test_a_damaged_evaluation_is_named(folder: Path, capsys, change: dict[str, object]) -> None:
    write_heldout(folder, **change)
    complains(run(capsys, "report", folder), f"step_000002.parquet row 1: {next(iter(change))}", "; delete the file")
