"""What every verifier owes: its contract, as `vlmrl check` tries it, and a verdict for any text on any thread."""

import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmrl import catalog
from vlmrl.rewards.audit import contract
from vlmrl.verdict import Example, Verdict

NAMES = catalog.names("verifiers")
LONG = 200_000
NOISE = [
    *("", " ", "\0", "7" * 5000, "🙂" * 99, "[[{(", "1e999", "NaN", "-inf", "½²①", "</think>", "<answer>", "```"),
    *("[" * LONG, "{" * LONG, "\\boxed{" * (LONG // 7), "<think>" * (LONG // 7), "<answer>" * (LONG // 8)),
    *(" " * LONG, "1," * (LONG // 2), "A or " * (LONG // 5), "answer: " * (LONG // 8), "'" * LONG, "$" * LONG),
    *("[1,1,2,2]," * (LONG // 10), "\\boxed{1} and " * (LONG // 13), "twenty " * (LONG // 7), '{"a":' * (LONG // 5)),
    '[{"bbox_2d": [NaN, Infinity, 1e999, ' + "9" * 5000 + "]}]",
]


def verify(name: str, response: str, target: Any, **params: Any) -> Verdict:
    return catalog.load("verifiers", name).verify(response, target, **params)


def score(name: str, response: str, target: Any, **params: Any) -> float | None:
    return verify(name, response, target, **params).score


def examples(name: str) -> list[Example]:
    return catalog.load("verifiers", name).EXAMPLES


@pytest.mark.parametrize("name", NAMES)
def test_contract(name: str) -> None:
    assert not [*contract.form(name), *contract.behaviour(name)]


def test_each_has_a_test_file() -> None:
    files = {path.stem.removeprefix("test_") for path in Path(__file__).parent.glob("test_*.py")}
    assert files >= set(NAMES)


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
        assert verdict.score is not None, verdict.why


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
