"""Prompts that are encoded ahead are the same prompts, and a run with them is the same run."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import clips
from helpers.replay_run import write_replay_run
from helpers.samples import prompt_sample

from vlmrl import catalog
from vlmrl.cli import main
from vlmrl.errors import UnreadableError, UserError
from vlmrl.models.encoded_prompt import EncodedPrompt
from vlmrl.models.formatting import Formatter
from vlmrl.rollout import read_ahead
from vlmrl.rollout.read_ahead import ReadAhead
from vlmrl.sample import Media, Sample


@pytest.fixture(scope="module", params=["qwen2_5_vl", "qwen3_vl"])
def formatter(request: pytest.FixtureRequest, model_folder) -> Formatter:
    return Formatter.load(str(model_folder(request.param)))


@pytest.fixture
def ahead(formatter: Formatter):
    reader = ReadAhead(formatter)
    yield reader
    reader.close()


def equal(one: Any, two: Any) -> bool:
    assert isinstance(one, EncodedPrompt)
    assert one.features.keys() == two.features.keys()
    pairs = [(one.input_ids, two.input_ids), (one.positions, two.positions)]
    pairs += [(one.features[key], two.features[key]) for key in one.features]
    return one.sample_id == two.sample_id and all(torch.equal(a, b) for a, b in pairs)


@pytest.fixture(scope="module")
def many(mixed_samples: list[Sample]) -> list[Sample]:
    return [s.model_copy(update={"id": f"{s.id} {n}"}) for n in range(12) for s in mixed_samples]


@pytest.mark.parametrize("begun", ["all", "none", "others", "too many"])
def test_they_are_those_of_one_batch(ahead, formatter, many, monkeypatch, begun: str) -> None:
    monkeypatch.setattr(read_ahead, "MOST_BYTES", 10_000 if begun == "too many" else 2**31)
    expected = formatter.encode(many)
    other = [s.model_copy(update={"messages": many[2].messages, "media": many[2].media}) for s in many]
    for _ in range(3):
        if begun != "none":
            ahead.begin(other if begun == "others" else many)
        assert all(map(equal, ahead.take(many), expected))
    ahead.begin(many[:5])
    assert all(map(equal, ahead.take([*many, *many]), [*expected, *expected]))


def test_what_is_begun_is_read_before_it_is_asked_for(ahead, formatter, many, monkeypatch) -> None:
    ahead.begin(many)
    while not all(task.batch.done() for task in ahead._begun.values()):
        time.sleep(0.01)
    early = {s.id for s in many if s.media.images or s.media.videos}
    assert set(ahead._begun) == early
    asked: list[str] = []
    encode = formatter.encode
    monkeypatch.setattr(formatter, "encode", lambda samples: asked.extend(s.id for s in samples) or encode(samples))
    ahead.take(many)
    assert set(asked) == {s.id for s in many} - early


def test_a_sample_that_cannot_be_read_has_its_error_and_the_others_their_prompts(ahead, many) -> None:
    broken = prompt_sample("broken", "<video>?", videos=(Media(data=b"no video"),))
    wrong = prompt_sample("wrong", "<image><|image_pad|>?", many[0].media.images)
    some = [*many[:3], broken, *many[3:6]]
    ahead.begin([*some, wrong])
    results = ahead.take(some)
    assert isinstance(results[3], UnreadableError)
    assert str(results[3]).startswith("sample 'broken': media.videos.0: <8 bytes>: not a readable video (it is text)")
    assert [r.sample_id for r in results if isinstance(r, EncodedPrompt)] == [s.id for s in many[:6]]
    with pytest.raises(UserError, match="'wrong'"):
        ahead.take([wrong])


# --- runs -------------------------------------------------------------------------------------------------


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    """Six steps over 16 clips, of which one is damaged behind its header; the answers differ within a group."""
    rows, answers = [], {}
    for number in range(16):
        path = clips.write(tmp_path / f"{number}.mp4", frames=8, size=(56, 56))
        if number == 3:
            data = bytearray(path.read_bytes())
            data[60 : data.index(b"moov")] = bytes(data.index(b"moov") - 60)
            path.write_bytes(data)
        rows.append({
            "id": f"v{number}", "source": "clips", "messages": [{"role": "user", "content": "<video>how many?"}],
            "media": {"videos": [path.name]}, "reward": [{"verifier": "math", "target": str(number)}],
        })  # fmt: skip
        answers[f"v{number}"] = [str(number), "no"]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {"train": [str(tmp_path / "rows.jsonl")], "on_unreadable": "skip"}
    run = {"steps": 6, "checkpoint_every": 2}
    return write_replay_run(tmp_path, answers, run=run, data=data, rollout={"group": 2})


def recorded(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if not k.startswith("seconds")} for line in lines]


@pytest.mark.parametrize("sampler", sorted(set(catalog.names("samplers")) - {"ladder"}))  # which needs grades
def test_the_first_draw_of_a_step_is_read_during_the_step_before(run_file, monkeypatch, sampler: str) -> None:
    log: list[tuple[str, list[str]]] = []
    for name in ("begin", "take"):
        own = getattr(ReadAhead, name)

        def noted(self, samples, own=own, name=name):
            log.append((name, [s.id for s in samples]))
            return own(self, samples)

        monkeypatch.setattr(ReadAhead, name, noted)
    assert main(["train", str(run_file), "--sampler.name", sampler]) == 0
    begun = [n for n, (name, ids) in enumerate(log) if name == "begin" and ids]
    assert begun
    assert all(log[n + 1] == ("take", log[n][1]) for n in begun)


def test_a_run_is_the_same_without_it_and_when_it_is_resumed(run_file: Path, tmp_path: Path, monkeypatch) -> None:
    assert main(["train", str(run_file)]) == 0
    with_it = recorded(tmp_path / "runs" / "x")
    waits = [json.loads(line) for line in (tmp_path / "runs" / "x" / "metrics.jsonl").open()]
    assert all(line["seconds/media_wait"] >= 0 for line in waits if "all/reward" in line)
    assert any("source/clips/unreadable" in line for line in with_it)
    assert main(["train", str(run_file), "--run.name", "y", "--run.max_minutes", "1e-9"]) == 0
    assert len(recorded(tmp_path / "runs" / "y")) < len(with_it)
    assert main(["train", str(run_file), "--run.name", "y", "--resume", "--run.max_minutes", "9"]) == 0
    monkeypatch.setattr(ReadAhead, "begin", lambda self, samples: None)
    assert main(["train", str(run_file), "--run.name", "z"]) == 0
    for other in ("y", "z"):
        assert recorded(tmp_path / "runs" / other) == with_it
        listed = (tmp_path / "runs" / other / "unreadable.jsonl").read_bytes()
        assert listed == (tmp_path / "runs" / "x" / "unreadable.jsonl").read_bytes()
