"""Random generators: a restored state continues every one of them."""

from __future__ import annotations

import random

import numpy as np
import torch

from vlmrl.models.seeding import Generators, seed_everything


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), torch.rand(1).item()


def test_every_random_generator_continues():
    seed_everything(5)
    state = Generators().state_dict()
    drawn = [draw(), draw()]
    Generators().load_state_dict(state)
    assert drawn == [draw(), draw()]
    torch.use_deterministic_algorithms(False)
