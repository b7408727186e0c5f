"""Composite rewards, their golds, schedules and `vlmrl score`."""

import io
import json
import math
import sys
from collections.abc import Sequence

import pytest

from vlmrl import RewardSpec, Sample, UserError
from vlmrl.rewards.call_rows import score_file
from vlmrl.rewards.calls import Call, run_call, run_calls
from vlmrl.rewards.composite import Answered, caution, check_spec, gold_response, score, score_groups
from vlmrl.verdict import Member, Verdict

BOXES = [{"bbox_2d": [10, 10, 50, 50], "label": "cat"}]


def make(*specs: dict, answer: str | None = None) -> Sample:
    messages = [{"role": "user", "content": "?"}]
    if answer is not None:
        messages.append({"role": "assistant", "content": answer})
    return Sample.model_validate({"id": "a", "source": "s", "messages": messages, "reward": list(specs)})


def test_composite_is_the_normalised_weighted_mean() -> None:
    sample = make(
        {"verifier": "counting", "target": 3}, {"verifier": "format", "target": "think_answer", "weight": 0.1}
    )
    right = score(sample, "<think>1, 2, 3</think><answer>3</answer>")
    assert right.score == 1.0
    assert right.answer == "3"
    unformatted = score(sample, "3")
    assert unformatted.score == pytest.approx(1 / 1.1)
    assert unformatted.parts["counting"] == 1.0
    assert unformatted.parts["format"] == 0.0
    wrong = score(sample, "<think></think><answer>4</answer>")
    assert wrong.score == pytest.approx(0.1 / 1.1)
    assert wrong.parts["format/think"] == 1.0


def test_two_specs_of_one_verifier_keep_their_parts_apart() -> None:
    sample = make({"verifier": "counting", "target": 3}, {"verifier": "counting", "target": 4})
    verdict = score(sample, "3")
    assert verdict.score == 0.5
    assert verdict.parts == {"counting": 1.0, "counting#2": 0.0}


def test_an_unscored_spec_leaves_the_whole_unscored() -> None:
    sample = make({"verifier": "counting", "target": 3}, {"verifier": "counting", "target": "many"})
    verdict = score(sample, "3")
    assert verdict.score is None
    assert verdict.status == "bad_target"
    assert verdict.why


def test_a_verifier_that_raises_is_an_error_not_a_zero() -> None:
    verdict = run_call(Call("dynamic_iou", (Member(json.dumps(BOXES)),), BOXES, {"threshold": "high"}))[0]
    assert verdict.score is None
    assert verdict.status == "error"
    assert "TypeError" in verdict.why
    assert "\n" not in verdict.why


def test_overrides_reach_only_the_parameters_that_exist() -> None:
    sample = make({"verifier": "dynamic_iou", "target": BOXES}, {"verifier": "counting", "target": 3})
    response = json.dumps([{"bbox_2d": [10, 10, 50, 48], "label": "cat"}])
    overrides = {"dynamic_iou": {"threshold": 0.99, "no_such": 1}, "counting": {"threshold": 0.99}}
    strict = score(sample, response, overrides)
    assert strict.parts["dynamic_iou"] == 0.0
    assert score(sample, response).parts["dynamic_iou"] > 0.9
    assert strict.status == "ok"


def test_a_reply_goes_to_the_spec_and_the_member_it_was_given_for() -> None:
    """A verdict in place of a reply is the verdict; nobody is asked, and it is told to `on_unscored`."""
    target = {"question": "How many?", "answer": 3, "verifier": "counting"}
    specs = [{"verifier": "caption_answerability", "target": target}] * 2
    members = [Member("<info>Dogs.</info>"), Member("<info>Cats.</info>")]
    unheard = Verdict(None, "error", why="nobody there")
    replies = {(0, 0): "3", (1, 0): "4", (0, 1): "3", (1, 1): unheard}
    calls: list[Call] = []
    unscored: list[tuple[str, Verdict]] = []

    def run(asked: Sequence[Call]) -> list[list[Verdict]]:
        calls.extend(asked)
        return run_calls(asked)

    answered = Answered(make(*specs), members, replies=replies)
    ((first, second),) = score_groups([answered], run, lambda call, v: unscored.append((call.members[0].response, v)))
    assert [call.params for call in calls] == [{"reply": "3"}, {"reply": "3"}, {"reply": "4"}]
    assert first.parts == {"caption_answerability": 1.0, "caption_answerability#2": 0.0}
    assert (second.score, second.why) == (None, "nobody there")
    assert unscored == [("<info>Cats.</info>", unheard)]


@pytest.mark.parametrize(
    "specs",
    [
        [{"verifier": "counting", "target": 3}],
        [
            {"verifier": "dynamic_iou", "target": BOXES},
            {"verifier": "format", "target": "answer", "weight": 9},
        ],
        [{"verifier": "ocr", "target": "STOP"}, {"verifier": "format", "target": "boxed", "weight": 0.1}],
        [{"verifier": "format", "target": "think_answer"}],
    ],
)
def test_gold_earns_exactly_one(specs) -> None:
    sample = make(*specs)
    assert score(sample, gold_response(sample)).score == 1.0


