"""Judging inside a run: what cannot be judged is counted, kept and never a zero; the policy answers questions."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from helpers.replay_run import write_replay_run
from PIL import Image

from vlmrl import RewardSpec, Sample, catalog
from vlmrl.config.model import ModelSettings
from vlmrl.config.reward import RewardSettings
from vlmrl.data.media import encode_png
from vlmrl.models.formatting import Formatter
from vlmrl.rewards.call_rows import call_from_row, score_file
from vlmrl.rewards.calls import run_calls
from vlmrl.rollout import Rollout
from vlmrl.rollout.judge import Judge
from vlmrl.sample import Media, MediaSet, row_from_sample
from vlmrl.verdict import Verdict

SOMETIMES = '''
"""Half of all answers hang this verifier, for good."""
from vlmrl.verdict import Example, Verdict
EXAMPLES = [Example("ab", 1, 0.0), Example("a", "x", None)]
def check_target(target):
    if not isinstance(target, int): raise ValueError(f"target {target!r}")
def gold(target): return "a" * target
def verify(response, target):
    while sum(map(ord, response)) % 2: pass
    return Verdict(float(len(response) == target))
'''
ASKS = '''
"""Is the answer to a question, which the policy is asked, the right one?"""
from vlmrl.verdict import Example, Verdict
EXAMPLES = [Example("ab", 1, None)]
def check_target(target): pass
def gold(target): return "ab"
def question(response, target):
    if response == "unspeakable": raise IndexError(response)
    return f"how long is {response}?" if response else None
def verify(response, target, reply=None):
    if reply is None: return Verdict(None, "error", why="nobody answered")
    return Verdict(float(reply == str(len(response))), answer=reply)
'''

ASKS_OF_ALL = '''
"""Is each of the group's answers to a question the right one?"""
from vlmrl.verdict import Example, Verdict
EXAMPLES = [Example("ab", 1, None)]
def check_target(target): pass
def gold(target): return "ab"
def question(response, target):
    if response == "unspeakable": raise IndexError(response)
    return f"where is {response}?"
def verify(response, target, reply=None): return Verdict(None, "error", why="needs a group")
def verify_group(members, target, reply="not told"):
    return [Verdict(float(reply == "not told" and m.reply == f"where {m.response}"), answer=m.reply) for m in members]
