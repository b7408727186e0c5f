"""Qwen3.5 with a mixture of experts; otherwise as qwen3_5, boxes in thousandths of the image.

A shared expert, which every token uses, stands beside the routed ones. `vlmrl bench update` does not count the FLOPs of
experts.
"""

from vlmrl.models.family import Family

FAMILY = Family(coords="relative_1000", times="text", recurrent=("linear_attention",))
