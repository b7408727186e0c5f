"""Hooks by themselves: GHPO's and Guide's decisions, what `apply_hooks` makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from helpers.population import make_group
from pydantic import ValidationError

from vlmrl import catalog
from vlmrl.config.rollout import RolloutSettings
from vlmrl.errors import UserError
from vlmrl.monitor.metrics import verdict_metrics
from vlmrl.rewards.composite import Answered, score_groups
from vlmrl.rollout import Rollout, hook
from vlmrl.rollout.group import Group
from vlmrl.rollout.hook import Decision, Regenerate
from vlmrl.rollout.hooks import force_answer, ghpo, guide
from vlmrl.sample import Media, MediaSet, Message, RewardSpec, Sample
from vlmrl.verdict import Member

SOLUTION = "abcdefghij"
"""Its first 25, 50 and 75 % are 2, 5 and 7 characters."""


def sample(**meta: Any) -> Sample:
    turns = (Message(role="user", content="how many?"), Message(role="assistant", content="3"))
    return Sample(id="s", source="s", messages=turns, reward=(RewardSpec(verifier="counting", target=3),), meta=meta)


def group(scores: Sequence[float | None], of: Sample | None = None, earlier: Sequence[Group] = ()) -> Group:
    made = make_group(7, scores)
    made.sample, made.earlier = of or sample(solution=SOLUTION, hint="count twice"), list(earlier)
    return made


def hint_of(decision: Decision) -> str:
    assert isinstance(decision, Regenerate)
    return decision.sample.prompt[-1].content.removeprefix("how many?")


# --- GHPO -------------------------------------------------------------------------------------------------


def test_ghpo_gives_a_quarter_then_a_half_then_three_quarters_of_the_solution() -> None:
    settings = ghpo.Settings(template="|{hint}|")
    attempts: list[Group] = []
    for beginning in ("|ab|", "|abcde|", "|abcdefg|"):
        wrong = group([0.0] * 8, earlier=attempts)
        decision = ghpo.decide(wrong, 1, settings)
        assert hint_of(decision) == beginning
        assert isinstance(decision, Regenerate)
        assert decision.train_on == "hinted"
        attempts = wrong.attempts
    assert ghpo.decide(group([0.0] * 8, earlier=attempts), 1, settings) == "keep"


def test_ghpo_helps_only_where_all_that_was_scored_is_wrong() -> None:
    settings = ghpo.Settings(start_step=5)
    assert isinstance(ghpo.decide(group([0.0, None, 0.0]), 5, settings), Regenerate)
    for scores in ([0.0, 0.0, 1.0], [1.0, 1.0], [0.0, 0.1], [None, None]):
        assert ghpo.decide(group(scores), 5, settings) == "keep"
    assert ghpo.decide(group([0.0, 0.0]), 4, settings) == "keep"
    assert ghpo.decide(group([0.0, 0.0], of=sample()), 5, settings) == "keep"
    # Format earns half of what accuracy does: a score of up to a third is wrong in their reward.
    assert isinstance(ghpo.decide(group([0.0, 1 / 3]), 5, ghpo.Settings(wrong_at=1 / 3)), Regenerate)


# --- Guide ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mean", "decision"), [(0.0, "hint"), (0.001, "hint"), (0.0011, "keep"), (1.0, "keep")])
def test_guide_hints_where_the_mean_is_at_most_a_thousandth(mean, decision) -> None:
    found = guide.decide(group([mean] * 4), 1, guide.Settings())
    if decision == "keep":
        assert found == "keep"
    else:
        assert hint_of(found) == "\n\nHint: count twice"
        assert isinstance(found, Regenerate)
        assert found.train_on == "clean"


@pytest.mark.parametrize(
    ("scores", "decision"),
    [
        ([0.0] * 8, "drop"),
        ([0.001] * 8, "drop"),
        ([0.0] * 7 + [1.0], "keep"),
        ([1.0] * 7 + [0.0], "keep"),
        ([0.999] * 8, "drop"),
        ([1.0] * 8, "drop"),
        ([None] * 8, "drop"),
    ],
)
def test_guide_keeps_hinted_groups_inside_the_open_interval(scores, decision) -> None:
    assert guide.decide(group(scores, earlier=[group([0.0] * 8)]), 1, guide.Settings()) == decision


def test_guide_without_a_hint_keeps() -> None:
    assert guide.decide(group([0.0] * 4, of=sample(hint="")), 1, guide.Settings()) == "keep"
    with pytest.raises(UserError, match=r"sample 's': meta.hint is 3, not a text"):
        guide.decide(group([0.0] * 4, of=sample(hint=3)), 1, guide.Settings())


# --- hints ------------------------------------------------------------------------------------------------


def test_a_hint_goes_to_the_last_turn_of_the_user_and_brings_no_media() -> None:
    turns = [("user", "<image>what?"), ("assistant", "a cat"), ("user", "why?"), ("assistant", "because")]
    clean = Sample(
        id="s",
        source="s",
        messages=tuple(Message(role=role, content=text) for role, text in turns),  # pyright: ignore[reportArgumentType]
        media=MediaSet(images=(Media(data=b"x"),)),
        reward=(RewardSpec(verifier="counting", target=3),),
    )
    key = clean.key
    found = hook.with_hint(clean, " Think of {hint}.", "<image>its ears")
    assert [m.content for m in found.messages] == ["<image>what?", "a cat", "why? Think of its ears.", "because"]
    assert found.media == clean.media
    assert found.key != key == clean.key


# --- settling ---------------------------------------------------------------------------------------------


class Answers:
    """Groups whose scores are given beforehand, and what they were asked."""

    def __init__(self, *scores: Sequence[float]) -> None:
        self.scores = list(scores)
        self.asked: list[list[str]] = []

    def __call__(self, samples: Sequence[Sample], indices: Sequence[int]) -> list[Group]:
        self.asked.append([s.prompt[-1].content for s in samples])
        found = [make_group(index, self.scores.pop(0)) for index in indices]
        for made, of in zip(found, samples, strict=True):
            made.sample = of
        return found


def test_settling_with_ghpo_goes_on_until_one_answer_is_right() -> None:
    settings = RolloutSettings(hooks=("ghpo",), ghpo=ghpo.Settings(template="|{hint}|"))
    groups = [group([0.0, 1.0]), group([0.0, 0.0]), group([1.0, 1.0]), group([0.0, 0.0])]
    answers = Answers([0.0, 1.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0])
    settled = hook.apply_hooks(groups, settings, 1, answers)
    assert answers.asked == [["how many?|ab|"] * 2, ["how many?|abcde|"], ["how many?|abcdefg|"]]
    assert settled[0] is groups[0]
    assert settled[2] is groups[2]
    assert settled[1].scores == [0.0, 1.0]
    assert settled[1].sample.prompt[-1].content == "how many?|ab|"
    assert settled[1].earlier == [groups[1]]
    assert [g.sample.prompt[-1].content for g in settled[3].attempts] == [
        "how many?",
        "how many?|ab|",
        "how many?|abcde|",
        "how many?|abcdefg|",
    ]
    paid = [attempt for g in settled for attempt in g.attempts]
    assert len(paid) == len(groups) + 4
    assert hook.metrics(paid) == {"hooks/regenerated": 4, "hooks/dropped": 0, "hooks/forced": 0}
    assert all(r.kind == "policy" for g in paid for r in g.rollouts)


def test_settling_with_guide_trains_the_clean_prompt_and_drops_what_does_not_teach() -> None:
    groups = [group([0.0, 0.0]), group([0.0, 0.0]), group([1.0, 1.0])]
    settled = hook.apply_hooks(groups, RolloutSettings(hooks=("guide",)), 1, Answers([0.0, 1.0], [1.0, 1.0]))
    assert [g.dropped for g in settled] == [False, True, False]
    assert [g.has_spread for g in settled] == [True, False, False]
    assert settled[0].sample is groups[0].sample
    assert settled[0].prompt is groups[0].prompt
    assert {r.kind for r in settled[0].rollouts} == {"hint"}
    assert {r.kind for r in groups[0].rollouts} == {"policy"}


def test_without_hooks_nothing_is_asked() -> None:
    groups = [group([0.0, 0.0])]
    assert hook.apply_hooks(groups, RolloutSettings(), 1, Answers()) == groups


def test_a_decision_that_does_not_exist_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(guide, "decide", lambda group, step, own: "dropp")
    with pytest.raises(UserError, match="a hook decided 'dropp'; return 'keep', 'drop' or a Regenerate"):
        hook.apply_hooks([group([0.0, 1.0])], RolloutSettings(hooks=("guide",)), 1, Answers())


# --- force answering --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "finish", "cut"),
    [
        ("<think>one, two", "length", True),
        ("<think>one</think> so it is", "length", True),
        ("<think>is it <answer>2</answer>? no", "length", True),
        ("it may be", "length", True),
        ("<think>one</think><answer>1", "length", False),
        (r"<think>one</think>\boxed{1} as", "length", False),
        ("<think>one", "stop", False),
    ],
)
def test_only_what_was_cut_before_its_answer_is_continued(text, finish, cut) -> None:
    assert force_answer._is_cut(Rollout((1,), (0.0,), text, finish, 0)) is cut


# --- skipped thoughts -------------------------------------------------------------------------------------


def test_the_share_of_skipped_thoughts_is_a_metric() -> None:
    """Of TON's rollouts, those whose thought is white space alone."""
    parts = ({"verifier": "counting", "target": 3}, {"verifier": "format", "target": "think_answer", "weight": 0.5})
    asked = sample().model_copy(update={"reward": tuple(RewardSpec.model_validate(part) for part in parts)})
    answer = "<answer>3</answer>"
    said = ["<think>\n\n</think>" + answer, "<think>1, 2, 3</think>" + answer, "<think> </think>" + answer, answer]
    (verdicts,) = score_groups([Answered(asked, [Member(text) for text in said])])
    assert verdict_metrics(verdicts)["part/format/skipped_thought"] == 0.5


# --- settings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: RolloutSettings(hooks=("gpho",)), "unknown hook 'gpho'; did you mean 'ghpo'"),
        (lambda: guide.Settings(template="think"), "pattern"),
    ],
)
def test_wrong_names_and_templates_are_refused(make, complaint) -> None:
    with pytest.raises(ValidationError, match=complaint):
        make()


def test_every_hook_is_of_one_kind() -> None:
    kinds = ("decide", "wrap")
    found = {name: [k for k in kinds if hasattr(catalog.load("hooks", name), k)] for name in catalog.names("hooks")}
    assert found == {
        "force_answer": ["wrap"],
        "ghpo": ["decide"],
        "guide": ["decide"],
    }