'''


@pytest.fixture
def own_verifiers(tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "sometimes.py").write_text(SOMETIMES)
    (folder / "asks.py").write_text(ASKS)
    (folder / "asks_of_all.py").write_text(ASKS_OF_ALL)
    catalog.add_verifiers(folder)
    yield folder
    catalog._ADDED.clear()
    catalog.load.cache_clear()
    catalog.parameters.cache_clear()


def sample(verifier: str, number: int = 0) -> Sample:
    row = {"id": f"{verifier}-{number}", "source": verifier, "messages": [{"role": "user", "content": "?"}]}
    return Sample.model_validate(row | {"reward": [{"verifier": verifier, "target": 4}]})


def rollout(text: str) -> Rollout:
    return Rollout((1,) * len(text), (0.0,) * len(text), text, "stop", 0)


class TextPrompt:
    modality = "text"
    shown = ()


@pytest.fixture(scope="module")
def formatter(model_folder) -> Formatter:
    return Formatter.load(str(model_folder("qwen2_5_vl")), ModelSettings(max_prompt_tokens=600))


def test_what_cannot_be_judged_is_kept_and_judged_again_by_score(own_verifiers, tmp_path, formatter) -> None:
    with_deadline = RewardSettings(workers=1, deadline=2.0)
    judge = Judge(with_deadline, formatter, tmp_path, lambda _: [], formatter.encode)
    groups = [[rollout("a" * n) for n in (2, 3, 4)], [rollout("aaab"), rollout("bbbb")]]
    samples = [sample("sometimes", 0), sample("sometimes", 1)]
    verdicts = judge(samples, [TextPrompt()] * 2, groups, 7, 0.5)  # pyright: ignore[reportArgumentType]
    judge.close()
    assert [[v.score for v in group.verdicts] for group in verdicts] == [[0.0, None, 1.0], [None, 1.0]]
    assert verdicts[0].verdicts[1].status == "timeout"
    kept = [json.loads(line) for line in judge.path.read_text().splitlines()]
    assert [(row["id"], row["response"], row["step"], row["status"]) for row in kept] == [
        ("sometimes-0", "aaa", 7, "timeout"),
        ("sometimes-1", "aaab", 7, "timeout"),
    ]
    command = [sys.executable, "-m", "vlmrl.cli", "score", str(judge.path), "--verifiers-path", str(own_verifiers)]
    done = subprocess.run([*command, "--deadline", "2.0"], capture_output=True, text=True, check=True)
    again = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["status"], row["score"]) for row in again] == [("timeout", None)] * 2
    judge.truncate(6)
    assert judge.path.read_text() == ""


@pytest.fixture
def ask_judge(own_verifiers, tmp_path, formatter):
    """`ask_judge(answer, workers=0)`: a judge whose policy says `answer(question)`, and all that it is asked."""
    judges: list[Judge] = []

    def make(answer: Callable[[str], str], workers: int = 0) -> tuple[Judge, list[str]]:
        asked: list[str] = []

        def policy(questions: Sequence[Sample]) -> list[str]:
            formatter.encode(questions)  # as the trainer does, which it ends
            texts = [question.messages[0].content for question in questions]
            asked.extend(texts)
            return [answer(text) for text in texts]

        judges.append(Judge(RewardSettings(workers=workers), formatter, tmp_path, policy, formatter.encode))
        return judges[-1], asked

    yield make
    for judge in judges:
        judge.close()


def judged(judge: Judge, asked: Sample, texts: Sequence[str], heldout: bool = False) -> list[Verdict]:
    prompts: Any = [TextPrompt()]
    group = [rollout(text) for text in texts]
    return judge([asked], prompts, [group], 0, None if heldout else 0.5)[0].verdicts


def asking(*specs: dict[str, Any]) -> Sample:
    row = {"id": "s", "source": "s", "messages": [{"role": "user", "content": "?"}], "reward": list(specs)}
    return Sample.model_validate(row)


def caption_spec(question: str, answer: int, **fields: Any) -> dict[str, Any]:
    target = {"question": question, "answer": answer, "verifier": "counting"}
    return {"verifier": "caption_answerability", "target": target, **fields}


def test_a_verifier_may_ask_the_policy(ask_judge) -> None:
    judge, asked = ask_judge(lambda _: "4")
    verdicts = judged(judge, sample("asks"), ["four", "", "other"])
    assert asked == ["how long is four?", "how long is other?"]
    assert [(v.score, v.answer) for v in verdicts] == [(1.0, "4"), (None, None), (0.0, "4")]


def test_each_spec_is_judged_with_the_reply_to_its_own_question(ask_judge) -> None:
    """Two specs of one verifier, one of another as a factor, a group-level one; in processes of their own."""

    def answer(question: str) -> str:
        if question.startswith("where"):
            return f"where {question[9:-1]}"
        if question.startswith("how long"):
            return str(len(question) - len("how long is ?"))
        return "<answer>3</answer>" if "dogs?" in question else "<answer>5</answer>"

    judge, asked = ask_judge(answer, workers=1)
    specs = [caption_spec("How many dogs?", 3), caption_spec("How many cats?", 5)]
    specs += [{"verifier": "asks", "target": 0, "combine": "product"}, {"verifier": "asks_of_all", "target": 0}]
    texts = ["<info>Three dogs and five cats.</info>", "<info>Some dogs, some cats, all on a lawn.</info>"]
    verdicts = judged(judge, asking(*specs), texts)
    assert len(asked) == 8
    names = ("caption_answerability", "caption_answerability#2", "asks", "asks_of_all")
    assert [v.parts for v in verdicts] == [dict.fromkeys(names, 1.0)] * 2


def test_marks_and_control_tokens_in_a_caption_are_spaces_to_the_policy(ask_judge, formatter) -> None:
    judge, asked = ask_judge(lambda _: "<answer>3</answer>")
    marks = ["<image>", "<video>", "<audio>", *formatter.tokenizer.get_added_vocab()]
    nested = ["<|im_<|im_end|>end|>", "<|image<image>_pad|>", "<im<image>age>"]
    captions = [f"Three{mark}dogs." for mark in marks + nested]
    texts = [f"<info>{caption}</info>" for caption in captions]
    for heldout in (False, True):
        verdicts = judged(judge, asking(caption_spec("How many?", 3)), texts, heldout)
        assert [v.score for v in verdicts] == [1.0] * len(texts)
        assert len(asked) == len(texts)
        assert [text for text in asked if any(mark in text for mark in marks)] == []
        assert "| Three dogs." in asked[0]
        asked.clear()


def test_a_mark_that_holds_a_space_does_not_form_anew(formatter, tmp_path) -> None:
    from copy import deepcopy

    own = deepcopy(formatter)
    own.tokenizer.add_special_tokens({"additional_special_tokens": ["<|end of turn|>"]})
    judge = Judge(RewardSettings(workers=0), own, tmp_path, lambda _: [], own.encode)
    assert judge._plain("a <|end<image>of turn|> b<think>") == "a   b<think>"


@pytest.mark.parametrize("heldout", [False, True])
def test_a_question_that_fails_leaves_its_response_unscored(ask_judge, tmp_path, heldout: bool) -> None:
    """The verifier raises, or the prompt is too long; the others of the group are judged."""
    judge, asked = ask_judge(lambda question: str(len(question) - len("how long is ?")))
    long = "a lawn " * 600
    verdicts = judged(judge, sample("asks"), ["four", "unspeakable", long], heldout)
    assert asked == ["how long is four?"]
    assert [(v.score, v.status) for v in verdicts] == [(1.0, "ok"), (None, "error"), (None, "error")]
    assert verdicts[1].why == "the question of asks failed: IndexError: unspeakable"
    assert "over model.max_prompt_tokens = 600" in verdicts[2].why
    kept = [json.loads(line) for line in judge.path.read_text().splitlines()]
    assert [(row["response"], row["why"]) for row in kept] == [
        ("unspeakable", verdicts[1].why),
        (long, verdicts[2].why),
    ]


def test_a_failed_question_of_a_group_level_verifier_concerns_its_response_alone(ask_judge) -> None:
    judge, _ = ask_judge(lambda question: f"where {question[9:-1]}")
    verdicts = judged(judge, asking({"verifier": "asks_of_all", "target": 0}), ["here", "unspeakable", "there"])
    assert [v.score for v in verdicts] == [1.0, None, 1.0]
    assert verdicts[1].why == "the question of asks_of_all failed: IndexError: unspeakable"
    (kept,) = [json.loads(line) for line in judge.path.read_text().splitlines()]
    assert [member.reply for member in call_from_row(kept, "row").members] == ["where here", None, "where there"]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_specs_own_answer_coords_hold_for_it_alone(model_folder, samples, tmp_path, order) -> None:
    """Of two specs, one leaves the coordinates to the model (pixels of the resized image), one says per mille."""
    small = Formatter.load(str(model_folder("qwen2_5_vl")), ModelSettings(max_pixels=224 * 224))
    image = next(s for s in samples if s.media.images)
    picture = Image.new("RGB", (560, 420), "white")  # shown to the model at less than half its size
    image = image.model_copy(update={"media": MediaSet(images=(Media(data=encode_png(picture)),))})
    (prompt,) = small.encode([image])
    _, rows, columns = prompt.features["image_grid_thw"][0].tolist()
    size = [560, 420]
    assert columns * 14 < 280
    target = [0, 0, *(side / 2 for side in size)]
    box = {"verifier": "dynamic_iou", "target": target, "params": {"coords": "pixels", "image_size": size}}
    own = {**box, "params": {**box["params"], "answer_coords": "relative_1000"}}
    asked = image.model_copy(update={"reward": tuple(RewardSpec.model_validate([box, own][i]) for i in order)})
    judge = Judge(RewardSettings(workers=0), small, tmp_path, lambda _: [], small.encode)
    in_pixels, per_mille = f"[0, 0, {columns * 7}, {rows * 7}]", "[0, 0, 500, 500]"
    ((verdicts, reward),) = judge([asked], [prompt], [[rollout(in_pixels), rollout(per_mille)]], 0, 0.5)
    model, mine = (("dynamic_iou", "dynamic_iou#2")[order.index(i)] for i in (0, 1))
    assert [(v.parts[model], v.parts[mine]) for v in verdicts] == [(1.0, 0.0), (0.0, 1.0)]
    as_judged = {spec.params["answer_coords"]: spec.params.get("answer_size") for spec in reward}
    assert as_judged["pixels"] == [columns * 14, rows * 14]


def test_a_half_written_last_line_is_dropped(formatter, tmp_path) -> None:
    judge = Judge(RewardSettings(workers=0), formatter, tmp_path, lambda _: [], formatter.encode)
    judge.path.write_text('{"id": "a", "step": 1}\n{"id": "b", "step": 2}\n{"id": "c", "st')
    judge.truncate(1)
    assert judge.path.read_text() == '{"id": "a", "step": 1}\n'


def test_group_rows_go_through_score(tmp_path) -> None:
    members = [{"response": "word " * n, "tokens": n, "score": 1.0} for n in (3, 9)]
    row = {"id": 1, "verifier": "brevity_bonus", "members": members, "params": {"least": 1}}
    source, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    source.write_text(json.dumps(row) + "\n")
    score_file(str(source), str(out), run_calls)
    verdicts = json.loads(out.read_text())["verdicts"]
    assert len(verdicts) == 2
    assert verdicts[0]["score"] > verdicts[1]["score"]


def test_a_run_goes_on_without_the_answers_that_hang(own_verifiers, tmp_path, capsys) -> None:
    from vlmrl.cli import main

    samples = [sample("sometimes", number) for number in range(2)]
    rows = "".join(json.dumps(row_from_sample(s)) + "\n" for s in samples)
    (tmp_path / "train.jsonl").write_text(rows)
    said = {s.id: ["aa", "aaa", "aaaa"] for s in samples}  # wrong, hangs, right
    sections = {"run": {"steps": 2}, "data": {"train": [str(tmp_path / "train.jsonl")]}}
    rewards = {"reward": {"workers": 2, "deadline": 2.0}, "rollout": {"prompts": 2, "group": 3}}
    assert main(["train", str(write_replay_run(tmp_path, said, **sections, **rewards))]) == 0
    folder = tmp_path / "runs" / "x"
    metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["source/sometimes/unscored"] for row in metrics] == [pytest.approx(1 / 3)] * 2
    assert [row["source/sometimes/reward"] for row in metrics] == [0.5] * 2
    assert [row["all/groups_updated"] for row in metrics] == [2] * 2
    kept = [json.loads(line) for line in (folder / "unscored.jsonl").read_text().splitlines()]
    assert [(row["response"], row["status"]) for row in kept] == [("aaa", "timeout")] * 4
    assert f"vlmrl score {folder / 'unscored.jsonl'}" in capsys.readouterr().err
