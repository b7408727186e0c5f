"""The prompt memory: what it learns, in a checkpoint, in a file, and as the grades of another run."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.population import make_group

from vlmrl.config.data import Source
from vlmrl.curriculum import memory as memory_module
from vlmrl.curriculum.memory import PromptMemory, content_keys
from vlmrl.data.dataset import open_dataset
from vlmrl.errors import UserError
from vlmrl.rollout.group import Group


def memory_of(prompts: int, pass_score: float | None = None) -> PromptMemory:
    return PromptMemory(np.zeros(prompts, np.int16), ("a",), pass_score)


def test_a_visit_is_remembered() -> None:
    memory = memory_of(3)
    memory.observe([make_group(1, [1.0, 0.0, None, 0.5], version=4, length=7), make_group(2, [None, None])])
    one = np.array([1])
    assert memory.visits_N.tolist() == [0, 1, 0]
    assert memory.pass_rate(np.arange(3)) == pytest.approx([np.nan, 0.5, np.nan], nan_ok=True)
    assert memory.spread(one)[0] == pytest.approx(np.std([1, 0, 0.5]), abs=1e-3)
    assert (memory.length(one)[0], memory.version_N[1]) == (7, 4)


def test_a_demonstration_says_nothing_of_the_policy() -> None:
    """But it tells the group's answers apart."""
    memory, shown = memory_of(1), make_group(0, [0.0, 0.0, 1.0])
    shown.rollouts[2] = replace(shown.rollouts[2], kind="demo", logprobs=())
    memory.observe([shown])
    assert (memory.last_N[0], memory.reward_N[0], memory.spread_N[0]) == (0, 0, 0)
    assert memory.flat_visits(np.array([0]))[0] == 0


def test_a_pass_score_makes_pass_rates_of_graded_scores() -> None:
    memory = memory_of(1, pass_score=0.5)
    memory.observe([make_group(0, [0.5, 0.6, 0.4, 0.0])])
    assert memory.last_N[0] == 0.5
    assert memory.reward_N[0] == np.float16(0.375)


def test_flat_visits_are_counted_in_a_row() -> None:
    memory = memory_of(1)
    counts = []
    for scores in ([1, 1], [1, 1], [1, 0], [0.1, 0.1, 0.1], [0, 0]):
        memory.observe([make_group(0, scores)])
        counts.append(int(memory.flat_visits(np.array([0]))[0]))
    assert counts == [1, 2, 0, 1, 2]


def test_a_flat_grade_is_a_flat_visit_until_the_first_visit() -> None:
    memory, one = memory_of(1), np.array([0])
    memory.graded_spread_N[:] = 0
    counts = [int(memory.flat_visits(one)[0])]
    for _ in range(2):
        memory.observe([make_group(0, [1, 1])])
        counts.append(int(memory.flat_visits(one)[0]))
    assert counts == [1, 1, 2]


def test_a_group_that_a_hook_keeps_out_of_the_update_has_its_spread() -> None:
    memory, group = memory_of(1), make_group(0, [1, 0, 1, 0])
    group.dropped = True
    memory.observe([group])
    assert (memory.spread_N[0], memory.flat_visits_N[0]) == (0.5, 0)


def test_counters_do_not_run_over() -> None:
    memory = memory_of(1)
    memory.visits_N[:], memory.flat_visits_N[:] = 2**16 - 1, 255
    memory.observe([make_group(0, [1, 1])])
    assert (memory.visits_N[0], memory.flat_visits_N[0]) == (2**16 - 1, 255)


def test_a_checkpoint_holds_the_known_rows_and_nothing_else() -> None:
    memory = memory_of(1000)
    memory.graded_pass_rate_N[7] = 0.25
    memory.observe([make_group(5, [1, 0])])
    state = memory.state_dict()
    assert state["index"].tolist() == [5, 7]
    again = memory_of(1000)
    again.load_state_dict(state)
    for name, column in vars(memory).items():
        if name.endswith("_N"):
            np.testing.assert_array_equal(column, getattr(again, name))


def test_ten_million_prompts_take_43_bytes_each() -> None:
    memory = memory_of(1000)
    assert sum(column.nbytes for name, column in vars(memory).items() if name.endswith("_N")) == 43_000


def test_a_history_serves_another_order_and_a_part_of_the_data(tmp_path) -> None:
    data = open_dataset([Source(recipe="synthetic", n=6, sources=("ocr", "counting"))], tmp_path / "data")
    memory = PromptMemory(*data.sources())
    rates = np.arange(12) / 12
    for i in range(10):  # two are never visited
        group = make_group(i, [rates[i]] * 2, length=i + 1)
        memory.observe([Group(data[i], group.prompt, group.rollouts, group.verdicts, index=i)])
    assert memory.export(tmp_path / "history.parquet") == 10
    table = pq.read_table(tmp_path / "history.parquet").to_pydict()
    assert table["key"] == [data[i].key[:16] for i in range(10)]
    assert table["source"] == [data[i].source for i in range(10)]

    order = [11, 8, 3, 0, 10]
    other = memory_of(5)
    assert other.load_grades([str(tmp_path / "history.parquet")], content_keys(data[i] for i in order)) == 3
    expected = [np.nan, rates[8], rates[3], rates[0], np.nan]
    assert other.pass_rate(np.arange(5)) == pytest.approx(expected, abs=1e-3, nan_ok=True)
    assert other.length(np.arange(5)) == pytest.approx([np.nan, 9, 4, 1, np.nan], nan_ok=True)
    assert other.flat_visits(np.arange(5)).tolist() == [0, 1, 1, 1, 0]


