"""Caption answerability: what leaks, who replies, and what a failing endpoint leaves."""

from typing import Any

import pytest
from helpers.chat_server import ChatServer, Raw, switch_off, use

from vlmrl import catalog

captions = catalog.load("verifiers", "caption_answerability")
COUNT = {"question": "How many dogs are there?", "answer": 3, "verifier": "counting"}
CHOICE = {"question": "Which shape is red?", "answer": "B", "verifier": "choice"}


def score(caption: str, target: Any = COUNT, reply: str | None = "3") -> float | None:
    return captions.verify(f"<info>{caption}</info><think>hm</think><answer>9</answer>", target, reply=reply).score


@pytest.mark.parametrize("caption", [
    "Three dogs on a lawn.", "3 dogs, one of them black.", "Dogs:\n- a black one\n- a white one\n- a brown one",
    "A board says 'No solutions here'.", "A sign that costs 3.5 euros and 3 dogs.", "Two lines.\nThree dogs\nsit.",
    "Option A shows one dog, option B three.", "A question and answer session with 3 dogs.",
])  # fmt: skip
def test_a_description_may_hold_what_it_takes(caption: str) -> None:
    assert score(caption) == 1.0


@pytest.mark.parametrize(("caption", "target"), [
    ("Dogs. The answer is 3.", COUNT), ("Dogs. Answer: 3", COUNT), ("The answer to the question is 3", COUNT),
    ("The correct answer follows: three", COUNT), (r"Dogs. \boxed{3}", COUNT), ("<answer>3</answer>", COUNT),
    ("Black, white and brown ones, therefore 3.", COUNT), ("3", COUNT), ("Dogs.\n3\n", COUNT), ("Dogs. 3.", COUNT),
    ("Dogs. **3**", COUNT), ("Ｄogs. ３", COUNT), ("狗。答案：3", COUNT),
    ("B", CHOICE), ("A red cube. B.", CHOICE), ("A red cube.\n(B)", CHOICE), ("Option B is the red one.", CHOICE),
    ("A red cube. Answer B", CHOICE), ("It shows choice (B).", CHOICE), ("The right option comes second.", CHOICE),
    ("A red cube. A, C", CHOICE | {"answer": ["A", "C"]}), ("A red cube.\nC", CHOICE | {"answer": ["A", "C"]}),
])  # fmt: skip
def test_a_caption_that_hands_over_the_answer_earns_nothing(caption: str, target: Any) -> None:
    reply = "Answer: A, C" if isinstance(target["answer"], list) else str(target["answer"])
    assert score("A red cube beside three dogs.", target, reply) == 1.0
    verdict = captions.verify(f"<info>{caption}</info>", target, reply=reply)
    assert verdict.score == 0.0
    assert captions.question(f"<info>{caption}</info>", target) is None


@pytest.mark.parametrize("response", [
    "Three dogs. 3", "<info></info>3", "<info>Three dogs.", "Three dogs.</info>", "<info>a</info><info>b</info>",
    "</info>Three dogs.<info>", f"<info>{'dog ' * 3000}</info>",
])  # fmt: skip
def test_without_one_caption_nobody_is_asked(monkeypatch, response: str) -> None:
    switch_off(monkeypatch)
    verdict = captions.verify(response, COUNT)
    assert (verdict.score, verdict.status) == (0.0, "unparsed")
    assert captions.question(response, COUNT) is None


def test_the_policy_may_reply_and_is_judged_by_the_verifier() -> None:
    asked = captions.question("<info>Three\ndogs.</info><think>hidden</think><answer>hidden</answer>", COUNT)
    assert "How many dogs are there?" in asked
    assert "BEGIN\n| Three\n| dogs.\nEND" in asked
    assert "hidden" not in asked
    assert score("Three dogs.", reply="<answer>3</answer>") == 1.0
    for wrong in ("2", "2 or 3", "unknown", "", "<think>3"):
        assert score("Three dogs.", reply=wrong) == 0.0
    near = COUNT | {"answer": 100, "params": {"tolerance": 0.05}}
    assert score("A crowd of dogs.", near, reply="103") == 1.0


def test_else_the_endpoint_replies(monkeypatch) -> None:
    """It counts the dogs of the caption that it is given."""

    def count(prompt: str, _: int) -> str:
        return f"<answer>{prompt.partition('Description:')[2].count('dog')}</answer>"

    with ChatServer(count) as server:
        use(server, monkeypatch)
        assert score("A black dog, a white dog and a brown dog.", reply=None) == 1.0
        assert score("Some animals.", reply=None) == 0.0
        verdict = captions.verify("<info>dog</info>", COUNT)
        assert (verdict.score, verdict.answer, verdict.why) == (0.0, "dog", "from the caption: 1")
        asked = captions.question("<info>dog</info>", COUNT)
        assert asked == server.prompts[-1]


def test_nobody_to_ask_is_unscored(monkeypatch) -> None:
    with ChatServer(lambda *_: Raw(500)) as server:
        use(server, monkeypatch, retries=0)
        assert captions.verify("<info>dogs</info>", COUNT).status == "error"
    switch_off(monkeypatch)
    verdict = captions.verify("<info>dogs</info>", COUNT)
    assert (verdict.score, verdict.status) == (None, "error")
    assert "VLMRL_ENDPOINT_URL" in verdict.why


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("3", "incomplete"),
        ({"question": "?", "verifier": "counting"}, "incomplete"),
        (COUNT | {"question": " "}, "question ' '"),
        (COUNT | {"answer": "some"}, "not a count"),
        (COUNT | {"params": [1]}, "params"),
        (COUNT | {"params": {"tolerence": 1}}, "tolerence"),
        (COUNT | {"verifier": "countin"}, "did you mean 'counting'"),
        (COUNT | {"verifier": "judge", "answer": {"question": "?", "answer": "3"}}, "is not one of the toolkit's"),
    ],
)
def test_bad_targets_say_value_and_mend(target: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        captions.check_target(target)
    assert captions.verify("<info>dogs</info>", target, reply="3").status == "bad_target"
    assert captions.question("<info>dogs</info>", target) is None


def test_an_answer_that_no_caption_can_state_is_refused() -> None:
    with pytest.raises(ValueError, match="answer is"):
        captions.check_target({"question": "?", "answer": "the answer is 3", "verifier": "ocr"})
