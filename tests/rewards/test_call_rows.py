"""Rows of `vlmrl score`: calls, and whole rewards as data sets and stored rollouts have them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vlmrl.errors import UserError
from vlmrl.files import json_line
from vlmrl.rewards import call_rows
from vlmrl.rewards.call_rows import score_file, score_rows
from vlmrl.rewards.calls import run_calls

SHORT = [
    {"verifier": "counting", "target": 3},
    {"verifier": "brevity_bonus", "weight": 0.5, "params": {"least": 0}},
]


def row(response: str, reward: Any = None, **fields: Any) -> dict[str, Any]:
    reward = reward or [{"verifier": "counting", "target": 3, "params": {"tolerance": 0.5}}]
    prompt = {"id": "a", "source": "s", "messages": [{"role": "user", "content": "How many?"}]}
    return prompt | {"response": response, "reward": reward} | fields


def scores(*rows: dict[str, Any]) -> list[float | None]:
    judged = score_rows([(f"row {n}", row) for n, row in enumerate(rows)], run_calls)
    return [row["score"] for row in judged]


def test_a_row_of_a_data_set_is_judged_by_its_whole_reward() -> None:
    layout = {"verifier": "format", "target": "answer", "weight": 0.5}
    both = [{"verifier": "counting", "target": 3}, layout]
    assert scores(row("<answer>3</answer>", both), row("3", both)) == [1.0, pytest.approx(2 / 3)]


def test_fields_may_be_json_as_parquet_has_them() -> None:
    stored = {name: json.dumps(value) if isinstance(value, list) else value for name, value in row("4").items()}
    assert scores(stored | {"image": b"png", "step": 3}) == [1.0]
    (judged,) = score_rows([("row", stored | {"image": b"png"})], run_calls)
    assert "image" not in judged
    json_line(judged)


def test_rows_of_one_prompt_and_step_are_a_group() -> None:
    long, short = ("Let me count. " * 30 + "3", "3")
    together = scores(row(long, SHORT, step=1), row(short, SHORT, step=1))
    apart = scores(row(long, SHORT, step=1), row(short, SHORT, step=2))
    assert together[0] < together[1]
    assert apart[0] == apart[1]


def test_calls_and_whole_rewards_may_stand_in_one_file() -> None:
    call = {"id": 1, "verifier": "counting", "response": "4", "target": 3}
    assert scores(call, row("3"), call, row("9")) == [0.0, 1.0, 0.0, 0.0]


def test_a_stream_is_cut_between_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_rows, "BATCH", 3)
    texts = [text for _ in range(5) for text in ("Let me count. " * 30 + "3", "3")]
    rows = [row(text, SHORT, step=n // 2) for n, text in enumerate(texts)]
    (tmp_path / "rows.jsonl").write_bytes(b"".join(map(json_line, rows)))
    assert score_file(str(tmp_path / "rows.jsonl"), str(tmp_path / "out.jsonl"), run_calls) == 10
    judged = [json.loads(line)["score"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert judged == scores(*rows)
    assert len({*judged[::2]}) == len({*judged[1::2]}) == 1


@pytest.mark.parametrize(("broken", "says"), [
    ({"response": 3}, "row: response: expected text, got 3"),
    ({"reward": "[{"}, "row: reward: not JSON"),
    ({"reward": [{"verifier": "countin", "target": 3}]}, "row: reward.0: unknown verifier 'countin'"),
    ({"reward": [{"verifier": "counting", "target": "many"}]}, "row: reward.0: counting: target 'many'"),
    ({"messages": "hello"}, "row: messages: not JSON"),
    ({"reward": []}, "row: reward: "),
    ({"tokens": -5}, "row: tokens: expected a number of tokens, 0 or more, got -5"),
])  # fmt: skip
def test_what_is_wrong_is_named(broken: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError) as caught:
        score_rows([("row", row("3") | broken)], run_calls)
    assert str(caught.value).startswith(says)


def test_members_of_a_group_have_a_length() -> None:
    members = [{"response": "3", "tokens": -1}, {"response": "3", "tokens": 4}]
    with pytest.raises(UserError, match=r"row: members.0.tokens: expected a number of tokens, 0 or more, got -1"):
        score_rows([("row", {"id": 1, "verifier": "brevity_bonus", "members": members})], run_calls)
