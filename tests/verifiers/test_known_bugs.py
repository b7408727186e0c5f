"""Bugs of the released reward codes, each with the answers it misjudges: ours judge them right.

A case is named after the system and the bug. The systems: V-Triune (MiniMax-AI/One-RL-to-See-Them-All at 39bcf0d),
ViCrit (si0wang/ViCrit at 727f1ee), GLM (`glmv_reward` of zai-org/GLM-V at 8fc9756), Temporal-R1
(appletea233/Temporal-R1 at f364f6c).

Known bugs that no verifier can have, because they concern other code:
- V-Triune: "correct" means a reward of exactly 1.0, reflection words are found as substrings, NaN means (metrics);
  CPU-bound work inside the event loop and a third of all requests in the log (server); a division by zero
  `total_steps` (a schedule belongs to the run); only the first image's size is read, patches of 14 pixels (the
  trainer's formatter gives `answer_size`); a debugger call in the data set; documentation that swaps two names.
- ViCrit: skipped images shift answers against samples, an unused prompt (evaluation script); wrong links.
- GLM: a single prompt as text breaks `get_reward` (batching); the judge is not shown the image (ours says so).
- Temporal-R1: durations guessed from sampled frames, a hard-coded problem type, undefined names while data are
  loaded or printed (data); results keyed by a string and read back with `eval` (evaluation script).
"""

import copy
import json
from typing import Any

import pytest

from vlmrl import catalog
from vlmrl.errors import UserError
from vlmrl.rewards.calls import Call, check_params, run_call
from vlmrl.rewards.schedules import schedule_value
from vlmrl.verdict import Member, Verdict


def verify(name: str, response: str, target: Any, **params: Any) -> Verdict:
    return catalog.load("verifiers", name).verify(response, target, **params)


# --- scores -----------------------------------------------------------------------------------------------

A, B = {"bbox_2d": [0, 0, 100, 100], "label": "car"}, {"bbox_2d": [300, 0, 400, 100], "label": "car"}
HAT = {"bbox_2d": [0, 0, 100, 100], "label": "person's hat"}
NEAR_A, NEAR_C = {"bbox_2d": [0, 0, 100, 100]}, {"bbox_2d": [20, 0, 120, 100]}
ONLY_C_FITS = json.dumps([[10, 0, 110, 100], [0, 0, 70, 100]])
CAPTION = {"caption": "One grey cat sits by a big red car, and its bone lies on the mat."}
CAT, ONE = {"wrong": "grey cat", "right": "grey dog"}, {"wrong": "One grey", "right": "Two grey"}
SHORTER = {"wrong": "a red car", "right": "a big red car"}
BOXED = "<think>101?</think><answer><|begin_of_box|>101<|end_of_box|></answer>"
CITY = {"question": "Which city?", "answer": "Paris"}
MOMENT = [10, 20]
LAYOUT = "think_answer"
TWO = "<think>a</think><answer>b</answer><answer>c</answer>"
LINES = "<think>\na\n</think>\n\n<answer>\nb\n</answer>\n"
GREY_CAT = {"wrong": "grey cat", "right": "red dog"}

