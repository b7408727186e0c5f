"""The geometries of the benches."""

from __future__ import annotations

import torch
from transformers import Qwen2_5_VLForConditionalGeneration

from vlmrl.bench.geometry import config_of
from vlmrl.models import tiny


def test_the_3b_model_has_the_parameters_of_the_published_one() -> None:
    """Those of Qwen/Qwen2.5-VL-3B-Instruct, its tied output head counted once."""
    with torch.device("meta"):
        model = Qwen2_5_VLForConditionalGeneration(config_of(tiny.FOLDER, "random-3b"))
    assert sum(parameter.numel() for parameter in model.parameters()) == 3_754_622_976