def test_grades_of_several_models_are_averaged(tmp_path) -> None:
    data = open_dataset([Source(recipe="synthetic", n=2, sources=("ocr",))], tmp_path / "data")
    for name, rate in (("weak", 0.0), ("strong", 0.5)):
        memory = PromptMemory(*data.sources())
        for i in range(1 if name == "weak" else 2):
            group = make_group(i, [rate, rate])
            memory.observe([Group(data[i], group.prompt, group.rollouts, group.verdicts, index=i)])
        memory.export(tmp_path / f"{name}.parquet")
    graded = memory_of(2)
    graded.load_grades([str(tmp_path / f"{name}.parquet") for name in ("weak", "strong")], content_keys(data))
    assert graded.pass_rate(np.arange(2)).tolist() == [0.25, 0.5]


def write_history(path: Path, keys: list[str], rates: list[float]) -> str:
    pq.write_table(pa.table({"key": keys, "pass_rate": rates, "spread": rates, "length": rates}), path)
    return str(path)


@pytest.mark.parametrize("batch", [2, 100])
def test_prompts_and_rows_may_occur_twice(tmp_path, monkeypatch, batch) -> None:
    """Both prompts get the grade; rows of a file are averaged first, then files."""
    monkeypatch.setattr(memory_module, "BATCH", batch)
    monkeypatch.setattr(memory_module, "CHUNK", 3)
    a, b, c, elsewhere = "ffffffffffffffff", "0000000000000000", "000000000000000a", "7000000000000000"
    first = write_history(tmp_path / "1.parquet", [a, elsewhere, b, a, a], [1.0, 0.5, 0.25, 0.25, 0.25])
    second = write_history(tmp_path / "2.parquet", [elsewhere, a], [0.5, 1.0])
    memory = memory_of(5)
    key_N = np.array([int(key, 16) for key in (a, c, b, a, c)], np.uint64)
    assert memory.load_grades([first, second], key_N) == 3
    for graded in (memory.graded_pass_rate_N, memory.graded_spread_N, memory.graded_length_N):
        assert graded.tolist() == pytest.approx([0.75, np.nan, 0.25, 0.75, np.nan], nan_ok=True)


def test_a_history_is_read_batch_by_batch(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(memory_module, "BATCH", 1000)
    rows = 50_000
    path = write_history(tmp_path / "large.parquet", [f"{key:016x}" for key in range(rows)], [0.5] * rows)
    memory = memory_of(1)
    key_N = np.array([rows - 1], np.uint64)
    tracemalloc.start()
    try:
        assert memory.load_grades([path], key_N) == 1
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 * rows, "not even the text of all keys is held at once"


def test_wrong_histories_are_refused(tmp_path) -> None:
    wrong = write_history(tmp_path / "wrong.parquet", ["row-0"], [0.5])
    with pytest.raises(UserError, match=r"wrong\.parquet: not a history of prompts \(.*'row-0'\); write it with"):
        memory_of(1).load_grades([wrong], np.array([1], np.uint64))
    pq.write_table(pa.table({"key": ["0" * 16], "pass_rate": [0.5], "length": [1.0]}), wrong)
    with pytest.raises(UserError, match=r"wrong\.parquet: not a history of prompts \(it has no column 'spread'\)"):
        memory_of(1).load_grades([wrong], np.array([1], np.uint64))
    for key, rate in (("f" * 32, 0.5), ("-1", 0.5), ("0" * 16, "half")):
        pq.write_table(pa.table({"key": [key], "pass_rate": [rate], "spread": [0.1], "length": [1.0]}), wrong)
        with pytest.raises(UserError, match=r"wrong\.parquet: not a history of prompts"):
            memory_of(1).load_grades([wrong], np.array([0], np.uint64))
    with pytest.raises(UserError, match="not a history of prompts"):
        memory_of(1).load_grades([str(tmp_path / "none.parquet")], np.array([1], np.uint64))
    memory_of(1).export(tmp_path / "empty.parquet")
    with pytest.raises(UserError, match="holds no prompts"):
        memory_of(1).load_grades([str(tmp_path / "empty.parquet")], np.array([1], np.uint64))
    memory = memory_of(1)
    memory.observe([make_group(0, [1, 0])])
    memory.export(tmp_path / "other.parquet")
    with pytest.raises(UserError, match=r"knows none of the prompts in data\.train"):
        memory_of(1).load_grades([str(tmp_path / "other.parquet")], np.array([1], np.uint64))
