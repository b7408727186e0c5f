"""Qwen3-VL with a mixture of experts; otherwise as qwen3_vl, boxes in thousandths of the image.

arXiv 2511.21631. `vlmrl bench update` does not count the FLOPs of experts.
"""

from vlmrl.models.family import Family

FAMILY = Family(coords="relative_1000", times="text")
