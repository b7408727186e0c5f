"""What the benches measure, made small."""

from __future__ import annotations

from pathlib import Path

from vlmrl.bench.geometry import Geometry


def small(model: Path) -> Geometry:
    """Two groups of three completions of six tokens to a prompt with an image."""
    return Geometry(str(model), 30, (56, 84), completion=6, group=3, groups=2)