SCORES = [
    ("v_triune-1-shadowed_arg_max-order", "dynamic_iou", json.dumps([B, A]), [A, B], {}, 1.0),
    ("v_triune-2-greedy-target_order", "dynamic_iou", ONLY_C_FITS, [NEAR_A, NEAR_C], {"metric": "f1"}, 1.0),
    ("v_triune-2-greedy-target_reversed", "dynamic_iou", ONLY_C_FITS, [NEAR_C, NEAR_A], {"metric": "f1"}, 1.0),
    ("v_triune-3-parser-apostrophe", "dynamic_iou", json.dumps([HAT]), [HAT], {}, 1.0),
    ("v_triune-3-parser-python_quotes", "dynamic_iou", str([HAT]).replace('"', "'"), [HAT], {}, 1.0),
    ("v_triune-3-parser-fence", "dynamic_iou", f"```json\n{json.dumps([A])}\n```", [A], {}, 1.0),
    ("v_triune-3-parser-one_object", "dynamic_iou", json.dumps(A), [A], {}, 1.0),
    ("v_triune-3-parser-no_object", "dynamic_iou", "<answer>[]</answer>", [], {}, 1.0),
    ("v_triune-4-format-two_answers", "format", TWO, LAYOUT, {}, 0.0),
    ("v_triune-4-format-no_newlines", "format", "<think>a</think><answer>b</answer>", LAYOUT, {}, 1.0),
    ("v_triune-4-format-newlines", "format", LINES, LAYOUT, {}, 1.0),
    ("v_triune-8-answer_size-any_patch", "dynamic_iou", "[32, 32, 64, 64]", [100, 100, 200, 200],
     {"coords": "relative_1000", "answer_coords": "pixels", "answer_size": [320, 320]}, 1.0),
    ("vicrit-echo_of_the_caption", "caption_spans", CAPTION["caption"], CAT, CAPTION, 0.0),
    ("vicrit-same_word_elsewhere", "caption_spans", "black cat", CAT, CAPTION, 0.0),
    ("vicrit-first_word_of_the_change", "caption_spans", "grey sky", GREY_CAT, CAPTION, 0.0),
    ("vicrit-inside_another_word", "caption_spans", "bone", ONE, CAPTION, 0.0),
    ("vicrit-pure_deletion", "caption_spans", "a red", SHORTER, {"caption": "There is a red car."}, 1.0),
    ("vicrit-swapped_arguments", "caption_spans", "grey dog", CAT, CAPTION, 0.0),
    ("vicrit-trailing_newline", "caption_spans", "grey cat\n", CAT, CAPTION, 1.0),
    ("glm-1-sympify-math_3", "math", "3", "3.0", {}, 1.0),
    ("glm-1-sympify-math_half", "math", "0.5", "1/2", {}, 1.0),
    ("glm-1-sympify-chart", "numeric", "101", "100", {"relative": 0.025}, 1.0),
    ("glm-1-sympify-chart_relaxed", "relaxed", "101", "100", {}, 1.0),
    ("glm-2-counting-answer_tags", "counting", "<think>3?</think><answer>3</answer>", 3, {}, 1.0),
    ("glm-2-counting-box_tokens", "counting", BOXED, 101, {}, 1.0),
    ("glm-2-chart-standard_format", "numeric", BOXED, "100", {"relative": 0.025}, 1.0),
    ("glm-2-chart-standard_format_relaxed", "relaxed", BOXED, "100", {}, 1.0),
    ("glm-3-judge-11.0_vs_0.0", "judge", "Lyon", CITY, {"replies": ["11.0 vs 0.0"]}, None),
    ("glm-3-judge-not_1.0", "judge", "Lyon", CITY, {"replies": ["It is not 1.0, so 0.0"]}, None),
    ("glm-3-judge-1.0_then_0.0", "judge", "Lyon", CITY, {"replies": ["1.0 would be wrong.\n0.0"]}, 0.0),
    ("glm-3-judge-bare_1.0", "judge", "The city of Paris", CITY, {"replies": ["1.0"]}, 1.0),
    ("glm-4-unit-letters_are_no_units", "numeric", "The answer must be some 5", "5", {}, 1.0),
    ("glm-4-unit-math", "math", "The answer is 5.", "5", {}, 1.0),
    ("glm-5-judge-braces_in_the_answer", "judge", "{label} {question}", CITY, {"replies": ["0.0"]}, 0.0),
    ("glm-5-judge-no_score_in_between", "judge", "Lyon", CITY, {"replies": ["0.5"]}, None),
    ("glm-6-ocr-both_empty", "ocr", "", "", {}, 1.0),
    ("glm-6-ocr-word_segmentation", "ocr", "newyork", "new york", {}, 7 / 8),
    ("glm-6-format-trailing_space", "format", "<think>a</think><answer>b</answer> ", LAYOUT, {}, 1.0),
    ("glm-6-format-leading_newline", "format", "\n<think>a</think><answer>b</answer>", LAYOUT, {}, 1.0),
    ("glm-7-unusable_target-is_not_zero", "counting", "3", "many", {}, None),
    ("temporal_r1-numbers_in_json", "temporal_iou", '{"start_time": 10, "end_time": 20.0}', MOMENT, {}, 1.0),
    ("temporal_r1-quoted_numbers_in_json", "temporal_iou", '{"start_time": "10", "end_time": "20"}', MOMENT, {}, 1.0),
    ("temporal_r1-swapped_keys", "temporal_iou", '{"end_time": "20", "start_time": "10"}', MOMENT, {}, 1.0),
    ("temporal_r1-disjoint", "temporal_iou", '{"start_time": "30", "end_time": "40"}', MOMENT, {}, 0.0),
    ("temporal_r1-reversed", "temporal_iou", '{"start_time": "20", "end_time": "10"}', MOMENT, {}, 0.0),
    ("temporal_r1-1.2.3", "temporal_iou", '{"start_time": "1.2.3", "end_time": "20"}', MOMENT, {}, 0.0),
    ("temporal_r1-whole_video", "temporal_iou", "0 - 40", MOMENT, {"duration": 40}, 0.25),
    ("temporal_r1-trailing_newline", "temporal_iou", "<think>a</think><answer>10 - 20</answer>\n", MOMENT, {}, 1.0),
    ("temporal_r1-trailing_newline_format", "format", "<think>a</think><answer>b</answer>\n", LAYOUT, {}, 1.0),
    ("temporal_r1-span_without_length", "temporal_iou", "10 - 10", [10, 10], {}, None),
    ("temporal_r1-fractions_need_no_guessed_length", "temporal_iou", "10 - 20", [0.25, 0.5],
     {"unit": "fraction", "answer_unit": "seconds", "duration": 40}, 1.0),
    ("temporal_r1-qa_over_lines", "choice", "<think>\nA?\nB?\n</think>\n<answer>\nB\n</answer>", "B", {}, 1.0),
    ("temporal_r1-to_inside_a_word", "temporal_iou", "It stops, from 10 to 20 seconds.", MOMENT, {}, 1.0),
    ("temporal_r1-seconds_to_seconds", "temporal_iou", "from 10 seconds to 20 seconds", MOMENT, {}, 1.0),
    ("temporal_r1-first_span_only", "temporal_iou", "0 - 10 and 30 - 40", [[0, 10], [30, 40]], {}, 1.0),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "response", "target", "params", "score"), [c[1:] for c in SCORES], ids=[c[0] for c in SCORES]
)
def test_score(name: str, response: str, target: Any, params: dict[str, Any], score: float | None) -> None:
    found = verify(name, response, target, **params)
    assert found.score == (None if score is None else pytest.approx(score)), found


