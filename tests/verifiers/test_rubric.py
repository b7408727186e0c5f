"""The rubric: its formula, its phrases, and the criteria that a language model places."""

from typing import Any

import pytest
from helpers.chat_server import ChatServer, Raw, switch_off, use

from vlmrl import catalog

rubric = catalog.load("verifiers", "rubric")


def target(*criteria: dict[str, Any], gold: str = "gold") -> dict[str, Any]:
    return {"criteria": [{"name": f"c{number}"} | item for number, item in enumerate(criteria)], "gold": gold}


def score(response: str, *criteria: dict[str, Any]) -> float | None:
    return rubric.verify(response, target(*criteria)).score


def test_the_formula() -> None:
    """sum w min(s, c) / c over sum w, with s = 3/4, 1/2 and 1."""
    items = ({"contains": list("abcd"), "weight": 3}, {"contains": ["a", "x"], "weight": 2}, {"lacks": ["x"]})
    assert score("a b c", *items) == pytest.approx((3 * 0.75 + 2 * 0.5 + 1) / 6)
    saturated = (items[0] | {"saturation": 0.8}, items[1] | {"saturation": 0.25}, items[2])
    assert score("a b c", *saturated) == pytest.approx((3 * 0.75 / 0.8 + 2 + 1) / 6)
    assert rubric.verify("a b c", target(*saturated)).parts == {"c0": 0.75, "c1": 0.5, "c2": 1.0}


def test_a_veto_is_absolute() -> None:
    items = ({"contains": ["a"], "weight": 9}, {"contains": ["b", "c"], "weight": 0, "veto": 0.5})
    assert score("a b", *items) == 1.0
    verdict = rubric.verify("a", target(*items))
    assert (verdict.score, verdict.parts) == (0.0, {"c0": 1.0, "c1": 0.0})
    assert "veto: c1" in verdict.why


@pytest.mark.parametrize(("said", "phrase", "found"), [
    ("A RED  collar", "red collar", 1.0), ("a ｒｅｄ collar.", "red collar", 1.0), ("collared", "collar", 0.0),
    ("there is no red collar", "red collar", 0.0), ("It isn't a red collar", "red collar", 0.0),
    ("It isn’t a red collar", "red collar", 0.0), ("No. A red collar", "red collar", 1.0),
    ("no hat, but all of them wear a red collar", "red collar", 1.0), ("not a hat. red collar", "red collar", 1.0),
    ("never red collar; red collar", "red collar", 1.0), ("a+b", "a+b", 1.0), ("aab", "a+b", 0.0),
])  # fmt: skip
def test_what_counts_as_said(said: str, phrase: str, found: float) -> None:
    assert score(said, {"contains": [phrase]}) == found


def test_a_phrase_to_avoid_is_seen_in_every_form() -> None:
    for said in ("as an expert", "I am not speaking as an  EXPERT"):
        assert score(said, {"lacks": ["as an expert"]}) == 0.0
    assert score("as experts", {"lacks": ["as an expert"]}) == 1.0


def test_of_several_phrases_in_one_place_one_is_enough() -> None:
    item = {"contains": [["dog", "puppy"], "red collar"]}
    assert [score(said, item) for said in ("puppy", "dog, puppy", "red collar on a puppy")] == [0.5, 0.5, 1.0]
    assert score("a dog", {"contains": "dog"}) == 1.0


def test_a_verifier_judges_the_whole_response() -> None:
    item = {"verifier": "ocr", "target": "new york", "params": {"space": "ignore"}}
    assert score("<think>Paris</think><answer>newyork</answer>", item) == 1.0
    assert score("Paris, or new york", item) < 1.0


def test_empty_and_endless_answers_meet_no_criterion() -> None:
    for response in ("", "<think>fine", "<answer> </answer>", "word " * 10_000):
        assert score(response, {"lacks": ["x"]}) == 0.0


