"""Qwen2-VL: images of any resolution; writes boxes in thousandths of the image.

arXiv 2409.12191. Patches of 14 pixels, 2 x 2 of them a token; multimodal rotary positions count frames.
"""

from vlmrl.models.family import Family

FAMILY = Family(coords="relative_1000", times="none")
