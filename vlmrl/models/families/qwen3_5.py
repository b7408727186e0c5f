"""Qwen3.5 (and 3.6, 3.8): three of four layers are a recurrence; writes boxes in thousandths of the image.

The layers are gated delta nets (arXiv 2412.06464) and gated attention by turns. Processor and vision tower are those of
Qwen3-VL, without deepstack: the time of each frame stands in the prompt.
"""

from vlmrl.models.family import Family

FAMILY = Family(coords="relative_1000", times="text", recurrent=("linear_attention",))