def test_a_demonstration_is_the_gold() -> None:
    assert gold_response(make({"verifier": "counting", "target": 3}, answer="three")) == "three"


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ({"verifier": "countin", "target": 3}, "did you mean 'counting'"),
        ({"verifier": "counting", "target": 3, "params": {"tolerence": 1}}, "did you mean 'tolerance'"),
        ({"verifier": "counting", "target": "many"}, "'many'"),
        *(
            ({"verifier": verifier, "target": target, "params": {name: value}}, f"params.{name}: expected {kind}")
            for verifier, target, name, value, kind in (
                *(("counting", 3, "tolerance", odd, "a finite number, got ") for odd in ("1e999", None, True, [1])),
                *(("math", "3", "tolerance", odd, "a finite number, got ") for odd in (math.inf, math.nan, 10**400)),
                ("repetition", None, "n", 2.5, "a whole number, got 2.5"),
                ("math", "[1]", "ordered", "no", "true or false, got 'no'"),
                ("ocr", "a", "case", 1, "text, got 1"),
                ("temporal_iou", [0, 1], "duration", "long", "a finite number or null, got 'long'"),
            )
        ),
        (
            {"verifier": "dynamic_iou", "target": [[0, 0, 99, 9]], "params": {"image_size": [50, 50]}},
            "outside the image",
        ),
    ],
)
def test_check_spec_names_what_is_wrong(spec, complaint) -> None:
    with pytest.raises(UserError, match=complaint):
        check_spec(RewardSpec.model_validate(spec))


def test_score_file_adds_the_verdict_to_each_row(tmp_path) -> None:
    rows = [
        {"id": 1, "verifier": "counting", "response": "so 3", "target": 3, "note": "kept"},
        {"id": 2, "verifier": "counting", "response": "4", "target": 3, "params": {"tolerance": 0.5}},
        {"id": 3, "verifier": "counting", "response": "3", "target": "many"},
        {"id": 4, "verifier": "ocr", "response": "\ud800 é", "target": "é"},
    ]
    source, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert score_file(str(source), str(out), run_calls) == 4
    scored = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["id"] for row in scored] == [1, 2, 3, 4]
    assert [row["score"] for row in scored[:3]] == [1.0, 1.0, None]
    assert scored[0]["note"] == "kept"
    assert scored[2]["status"] == "bad_target"
    assert scored[3]["response"] == "\ud800 é"
    assert set(scored[0]) == {*rows[0], "score", "status", "answer", "parts", "why"}


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ('{"id": 1, "verifier": "counting", "response": "3"}', "rows.jsonl:2: target: missing"),
        ('{"id": 1, "verifier": "countng", "response": "3", "target": 3}', "did you mean 'counting'"),
        ('{"id": 1, "verifier": "counting", "response": 3, "target": 3}', "response: expected text, got 3"),
        (
            '{"id": 1, "verifier": "counting", "response": null, "target": 3}',
            "response: expected text, got null",
        ),
        (
            '{"id": 1, "verifier": "counting", "response": "3", "target": 3, "params": [1]}',
            "params: expected an",
        ),
        (
            '{"id": 1, "verifier": "counting", "response": "3", "target": 3, "params": {"x": 1}}',
            "params.x: unknown",
        ),
        (
            '{"id": 1, "verifier": "counting", "response": "7", "target": 3, "params": {"tolerance": "1e999"}}',
            "params.tolerance: expected a finite number, got '1e999'",
        ),
        ('{"id": 1, "verifier"', "rows.jsonl:2: not valid JSON"),
        ('{"id": ' + "9" * 5000 + "}", "rows.jsonl:2: not valid JSON"),
        ("[" * 100_000, "rows.jsonl:2: not valid JSON"),
        ("[1]", "rows.jsonl:2: expected an object, got [1]"),
    ],
)
def test_a_bad_row_is_named_and_out_stays_as_it_was(tmp_path, row, complaint) -> None:
    source, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    good = {"id": 0, "verifier": "counting", "response": "3", "target": 3}
    source.write_text(json.dumps(good) + "\n" + row + "\n")
    out.write_text("old")
    with pytest.raises(UserError) as caught:
        score_file(str(source), str(out), run_calls)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)
    assert out.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "rows.jsonl"]


def test_score_reads_standard_input(tmp_path, monkeypatch) -> None:
    line = json.dumps({"id": 1, "verifier": "counting", "response": "3", "target": 3}) + "\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(line.encode())))
    out = tmp_path / "out.jsonl"
    assert score_file("-", str(out), run_calls) == 1
    assert json.loads(out.read_text())["score"] == 1.0


def test_a_threshold_that_pays_the_whole_image_is_said() -> None:
    def spec(**params: object) -> RewardSpec:
        return RewardSpec(verifier="dynamic_iou", target=[[1, 2, 3, 4]], params=params)  # pyright: ignore

    assert "pays an answer of the whole image" in caution(spec(metric="share", threshold=0.01))
    assert caution(spec(metric="iou", threshold=0)) == caution(spec()) == ""
    assert caution(RewardSpec(verifier="counting", target=3)) == ""