# --- what is not a score ----------------------------------------------------------------------------------


def test_v_triune_6_held_out_metrics_do_not_change_with_the_schedule() -> None:
    answer = "[0, 0, 100, 96]"
    parts = [verify("dynamic_iou", answer, [A], threshold=threshold).parts for threshold in (0.85, 0.95, 0.99)]
    fixed = [{name: value for name, value in found.items() if name.startswith("iou")} for found in parts]
    assert fixed[0] == fixed[1] == fixed[2]
    assert fixed[0]["iou_95"] == 1.0


@pytest.mark.parametrize(
    ("name", "target", "params"), [("counting", 3, {"toleranc": 1}), ("counting", 3, {"image_file": None})]
)
def test_v_triune_7_glm_2_a_wrong_call_is_no_wrong_answer(name: str, target: Any, params: dict[str, Any]) -> None:
    verdict = run_call(Call(name, (Member("3"),), target, params))[0]
    assert (verdict.score, verdict.status) == (None, "error")
    with pytest.raises(UserError, match="unknown parameter"):
        check_params(name, params)


def test_v_triune_7_an_unknown_verifier_is_no_wrong_answer() -> None:
    with pytest.raises(UserError, match="did you mean 'counting'"):
        run_call(Call("countin", (Member("3"),), 3, {}))


@pytest.mark.parametrize("name", catalog.names("verifiers"))
def test_v_triune_8_arguments_are_never_changed(name: str) -> None:
    for example in catalog.load("verifiers", name).EXAMPLES:
        before = copy.deepcopy((example.target, example.params))
        run_call(Call(name, (Member(example.response),), example.target, example.params))
        assert (example.target, example.params) == before


def test_v_triune_8_a_schedule_knows_only_the_progress() -> None:
    assert schedule_value([(0, 0.85), (0.1, 0.95)], 0.0) == 0.85


@pytest.mark.parametrize("metric", ["map", "map_50", "map_75"])
@pytest.mark.parametrize(
    "extra", [{"bbox_2d": [500, 0, 600, 99], "label": "dog"}, {"bbox_2d": [500, 0, 600, 99], "label": "car"}]
)
def test_v_triune_9_average_precision_counts_every_extra_box(metric: str, extra: dict[str, Any]) -> None:
    alone = verify("dynamic_iou", json.dumps([A]), [A], metric=metric, size_penalty=1.0).score
    for answer in ([A, extra], [extra, A]):
        found = verify("dynamic_iou", json.dumps(answer), [A], metric=metric, size_penalty=1.0).score
        assert alone == 1.0
        assert found is not None
        assert found < 1.0


def test_glm_6_no_answer_is_ever_evaluated(tmp_path) -> None:
    harm = tmp_path / "harm"
    answer = f"__import__('pathlib').Path({str(harm)!r}).touch() or 3"
    for name in catalog.names("verifiers"):
        for example in catalog.load("verifiers", name).EXAMPLES[:2]:
            for response in (answer, f"<answer>{answer}</answer>", f"\\boxed{{{answer}}}", f"[{answer}]"):
                run_call(Call(name, (Member(response),), example.target, example.params))
    assert not harm.exists()


def test_glm_7_a_judge_out_of_reach_is_no_wrong_answer(monkeypatch) -> None:
    monkeypatch.delenv("VLMRL_ENDPOINT_URL", raising=False)
    found = verify("judge", "Lyon", CITY)
    assert (found.score, found.status) == (None, "error")


def test_temporal_r1_what_cannot_be_read_is_no_span() -> None:
    found = verify("temporal_iou", "I do not know.", [0, 5])
    assert (found.score, found.status) == (0.0, "unparsed")
