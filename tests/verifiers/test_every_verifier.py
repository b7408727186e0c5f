"""The contract of every verifier, and a case for each known bug of the released reward codes."""

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmrl import catalog
from vlmrl.verdict import Example, Verdict

NAMES = catalog.names("verifiers")
LONG = 1_000_000
NOISE = [
    *("", " ", "\0", "7" * 5000, "🙂" * 99, "[[{(", "1e999", "NaN", "-inf", "½²①", "</think>", "<answer>", "```"),
    *("[" * LONG, "{" * LONG, "\\boxed{" * (LONG // 7), "<think>" * (LONG // 7), "<answer>" * (LONG // 8)),
    *(" " * LONG, "1," * (LONG // 2), "A or " * (LONG // 5), "answer: " * (LONG // 8), "'" * LONG, "$" * LONG),
    *("[1,1,2,2]," * (LONG // 10), "\\boxed{1} and " * (LONG // 13), "twenty " * (LONG // 7), '{"a":' * (LONG // 5)),
    '[{"bbox_2d": [NaN, Infinity, 1e999, ' + "9" * 5000 + "]}]",
]

STRANGE = [None, True, {}, {"a": 1}, [None], [[]], "", "\0", "1" * 5000, 10**5000, float("nan")]


def verify(name: str, response: str, target: Any, **params: Any) -> Verdict:
    return catalog.load("verifiers", name).verify(response, target, **params)


def score(name: str, response: str, target: Any, **params: Any) -> float | None:
    return verify(name, response, target, **params).score


def examples(name: str) -> list[Example]:
    return catalog.load("verifiers", name).EXAMPLES


# --- the contract -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_example_holds(name: str) -> None:
    for example in examples(name):
        found = score(name, example.response, example.target, **example.params)
        assert found == (None if example.score is None else pytest.approx(example.score)), example


@pytest.mark.parametrize("name", NAMES)
def test_examples_show_right_wrong_and_unusable(name: str) -> None:
    assert {1.0, 0.0, None} <= {example.score for example in examples(name)}


@pytest.mark.parametrize("name", NAMES)
def test_gold_scores_exactly_one(name: str) -> None:
    module = catalog.load("verifiers", name)
    for example in examples(name):
        if example.score is not None:
            module.check_target(example.target, **example.params)
            gold = module.gold(example.target, **example.params)
            assert score(name, gold, example.target, **example.params) == 1.0, (gold, example)


@pytest.mark.parametrize("name", NAMES)
def test_check_target_refuses_what_verify_cannot_judge(name: str) -> None:
    module = catalog.load("verifiers", name)
    for example in examples(name):
        if example.score is None:
            assert verify(name, example.response, example.target, **example.params).status == "bad_target"
            with pytest.raises(ValueError, match=r"\w"):
                module.check_target(example.target, **example.params)


@pytest.mark.parametrize("name", NAMES)
def test_strange_targets_are_judged_or_refused(name: str) -> None:
    module = catalog.load("verifiers", name)
    for target in STRANGE:
        verdict = verify(name, "7", target)
        try:
            module.check_target(target)
        except ValueError:
            assert verdict.status == "bad_target"
        else:
            assert verdict.score is not None
            assert score(name, module.gold(target), target) == 1.0


@pytest.mark.parametrize("name", NAMES)
def test_noise_never_raises_and_earns_nothing(name: str) -> None:
    example = examples(name)[0]
    for noise in NOISE:
        verdict = verify(name, noise, example.target, **example.params)
        assert verdict.score is not None
        # What judges the form alone, without a target, may well like a short noise.
        assert verdict.score < 0.5 or not catalog.needs_target(name), noise[:40]
        assert verify(name, noise, example.target, **example.params) == verdict


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=60) | st.text("0123456789.,-/()[]{}\\^_$%ABor xy<>answerboxed", max_size=40))
def test_any_text_is_judged(name: str, text: str) -> None:
    example = examples(name)[0]
    for response in (text, f"<answer>{text}</answer>", f"\\boxed{{{text}}}"):
        verdict = verify(name, response, example.target, **example.params)
        assert verdict.score is not None
        assert 0.0 <= verdict.score <= 1.0


@pytest.mark.parametrize("name", NAMES)
def test_verifiers_work_off_the_main_thread(name: str) -> None:
    found: list[float | None] = []
    example = examples(name)[0]
    thread = threading.Thread(
        target=lambda: found.append(score(name, example.response, example.target, **example.params))
    )
    thread.start()
    thread.join()
    assert found == [example.score]


# --- detection and grounding ------------------------------------------------------------------------------

CAR = {"bbox_2d": [100, 100, 200, 200], "label": "car"}
DOG = {"bbox_2d": [300, 300, 400, 400], "label": "dog"}
FAR = {"bbox_2d": [600, 600, 650, 650], "label": "car"}


def boxes(*items: Any) -> str:
    return json.dumps(items)


def test_worked_values_of_dynamic_iou() -> None:
    def of_iou(iou: float) -> dict[str, Any]:
        return {"bbox_2d": [0, 0, 1000, 1000 * iou], "label": "car"}

    whole = {"bbox_2d": [0, 0, 1000, 1000], "label": "car"}
    for iou, threshold, value in [(0.9, 0.85, 0.93), (0.9, 0.95, 0.0), (0.96, 0.95, 0.972), (0.96, 0.99, 0.0)]:
        assert score("dynamic_iou", boxes(of_iou(iou)), [whole], threshold=threshold) == pytest.approx(value)
    other = {"bbox_2d": [2000, 0, 3000, 1000], "label": "car"}
    almost = [of_iou(0.995), other | {"bbox_2d": [2000, 0, 3000, 900]}]
    assert score("dynamic_iou", boxes(*almost), [whole, other], threshold=0.85) == pytest.approx(0.963, abs=5e-4)
    assert score("dynamic_iou", boxes(*almost), [whole, other], threshold=0.95) == pytest.approx(0.498, abs=5e-4)
    assert score("dynamic_iou", boxes(whole), [whole, other]) == pytest.approx(0.345)
    spam = [whole, other, FAR, {"bbox_2d": [1, 1, 2, 2], "label": "car"}]
    assert score("dynamic_iou", boxes(*spam), [whole, other]) == pytest.approx(0.333)


def test_the_order_of_boxes_never_matters() -> None:
    assert score("dynamic_iou", boxes(CAR, DOG), [DOG, CAR]) == 1.0
    assert score("dynamic_iou", boxes(DOG, CAR), [DOG, CAR]) == 1.0
    # A greedy match gives the first target the box that only the second can use.
    targets = [{"bbox_2d": [0, 0, 100, 100]}, {"bbox_2d": [20, 0, 120, 100]}]
    answer = boxes([10, 0, 110, 100], [-50, 0, 90, 100])
    both = {score("dynamic_iou", answer, order) for order in (targets, targets[::-1])}
    assert len(both) == 1
    assert verify("dynamic_iou", answer, targets).parts["recall"] == 1.0


@pytest.mark.parametrize(
    "answer",
    [
        '```json\n[{"bbox_2d": [100, 100, 200, 200], "label": "person\'s hat"}]\n```',
        "[{'bbox_2d': [100, 100, 200, 200], 'label': 'person's hat'}]",
        '{"bbox_2d": [100, 100, 200, 200], "label": "Person\'s  Hat"}',
        '[{"bbox": ["100", "100", "200", "200"], "label": "person\'s hat"}, {"bbox": [1, 2',
        "(100,100),(200,200)",
    ],
)
def test_answers_that_released_parsers_lose(answer: str) -> None:
    assert score("dynamic_iou", answer, [CAR | {"label": "person's hat"}]) == 1.0


def test_labels() -> None:
    unlabelled = {"bbox_2d": CAR["bbox_2d"]}
    assert score("dynamic_iou", boxes(unlabelled), [CAR]) == 1.0
    assert score("dynamic_iou", boxes(unlabelled, {"bbox_2d": DOG["bbox_2d"]}), [CAR, DOG]) == 0.0
    assert score("dynamic_iou", boxes(CAR | {"label": "dog"}), [CAR]) == 0.0
    assert score("dynamic_iou", boxes(CAR | {"label": "dog"}), [CAR["bbox_2d"]]) == 1.0
    hedged = boxes(CAR, CAR | {"label": "dog"})
    assert score("dynamic_iou", hedged, [CAR]) == pytest.approx((0.7 + 0.3 * 0.75) * 0.6)


def test_fixed_thresholds_do_not_follow_the_schedule() -> None:
    answer = boxes([100, 100, 200, 196])
    early, late = (verify("dynamic_iou", answer, [CAR], threshold=t) for t in (0.5, 0.99))
    assert (early.score, late.score) == (pytest.approx(0.972), 0.0)
    for part in ("iou", "iou_50", "iou_75", "iou_95", "iou_99"):
        assert early.parts[part] == late.parts[part]
    assert [early.parts[f"iou_{t}"] for t in (50, 75, 95, 99)] == [1.0, 1.0, 1.0, 0.0]


def test_coordinates_of_target_and_answer_may_differ() -> None:
    target, frame = [{"bbox_2d": [100, 200, 300, 400]}], {"coords": "relative_1000", "answer_coords": "pixels"}
    assert score("dynamic_iou", boxes([64, 96, 192, 192]), target, image_size=[640, 480], **frame) == 1.0
    resized = {"image_size": [640, 480], "answer_size": [320, 240]}
    assert score("dynamic_iou", boxes([32, 48, 96, 96]), target, **frame, **resized) == 1.0
    assert score("dynamic_iou", boxes([0.1, 0.2, 0.3, 0.4]), target, coords="relative_1000",
                 answer_coords="relative_1") == pytest.approx(1.0)  # fmt: skip


@pytest.mark.parametrize(
    ("target", "params", "says"),
    [
        ([[0, 0, 700, 40]], {"image_size": [640, 480]}, "640 x 480"),
        ([[0, 0, 1001, 40]], {"coords": "relative_1000"}, "1001"),
        ([[5, 5, 5, 9]], {}, "5.*x1 < x2"),
        ([[9, 5, 5, 9]], {}, "x1 < x2"),
        ([[1, 2, 3, 4]], {"answer_coords": "relative_1"}, "image_size"),
        ([[1, 2, 3, 4]], {"coords": "inches"}, "inches.*relative_1000"),
        ("[1, 2, 3, 4]", {}, "list of boxes"),
    ],
)
def test_bad_box_targets_say_value_and_mend(target: Any, params: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        catalog.load("verifiers", "dynamic_iou").check_target(target, **params)
    assert verify("dynamic_iou", "[1, 2, 3, 4]", target, **params).status == "bad_target"


# --- counting ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [
    "3", " 3\n", "**3**", "three", "Three.", "<answer>3</answer>", "There are 3 dogs, so 3.", "3.0",
    "Of 10 boxes, 3 are open.", "I count 1, 2, 3. So 3.", "<think>2 or 4?</think>3", "３", "There are three of them",
    "I see 3 dogs (two black, one white).", "about 3", "one, two, three: 3 dogs",
    "<think>x</think>\n<answer>\nThere are 3.\n</answer>\n",
])  # fmt: skip
def test_counts_that_are_right(said: str) -> None:
    assert score("counting", said, 3) == 1.0


@pytest.mark.parametrize("said", [
    "2 or 3", "3 or 2", "between 0 and 3", "a correct number between 0 and 3", "2-3", "2 to 3", "at least 3",
    "3 or more", "more than 3", "1, 2, 3", "not 3", "[number]", "-3", "3.5", "13", "3rd", "<think>3",
    "maybe 2, maybe 3", "3 (or 4)", "<3", "up to 3",
])  # fmt: skip
def test_counts_that_hedge_or_err(said: str) -> None:
    assert score("counting", said, 3) == 0.0


def test_count_tolerance_is_a_share() -> None:
    assert score("counting", "105", 100, tolerance=0.05) == 1.0
    assert score("counting", "106", 100, tolerance=0.05) == 0.0
    assert score("counting", "1", 0, tolerance=0.05) == 0.0


# --- OCR --------------------------------------------------------------------------------------------------


def test_ocr_policies() -> None:
    assert score("ocr", "new york", "NEW YORK") == 1.0
    assert score("ocr", "new york", "NEW YORK", case="keep") == pytest.approx(1 / 8)
    assert score("ocr", "newyork", "new york") == pytest.approx(7 / 8), "word segmentation counts"
    assert score("ocr", "newyork", "new york", space="ignore") == 1.0
    assert score("ocr", "ｎｅｗ", "new") == 1.0
    assert score("ocr", "cafe\u0301", "café") == 1.0
    assert score("ocr", "", "") == score("ocr", "", "", metric="wer") == 1.0
    assert score("ocr", "Hello Wrold", ["bye", "Hello World"], metric="anls") == pytest.approx(0.82, abs=5e-3)
    assert score("ocr", "ab", "abcd", metric="anls") == 0.0, "ANLS: a distance of one half is too far"
    assert score("ocr", "a b c d e", "a b", metric="wer") == 0.0, "never below zero"


def test_ocr_refuses_unknown_params() -> None:
    with pytest.raises(ValueError, match=r"cer.*edit, anls, wer"):
        catalog.load("verifiers", "ocr").check_target("a", metric="cer")


# --- caption spans ----------------------------------------------------------------------------------------

CAPTION = "One grey cat sits by a big red car, and its bone lies on the mat."


@pytest.mark.parametrize(("said", "right"), [
    ("cat", 1.0), ("grey cat", 1.0), ("One grey cat", 1.0), ("grey cat sits", 1.0), ("One grey cat sits", 0.0),
    (CAPTION, 0.0), ("grey sky", 0.0), ("a cat", 0.0), ("grey", 0.0), ("ca", 0.0), ("cat.", 1.0), ("", 0.0),
    ("cat cat", 0.0), ("<think>x</think>\\boxed{grey cat}", 1.0), ('["grey cat"]', 1.0), ("bone", 0.0),
])  # fmt: skip
def test_caption_spans_refuse_echo_and_substrings(said: str, right: float) -> None:
    assert score("caption_spans", said, {"wrong": "grey cat", "right": "grey dog"}, caption=CAPTION) == right


def test_removed_words_are_found_at_their_place() -> None:
    target = {"wrong": "a red car", "right": "a big red car"}
    caption = "There is a red car."
    assert score("caption_spans", "a red", target, caption=caption) == 1.0
    assert score("caption_spans", "red car", target, caption=caption) == 0.0
    at_end = {"wrong": "a car", "right": "a car outside"}
    assert score("caption_spans", "car", at_end, caption="I see a car") == 1.0


def test_a_caption_without_error() -> None:
    for said in ("none", "No error.", "There is no error", "<answer>None</answer>"):
        assert score("caption_spans", said, {"wrong": None, "right": None}, caption=CAPTION) == 1.0
        assert score("caption_spans", said, "red car", caption=CAPTION) == 0.0
    assert score("caption_spans", "grey cat", "", caption=CAPTION) == 0.0


def test_one_word_captions_and_echo_rate() -> None:
    assert score("caption_spans", "cat", {"wrong": "cat", "right": "dog"}, caption="cat") == 1.0
    assert verify("caption_spans", CAPTION, "red car", caption=CAPTION).parts["echo"] == 1.0
    assert verify("caption_spans", "red car", "red car", caption=CAPTION).parts == {"echo": 0.0, "exact": 1.0}


# --- math -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("said", "true"), [
    (r"\boxed{10} then \boxed{42}", "42"), ("−5", "-5"), ("½", "1/2"), ("１２", "12"), (r"1\,234", "1234"),
    (r"\$10", "10"), ("+7", "7"), (r"74^\circ", "74"), ("74°", "74"), ("1 1/2", "1.5"), (r"1\frac12", "3/2"),
    ("10 cm", "10"), (r"10\text{ cm}", "10"), ("33.5%", "0.335"), ("10%", "10"), (r"\frac{2}{4}", "0.5"),
    ("x = 3", "3"), ("3", "x = 3"), ("3", 3), ("3.0", 3), ("0.5", 0.5), ("The answer is 12.", "12"),
    (r"\{3, 1, 2\}", r"\{1, 2, 3\}"), ("[0, 1)", "[0,1)"), ("(1, 2)", "(1,2)"), ("x > 5", "5 < x"),
    (r"2\sin b\cos a", r"2\cos a \sin b"), (r"\frac{x+2}{7}", r"\frac{x}{7}+\frac{2}{7}"),
    ("1e3", "1000"),
    ("5 apples", "5"), ("So x = 3.\nThe answer is: 5.", "5"), ("2 + 3 = 5", "5"),
    (r"\begin{bmatrix}1 & 2\\3 & 4\end{bmatrix}", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}"), ("odd", r"\text{odd}"),
    (r"96-10\sqrt{21}", r"\frac{6\sqrt{1789-240\sqrt{21}}+8\sqrt{1236-240\sqrt{21}}}{5}"),
    (r"2024^{4046}", r"2024^{4046}"), (r"\boxed{1} and \boxed{2}", "1, 2"), ("5", ["4", "5"]),
])  # fmt: skip
def test_equal_in_math(said: str, true: Any) -> None:
    assert score("math", said, true) == 1.0


@pytest.mark.parametrize(("said", "true"), [
    ("3 or 4", "3"), ("3 or 4", "4"), ("(1,2)", "(2,1)"), ("[0,1)", "(0,1)"), ("5 cm", r"5\text{ m}"),
    ("x < 5", "x > 5"),
    ("100000000000000000000", "100000000001000000000"), ("5.001", "5"), ("1:00", "12:00"), ("12", r"\{1, 2\}"),
    (r"\sqrt{67}, -\sqrt{85}", r"\sqrt{67}"), ("x = 1", "y = 2"), ("A", "a"), ("204_7", "204_5"), ("", "5"),
    ("x", "|x|"), ("x^2 = 4", "4"),
    ("it is 3 or 4", "4"), (r"\boxed{\frac{1}{0}}", "0"), ("open('x','w') or 0", "0"),
    ("__import__('os').getcwd() or 5", "5"),
])  # fmt: skip
def test_unequal_in_math(said: str, true: Any) -> None:
    assert score("math", said, true) == 0.0


TOWERS = [
    "9^{9^{9^9}}", "9^9^9^9", "((9!)!)!", r"\binom{10^9}{10^8}", r"\binom{1000000000}{500000000}", "10^{10^{10}}x",
    r"\sqrt{" * 30 + "2" + "}" * 30, "(" * 300 + "x" + ")" * 300, "x^" * 100 + "2", "x^{" * 8 + "x" + "}" * 8,
    r"\int_0^1 e^{x^2} dx", r"\sum_{k=1}^{10^9} k", "9" * 5000, "9" * 5000 + "x", "x" * 400, "1+" * 200 + "x",
    r"\frac{" * 9 + "x" + "}{y}" * 9, ",".join(rf"\sin(x+{i})" for i in range(20)), "e^{e^{e^{e^9}}}", "!" * 99 + "x",
    r"\Gamma(10^{9})", "(" * 6 + "9^9" + ")^9" * 6, "0.1^{0.1^{-99}}", r"\tan(\tan(\tan(10^{99})))",
]  # fmt: skip


@pytest.mark.parametrize("true", ["3", "x^2+1", ",".join(rf"\cos(x+{i})" for i in range(20))])
def test_towers_are_refused_before_they_are_evaluated(true: str) -> None:
    for tower in TOWERS:
        assert score("math", f"\\boxed{{{tower}}}", true) == 0.0
        assert score("math", tower, true) == 0.0


def test_numbers_never_load_sympy() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from vlmrl import catalog; v = catalog.load('verifiers', 'math').verify;"
        "assert v('7', 7).score == 1.0; assert v('x', 7).score == 0.0; assert v('\\\\boxed{1/2}', '0.5').score == 1.0;"
        "assert 'sympy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- choice -----------------------------------------------------------------------------------------------

CITIES = ["London", "Paris", "Berlin", "New Paris"]


@pytest.mark.parametrize("said", [
    "B", "b", "(B)", "B.", "B) Paris", "**B**", "Answer: B", "answer is (b)", "<answer>B</answer>", r"\boxed{B}",
    r"\boxed{\text{Paris}}", "Paris", "the city of Paris", '{"choice": "b"}', "ANSWER: B, not C",
    "B because A is wrong", "It's not A, so I think it's B", "答案：B，因为A是错的", "I said A.\nAnswer: B",
    "B, I think", "I think A is wrong, B is right",
])  # fmt: skip
def test_choices_that_are_right(said: str) -> None:
    assert score("choice", said, "B", choices=CITIES) == 1.0
    assert score("choice", said, "paris", choices=CITIES) == 1.0


@pytest.mark.parametrize("said", [
    "A or B", "A, B", "A/B", "B or C", "Answer: A B C D are all plausible", "Answer: [LETTER]", "any of them", "",
    "London or Paris",
    "A capital city", "Answer: B or maybe C", "B. Or C.", "Answer: B; maybe C",
     "New Paris", "not B", "ANSWER: (see the diagram above)", "E", "(A) or (B)",
])  # fmt: skip
def test_choices_that_hedge_or_err(said: str) -> None:
    assert score("choice", said, "B", choices=CITIES) == 0.0


def test_several_options_need_the_exact_set() -> None:
    for said in ("A, C", "AC", "C and A", "(A, C)", "Answer: A,C", "Answer: AC"):
        assert score("choice", said, ["A", "C"]) == 1.0
    for said in ("A", "A, B, C", "C"):
        assert score("choice", said, ["A", "C"]) == 0.0


# --- format -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", list(catalog.load("verifiers", "format").LAYOUTS))
@pytest.mark.parametrize(("name", "target"), [("counting", 3), ("choice", "B"), ("math", "1/2"), ("ocr", "a b")])
def test_a_wrapped_gold_satisfies_both(layout: str, name: str, target: Any) -> None:
    wrap: Callable[[str, str], str] = catalog.load("verifiers", "format").wrap
    gold = catalog.load("verifiers", name).gold(target)
    wrapped = wrap(gold, layout)
    if not ("boxed" in layout and "\\boxed" in gold):
        assert score("format", wrapped, layout) == 1.0
    assert score(name, wrapped, target) == 1.0


@pytest.mark.parametrize("response", [
    "<think>a</think><answer>b", "<think>a<answer>b</answer></think>", "x<think>a</think><answer>b</answer>",
    "<think>a</think><answer>b</answer>x", "<think>a</think><think>b</think><answer>c</answer>",
    "<think>a</think><answer></answer>", "<THINK>a</THINK><answer>b</answer>",
])  # fmt: skip
def test_layouts_that_are_broken(response: str) -> None:
    assert score("format", response, "think_answer") == 0.0


def test_format_parts_tell_which_tag_is_missing() -> None:
    parts = verify("format", "<answer>2</answer>", "think_answer").parts
    assert parts == {"think": 0.0, "answer": 1.0, "skipped_thought": 0.0}
