"""The state of a run comes back from its files as it was, bit by bit."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.population import make_group

from vlmrl.curriculum import pack_groups, unpack_groups
from vlmrl.models.seeding import Generators
from vlmrl.rollout import Rollout
from vlmrl.sample import Media, MediaSet
from vlmrl.train.state_files import DTYPES, read_state, write_state
from vlmrl.verdict import Verdict


def round_trip(folder: Path, state: Any) -> Any:
    write_state(folder, state)
    return read_state(folder)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (2, 3)], ids=str)
def test_every_tensor_comes_back(tmp_path: Path, dtype: torch.dtype, shape: tuple[int, ...]):
    tensor = (100 * torch.rand(shape)).to(dtype)
    again = round_trip(tmp_path, {"odd": torch.ones(1, dtype=torch.uint8), "x": [tensor]})["x"][0]
    assert again.dtype == dtype
    assert torch.equal(again, tensor)


def test_what_json_has_not_comes_back(tmp_path: Path):
    state = {
        "keys": {0: {"step": torch.tensor(3.0)}, "a": None},
        "dollar": {"$tensor": "a user's own key"},
        "bytes": b"\x00\xff",
        "numbers": [0.1, float("inf"), -(2**70), True, np.float32(0.5), np.int64(7)],
        "text": "\ud800 \u2028",
        "columns": {"half": np.array([0.1, np.nan], np.float16), "key": np.array([2**64 - 1], np.uint64)},
        "view": torch.arange(6).reshape(2, 3).T,
        "one": np.broadcast_to(np.uint64(3), (1,)),
    }
    again = round_trip(tmp_path, state)
    for name in ("keys", "dollar", "bytes", "text"):
        assert again[name] == state[name]
    assert again["numbers"] == [0.1, float("inf"), -(2**70), True, 0.5, 7]
    for name, column in state["columns"].items():
        assert again["columns"][name].dtype == column.dtype
        np.testing.assert_array_equal(again["columns"][name], column)
    assert torch.equal(again["view"], state["view"])


def test_nothing_else_is_written(tmp_path: Path):
    with pytest.raises(TypeError):
        write_state(tmp_path, {"object": object()})


def test_generators_go_on_where_they_were(tmp_path: Path):
    state = round_trip(tmp_path, Generators().state_dict())
    drawn = random.random(), np.random.rand(), torch.rand(1).item()
    Generators().load_state_dict(state)
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == drawn


def test_pending_groups_come_back(tmp_path: Path):
    group = make_group(3, [1.0, None])
    media = MediaSet(images=(Media(path="named.png", data=b"\x89PNG"),))
    turn = group.sample.messages[0].model_copy(update={"content": "<image>?"})
    group.sample = group.sample.model_copy(update={"media": media, "messages": (turn,), "meta": {"$bytes": [1]}})
    group.rollouts[0] = Rollout((1, 2), (-0.1, float("-inf")), "\ud800", "length", 4, trained=(True, False))
    group.verdicts[0] = Verdict(0.1, parts={"iou": np.float32(0.25)}, answer="a")  # pyright: ignore
    (again,) = unpack_groups(round_trip(tmp_path, pack_groups([group])))
    assert (again.sample, again.rollouts, again.index) == (group.sample, group.rollouts, 3)
    assert again.verdicts == group.verdicts


def test_the_library_of_the_format_reads_the_file(tmp_path: Path):
    from safetensors import safe_open

    digests = write_state(tmp_path, {"weights": {"a.b": torch.ones(2, 2)}, "x": np.zeros(3, np.uint16)})
    with safe_open(tmp_path / "tensors.safetensors", "pt") as file:
        assert set(file.keys()) == {"weights/a.b", "x"}
        assert file.get_tensor("weights/a.b").tolist() == [[1, 1], [1, 1]]
    assert json.loads((tmp_path / "state.json").read_text())["x"] == {"$array": "x"}
    assert set(digests) == {"state.json", "tensors.safetensors"}
