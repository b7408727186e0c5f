"""Files of many toolkits, with their true columns, convert, pass the check and train, and no medium is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.command import run
from helpers.converted import converted
from helpers.foreign_files import Foreign, write_files
from helpers.replay_run import write_replay_run

from vlmrl.cli import main
from vlmrl.data.convert import convert_file
from vlmrl.data.foreign.schemas import SCHEMAS
from vlmrl.data.sample_files import read_samples
from vlmrl.rewards.composite import gold_response
from vlmrl.sample import Sample

FILES = 29


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> list[Foreign]:
    return write_files(tmp_path_factory.mktemp("foreign"))


def out_of(folder: Path, file: Foreign) -> Path:
    return folder / f"{Path(file.path).name}.jsonl"


def media_of(sample: Sample) -> str:
    counts = {"i": len(sample.media.images), "v": len(sample.media.videos)}
    return "".join(f"{n}{kind}" for kind, n in counts.items() if n)


@pytest.mark.parametrize("number", range(FILES))
def test_a_file_converts_and_passes_the_check(foreign, tmp_path, capsys, number) -> None:
    file = foreign[number]
    out = out_of(tmp_path, file)
    done = run(capsys, "data", "convert", file.path, "--out", out, *file.flags)
    assert (done.code, done.err) == (0, "")
    assert f"schema    {file.schema} {len(file.media)}\n" in done.out
    samples = list(read_samples(out))
    assert [sample.reward[0].verifier for sample in samples] == file.verifiers
    assert [media_of(sample) for sample in samples] == file.media
    assert all(m.data or Path(m.path or "").is_file() for s in samples for m in (*s.media.images, *s.media.videos))
    done = run(capsys, "data", "check", out)
    assert (done.code, done.err) == (0, "")


def test_all_files_are_tried_and_all_schemas_recognised(foreign) -> None:
    assert len(foreign) == FILES
    assert {file.schema for file in foreign} == {*SCHEMAS, "mapped"}


def test_a_mixture_of_all_files_trains_a_step(foreign, tmp_path, capsys) -> None:
    samples = []
    for file in foreign:
        assert main(["data", "convert", file.path, "--out", str(out_of(tmp_path, file)), *file.flags]) == 0
        samples += read_samples(out_of(tmp_path, file))
    answers = {sample.id: [gold_response(sample), "no idea"] for sample in samples}
    assert len(answers) == len(samples)
    config = write_replay_run(
        tmp_path,
        answers,
        run={"steps": 1},
        model={"path": "tiny"},
        data={"train": [str(out_of(tmp_path, file)) for file in foreign]},
        rollout={"prompts": len(samples), "group": 2, "max_new_tokens": 120},
    )
    assert main(["train", str(config)]) == 0
    (line,) = (tmp_path / "runs" / "x" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line)["all/reward"] > 0.4


def test_the_schema_that_is_named_is_the_one_that_is_read(foreign) -> None:
    for file in foreign:
        if file.schema in SCHEMAS and not file.flags:
            recognised = [sample.model_dump(exclude={"media"}) for sample in convert_file(file.path)]
            named = [sample.model_dump(exclude={"media"}) for sample in convert_file(file.path, file.schema)]
            assert recognised == named


def test_columns_of_the_user_go_before_those_of_the_schema(tmp_path) -> None:
    row = {"problem": "2+3?", "solution": "2+3 = 5, so it is 5", "key": "5", "set": "sums", "nr": 0, "kind": "easy"}
    named = {"answer": "key", "source": "set", "id": "nr", "task": "kind"}
    for schema in ("auto", "trl"):
        given = row | {"prompt": "2+3?"}
        (sample,) = converted(tmp_path, given, schema=schema, mapping=named)
        assert (sample.id, sample.source, sample.task) == ("0", "sums", "easy")
        assert sample.reward[0].target == "5"
