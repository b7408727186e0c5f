"""Families: a file for each supported model type, which says what is particular to it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from vlmrl import UserError, catalog
from vlmrl.models.family import Family, family_of, load_config
from vlmrl.reading.frames import COORDS

FAMILIES = catalog.names("families")


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_a_model_type_of_transformers(name: str) -> None:
    import transformers
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    family = catalog.load("families", name).FAMILY
    assert name in CONFIG_MAPPING_NAMES
    assert isinstance(family, Family)
    assert family_of(name) is family
    assert family.coords in COORDS
    assert hasattr(transformers, family.auto)


def test_coordinates() -> None:
    """Boxes in pixels of the resized image are of Qwen2.5-VL, and of Qwen2.5-Omni, which has its vision tower."""
    assert [name for name in FAMILIES if family_of(name).coords == "pixels"] == ["qwen2_5_omni", "qwen2_5_vl"]


def test_families_load_no_torch() -> None:
    code = "import sys; from vlmrl import catalog; [catalog.load('families', n) for n in catalog.names('families')]"
    done = subprocess.run([sys.executable, "-c", f"{code}; print('torch' in sys.modules)"], capture_output=True)
    assert done.stdout.strip() == b"False"


def test_another_model_is_refused_with_the_known_families(tmp_path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(UserError, match=f"model.path '.*': is a 'bert' model; supported: {', '.join(FAMILIES)}$"):
        load_config(str(tmp_path))
