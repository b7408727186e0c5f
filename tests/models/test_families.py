"""Families: a file for each supported model type, which says in what coordinates the model writes boxes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from vlmrl import UserError, catalog
from vlmrl.models.family_config import load_config
from vlmrl.reading.frames import COORDS

FAMILIES = catalog.names("families")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_a_model_type_of_transformers(family) -> None:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    assert family in CONFIG_MAPPING_NAMES
    assert catalog.load("families", family).COORDS in COORDS


def test_coordinates() -> None:
    """Boxes in pixels of the resized image are of Qwen2.5-VL alone."""
    assert [name for name in FAMILIES if catalog.load("families", name).COORDS == "pixels"] == ["qwen2_5_vl"]


def test_families_load_no_torch() -> None:
    code = "import sys; from vlmrl import catalog; [catalog.load('families', n) for n in catalog.names('families')]"
    done = subprocess.run([sys.executable, "-c", f"{code}; print('torch' in sys.modules)"], capture_output=True)
    assert done.stdout.strip() == b"False"


def test_another_model_is_refused_with_the_known_families(tmp_path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(UserError, match=f"is a 'bert' model, not a Qwen-VL one; supported: {', '.join(FAMILIES)}$"):
        load_config(str(tmp_path))
