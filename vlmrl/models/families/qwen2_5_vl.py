"""Qwen2.5-VL: windows in the vision tower, times in the positions; writes boxes in pixels of the resized image.

arXiv 2502.13923. Patches of 14 pixels, 2 x 2 of them a token. The processor gives `second_per_grid_ts`, the seconds
between the frames of a video, for the temporal positions.
"""

from dataclasses import replace

from vlmrl.models.family import IMAGE, VIDEO, Family

FAMILY = Family(
    coords="pixels",
    times="positions",
    kinds=(IMAGE, replace(VIDEO, others=("second_per_grid_ts",))),
)