TONE = {"ask": "How friendly is the text?", "tiers": ["rude", "neutral", "warm"], "weight": 3}


@pytest.mark.parametrize(("reply", "tier"), [("It greets.\n2", 1.0), ("1", 0.5), ("**0**", 0.0)])
def test_a_model_places_the_answer_at_a_tier(monkeypatch, reply: str, tier: float) -> None:
    with ChatServer(lambda *_: reply) as server:
        use(server, monkeypatch)
        assert score("<think>secret</think>hello\n2", TONE, {"contains": ["hello"]}) == pytest.approx(
            (3 * tier + 1) / 4
        )
    assert len(server.requests) == 1
    for part in ("How friendly is the text?", "0: rude\n1: neutral\n2: warm\n", "BEGIN\n| hello\n| 2\nEND"):
        assert part in server.prompts[0]
    assert "secret" not in server.prompts[0]


@pytest.mark.parametrize("reply", ["3", "1 or 2", "1\n2", "-1", ".1", "warm", Raw(500), Raw(401)])
def test_no_tier_is_no_score(monkeypatch, reply: Any) -> None:
    with ChatServer(lambda *_: reply) as server:
        use(server, monkeypatch, retries=0)
        verdict = rubric.verify("hello", target(TONE, {"contains": ["hello"]}))
    assert (verdict.score, verdict.status) == (None, "error")


def test_a_failed_veto_costs_no_request(monkeypatch) -> None:
    switch_off(monkeypatch)
    items = (TONE, {"lacks": ["x"], "veto": 1})
    assert score("x", *items) == 0.0
    verdict = rubric.verify("y", target(*items))
    assert verdict.status == "error"
    assert "VLMRL_ENDPOINT_URL" in verdict.why
    assert score("gold", *items) == 1.0, "the gold needs no judge"


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"criteria": []}, "not a rubric"),
        ({"criteria": [{"name": "a", "contains": ["b"]}]}, "not a rubric"),
        (target({}), "name and one of contains, lacks, verifier, ask"),
        (target({"contains": ["a"], "lacks": ["b"]}), "one of"),
        (target({"contains": {"gold": 1}}), "contains.*give a list"),
        (target({"lacks": [["a", "b"]]}), "lacks.*give a list"),
        (target({"contains": [" "]}), "contains"),
        (target({"contains": ["gold"], "weight": -1}), "weight '-1'"),
        (target({"contains": ["gold"], "weight": 0}), "weight 0 together"),
        (target({"contains": ["gold"], "veto": True}), "veto 'True'"),
        (target({"contains": ["gold"], "saturation": 0}), "saturation '0'"),
        (target({"contains": ["gold"], "name": "x"}, {"lacks": ["a"], "name": "x"}), "its own"),
        (target({"ask": "Is it?", "tiers": ["one"]}), "tiers.*2 to 99"),
        (target({"verifier": "countin", "target": 3}), "did you mean 'counting'"),
        (target({"verifier": "counting", "target": "many"}), "'many' is not a count"),
        (target({"verifier": "counting", "target": 3, "params": {"tolerence": 1}}), "tolerence"),
        (target({"verifier": "rubric", "target": {}}), "is not one of the toolkit's"),
        (target({"verifier": "judge", "target": {}}), "is not one of the toolkit's"),
    ],
)
def test_bad_rubrics_say_what_to_mend(bad: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        rubric.check_target(bad)
    assert rubric.verify("gold", bad).status == "bad_target"


def test_a_gold_that_the_rules_refuse_is_found_before_training() -> None:
    for contradictory in (
        target({"contains": ["dog"]}, {"lacks": ["dog"]}, gold="a dog"),
        target({"verifier": "counting", "target": 3}, gold="4"),
        target({"contains": ["dog"]}, gold="<answer>dog</answer>"),
    ):
        with pytest.raises(ValueError, match="gold"):
            rubric.check_target(contradictory)
