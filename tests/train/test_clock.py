"""What a run with a time limit says of its speed."""

from __future__ import annotations

import pytest

from vlmrl.config.run import RunSettings
from vlmrl.train.clock import Pace


@pytest.mark.parametrize(
    ("each", "limit", "said"),
    [
        (1.2, 10, ["1.2 s a step: the 194 steps left take about 4 minutes"]),
        (0.3, 10, ["0.3 s a step: the 194 steps left take about 58 s"]),
        (9.0, 10, ["9.0 s a step: about 67 of 200 steps fit into run.max_minutes = 10; then it evaluates and reports"]),
        (9.0, None, []),
    ],
)
def test_the_first_steps_tell_how_long_the_run_takes(each: float, limit: float | None, said: list[str], monkeypatch):
    clock, lines = [0.0], []
    monkeypatch.setattr("vlmrl.train.clock.time.monotonic", lambda: clock[0])
    pace = Pace(RunSettings(name="x", steps=200, max_minutes=limit), 0.0, lines.append)
    for step in range(1, 20):
        clock[0] += each
        pace.observe(step)
    assert [line.split(",")[0] for line in lines] == said
