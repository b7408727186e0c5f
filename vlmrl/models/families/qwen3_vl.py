"""Qwen3-VL: deepstack features, times as text; writes boxes in thousandths of the image.

arXiv 2511.21631. Patches of 16 pixels, 2 x 2 of them a token. Features of several layers of the vision tower enter
several layers of the language model (`deepstack_visual_indexes`), and the time of each frame stands in the prompt.
"""

from vlmrl.models.family import Family

FAMILY = Family(coords="relative_1000", times="text")
