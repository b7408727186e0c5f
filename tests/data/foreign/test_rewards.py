"""Answers of other toolkits: the verifier that judges them, and targets in the form that it takes."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.converted import converted

from vlmrl import UserError
from vlmrl.rewards.composite import check_spec, score


def v_triune(answer: Any, ability: str) -> dict[str, Any]:
    model = {"answer": answer, "ground_truth": "", "verifier": "mathverify", "verifier_parm": None}
    prompt = [{"role": "user", "content": "<image>Answer."}]
    return {"data_source": "x", "prompt": prompt, "images": ["a.png"], "ability": ability, "reward_model": model}


@pytest.mark.parametrize(
    ("answer", "ability", "verifier", "wrong"),
    [
        ("4", "math", "math", "5"),
        (r"\frac{1}{2}", "science", "math", "2"),
        ("12 cm", "math", "math", "13 cm"),
        ("Coca Cola", "ocr", "ocr", "Sprite"),
        ("Flight 12A", "ocr", "ocr", "no idea"),
        ("1972", "ocr", "math", "1973"),
        ("red", "puzzle", "exact", "blue"),
        ("yes", "chart", "yes_no", "no"),
        ("7", "counting", "counting", "6"),
        ("Norway", "chart", "exact", "Sweden"),
    ],
)
def test_answer_and_ability_choose_the_verifier(tmp_path, answer, ability, verifier, wrong) -> None:
    (sample,) = converted(tmp_path, v_triune(answer, ability))
    assert sample.reward[0].verifier == verifier
    check_spec(sample.reward[0])
    assert score(sample, f"<think>Hm.</think><answer>{answer}</answer>").score == 1.0
    assert score(sample, f"<think>Hm.</think><answer>{wrong}</answer>").score == 0.0


def test_the_verifier_of_the_user_goes_first(tmp_path) -> None:
    (sample,) = converted(tmp_path, v_triune("Coca Cola", "ocr"), verifier="string_f1")
    assert (sample.reward[0].verifier, sample.reward[0].params) == ("string_f1", {})


def vqa(question: str, answer: Any, **columns: Any) -> dict[str, Any]:
    return {"question": question, "answer": answer, "image": "a.png"} | columns


@pytest.mark.parametrize(
    ("row", "verifier"),
    [
        (vqa("What is x?\nA. 3\nB. 4", "B"), "choice"),
        (vqa("What is x?", "B"), "math"),
        (vqa("Which?", "B", options=["cat", "dog"]), "choice"),
        (vqa("Which?", 1, choices=["cat", "dog"]), "choice"),
        (vqa("Which is larger?", "4", choices=["2", "4"]), "choice"),
        (vqa("Is it?", "No"), "yes_no"),
        (vqa("Locate it.", [1, 2, 30, 40]), "dynamic_iou"),
        (vqa("Which coefficients?", "[1, 2, 30, 40]"), "math"),
        (vqa("Who is it?", ["Ann", "Anna"]), "exact"),
        (vqa("How wide?", "['3 cm', '30 mm']"), "math"),
    ],
)
def test_an_answer_chooses_its_verifier(tmp_path, row, verifier) -> None:
    (sample,) = converted(tmp_path, row)
    assert sample.reward[0].verifier == verifier
    check_spec(sample.reward[0])


@pytest.mark.parametrize(
    ("verifier", "answer", "target"),
    [
        ("string_f1", "['a cat', 'the cat']", ["a cat", "the cat"]),
        ("exact", '["a cat", "the cat"]', ["a cat", "the cat"]),
        ("math", "[1, 2]", "[1, 2]"),
        ("choice", "['A', 'C']", ["A", "C"]),
        ("judge", '{"question": "Why?", "answer": "So."}', {"question": "Why?", "answer": "So."}),
        ("grounded_qa", "{'choice': 'B', 'spans': [[1, 2]]}", {"choice": "B", "spans": [[1, 2]]}),
        ("counting", "a few", "a few"),
    ],
)
def test_texts_that_hold_literals_are_read_where_the_verifier_needs_it(tmp_path, verifier, answer, target) -> None:
    (sample,) = converted(tmp_path, {"problem": "?", "answer": answer}, verifier=verifier)
    assert sample.reward[0].target == target


def test_a_caption_becomes_a_parameter(tmp_path) -> None:
    row = {
        "problem": "Which phrase is wrong?",
        "answer": "grey cat",
        "caption": "A grey cat sleeps.",
        "images": ["a.png"],
    }
    (sample,) = converted(tmp_path, row, verifier="caption_spans")
    assert sample.reward[0].params == {"caption": "A grey cat sleeps."}
    check_spec(sample.reward[0])


def test_the_wrong_phrase_is_the_one_in_the_caption(tmp_path) -> None:
    row = {
        "image_path": "a.png",
        "problem": "Find it: A grey cat sleeps.",
        "original_caption": "A red cat sleeps.",
        "changed_caption": "A grey cat sleeps.",
    }
    for target, original in (("grey", "red"), ("red", "grey")):
        (sample,) = converted(tmp_path, row | {"solution_target": target, "solution_original": original})
        assert sample.reward[0].target == {"wrong": "grey", "right": "red"}


def test_params_come_from_columns_and_constants(tmp_path) -> None:
    rows = [vqa("How long?", "3", slack=0.1), vqa("How far?", "4", slack=None)]
    first, second = converted(
        tmp_path, *rows, verifier="math", params={"tolerance": "slack"}, constants={"ordered": True}
    )
    assert first.reward[0].params == {"ordered": True, "tolerance": 0.1}
    assert second.reward[0].params == {"ordered": True}
    with pytest.raises(UserError, match=r"--params tolerance=slak: no column 'slak'; did you mean 'slack'"):
        converted(tmp_path, *rows, verifier="math", params={"tolerance": "slak"})


@pytest.mark.parametrize("schema", ["easyr1", "trl", "vqa", "ms_swift", "llava", "visual_rft"])
@pytest.mark.parametrize("wrapped", ["7", "<answer>7</answer>"])
def test_of_an_answer_and_a_worked_solution_the_answer_is_the_target(tmp_path, schema, wrapped) -> None:
    chat = [{"role": "user", "content": "How many?"}]
    prompts = {"trl": {"prompt": chat}, "vqa": {"question": "How many?"}, "ms_swift": {"messages": chat}}
    prompt = prompts.get(schema, {"conversations" if schema == "llava" else "problem": "How many?"})
    if schema == "llava":
        prompt = {"conversations": [{"from": "human", "value": "How many?"}]}
    row = prompt | {"answer": wrapped, "solution": "Three on the left and four on the right: $3 + 4 = 7$."}
    (sample,) = converted(tmp_path, row, schema=schema)
    assert sample.reward[0].target == "7"
    swapped = prompt | {"answer": row["solution"], "solution": wrapped}
    assert converted(tmp_path, swapped, schema=schema)[0].reward[0].target == "7"
    with pytest.raises(UserError, match=r"rows.jsonl:1: answer: .* differ, .*--map answer=COLUMN"):
        converted(tmp_path, prompt | {"answer": "7", "solution": "8"}, schema=schema)
    with pytest.raises(UserError, match="differ"):
        converted(tmp_path, prompt | {"answer": "A", "solution": "It has to be the second: \\boxed{B}"}, schema=schema)


def test_an_index_into_choices_beside_a_solution_is_the_choice(tmp_path) -> None:
    row = vqa("Which one?", 1, choices=["the cat", "the dog"], solution="The dog barks, and the cat does not.")
    (sample,) = converted(tmp_path, row)
    assert (sample.reward[0].verifier, sample.reward[0].target) == ("choice", "B")
    assert sample.messages[0].content == "<image>Which one?\nA. the cat\nB. the dog"


def test_choices_with_the_text_of_one_are_options(tmp_path) -> None:
    (sample,) = converted(tmp_path, vqa("Which one?", "the dog", choices=["the cat", "the dog"]))
    assert sample.reward[0].verifier == "choice"
    assert sample.messages[0].content.endswith("\nA. the cat\nB. the dog")
    assert score(sample, "B").score == 1.0
    assert score(sample, "A").score == 0.0


@pytest.mark.parametrize("answer", ["2019-03-04", "555-1234", "10:45", "007", "10:45 am", "03/04/2019"])
def test_dates_times_and_phone_numbers_are_texts(tmp_path, answer) -> None:
    assert converted(tmp_path, vqa("Which?", answer))[0].reward[0].verifier == "exact"
    assert converted(tmp_path, vqa("Which?", [answer, "4 March"]))[0].reward[0].verifier == "exact"
    assert converted(tmp_path, vqa("Which?", "100-20"))[0].reward[0].verifier == "math"
