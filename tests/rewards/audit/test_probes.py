"""The hack probes: none earns more than an honest blind guess; docs/probes.md says what each one earns."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from vlmrl import catalog
from vlmrl.reading import answers
from vlmrl.rewards.audit.blind_tasks import tasks
from vlmrl.rewards.audit.probes import Result, everything, measure, page
from vlmrl.rewards.calls import Call
from vlmrl.verdict import Verdict

PAGE = Path(__file__).resolve().parents[3] / "docs" / "probes.md"
ONLY_FORM = {"brevity_bonus", "format", "language_mix", "length", "repetition"}
"""Verifiers of the form of a response: any well-formed answer earns everything."""


slow = pytest.mark.slow


@pytest.fixture(scope="module")
def results() -> list[Result]:
    return everything()


@slow
def test_no_probe_earns_more_than_an_honest_blind_guess(results) -> None:
    leaks = {(r.task.verifier, r.task.about): {name: r.rewards[name] for name in r.leaks} for r in results}
    assert {task: found for task, found in leaks.items() if found} == {
        (r.task.verifier, r.task.about): {name: r.rewards[name] for name in r.leaks} for r in results if r.task.open
    }


@slow
def test_a_blind_guess_is_worth_something_and_not_everything(results) -> None:
    asks = {"judge", "caption_answerability"}
    for result in results:
        if result.task.verifier in ONLY_FORM:
            assert result.blind == 1.0
        elif result.task.verifier not in asks:
            assert 0.02 < result.blind < 0.75, (result.task.about, result.blind)


@slow
def test_the_page_is_what_the_code_gives(results) -> None:
    assert PAGE.read_text() == page(results), "python -m vlmrl.rewards.audit.probes > docs/probes.md"


@slow
@pytest.mark.parametrize("name", ["empty", "tags only", "unclosed thinking", "placeholder"])
def test_what_is_no_answer_earns_nothing(results, name: str) -> None:
    earned = {(r.task.verifier, r.task.about): r.rewards[name] for r in results if r.task.verifier not in ONLY_FORM}
    assert {task: reward for task, reward in earned.items() if reward} == {}


@pytest.mark.parametrize("name", ["choice", "counting", "exact", "math", "numeric", "relaxed", "yes_no"])
@pytest.mark.parametrize("hedge", [
    "{right} or {wrong}", "{wrong} or {right}", "either {wrong} or {right}", "{right}, maybe {wrong}",
    "{wrong}, maybe {right}", "{wrong}/{right}", "Answer: {wrong} or {right}", "It could be {wrong} or {right}.",
    "perhaps {right}, perhaps {wrong}", "between {wrong} and {right}", "\\boxed{{{wrong} or {right}}}",
])  # fmt: skip
def test_a_hedge_that_holds_the_right_answer_earns_nothing(name: str, hedge: str) -> None:
    module, task = catalog.load("verifiers", name), tasks(name)[0]
    for case in task.cases:
        gold = answers.extract(module.gold(case.target, **case.params))
        assert gold is not None
        right = gold.text.removeprefix("Answer: ")
        for wrong in [text for text in task.plain if text != right][:4]:
            said = hedge.format(right=right, wrong=wrong)
            assert module.verify(said, case.target, **case.params).score == 0.0, said


def test_tasks_are_the_same_each_time() -> None:
    for name in ("choice", "temporal_iou", "counting"):
        assert [task.cases for task in tasks(name)] == [task.cases for task in tasks(name)]


def contains_the_target(calls: Sequence[Call]) -> list[list[Verdict]]:
    """A lenient rule, as many released codes have it."""
    return [[Verdict(float(str(call.target) in call.members[0].response))] for call in calls]


def test_a_lenient_rule_is_found_out() -> None:
    leaks = measure(tasks("counting")[0], contains_the_target).leaks
    assert {"every answer", "two answers with or", "every answer in JSON", "unclosed thinking"} <= set(leaks)
    assert not {"empty", "placeholder", "yes and no"} & set(leaks)


def test_an_unknown_verifier_is_probed_with_the_targets_of_its_examples(tmp_path) -> None:
    path = tmp_path / "lenient.py"
    path.write_text(
        '"""Lenient."""\n'
        "from vlmrl.verdict import Example, Verdict\n"
        'EXAMPLES = [Example("red", "red", 1.0), Example("a dog", "red", 0.0), Example("blue", "blue", 1.0)]\n'
        "def check_target(target): pass\n"
        "def gold(target): return target\n"
        "def verify(response, target): return Verdict(float(target in response))\n"
    )
    catalog.add_verifiers(path)
    try:
        (task,) = tasks("lenient")
        assert task.golds == ["red", "blue"]
        found = measure(task)
        assert found.blind == 0.5
        assert found.rewards["two answers with or"] == 1.0
        assert "two answers with or" in found.leaks
    finally:
        del catalog._ADDED["lenient"]
        catalog.load.cache_clear()


@pytest.mark.parametrize("name", catalog.names("verifiers"))
def test_every_verifier_has_a_task(name: str) -> None:
    assert tasks(name)
    assert not tasks(name)[0].floor, f"{name}: add what its targets are like to vlmrl/rewards/audit/blind_tasks.py"
