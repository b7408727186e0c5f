"""vlmrl bench verifiers: half of the answers are right, and the speeds have the form that was promised."""

from __future__ import annotations

import json

import pytest

from vlmrl.bench import verifiers
from vlmrl.cli import main
from vlmrl.rewards.composite import run_calls


def test_the_speed_of_a_verifier(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(verifiers, "ROUNDS", 1)
    assert main(["bench", "verifiers", "exact", "ocr", "--json"]) == 0
    told = {row.pop("verifier"): row for row in json.loads(capsys.readouterr().out)}
    assert list(told) == ["exact", "ocr"]
    assert told["exact"]["direct_call_per_second"] is None
    for row in told.values():
        cost = row["isolation_cost"]
        assert row["per_second_isolated"] == pytest.approx((1 - cost) * row["per_second"])


@pytest.mark.parametrize("name", ["math", "exact"])
def test_the_answers_it_is_measured_with_are_right_and_wrong(name: str) -> None:
    scores = [verdict.score for verdicts in run_calls(verifiers._batch(name)) for verdict in verdicts]
    assert len(scores) == verifiers.BATCH
    assert 0.25 < sum(score == 1.0 for score in scores) / len(scores) < 0.75
