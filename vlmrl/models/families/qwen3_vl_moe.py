"""Qwen3-VL with a mixture of experts; otherwise as qwen3_vl, boxes in thousandths of the image.

arXiv 2511.21631. `vlmrl bench update` does not count the FLOPs of experts.
"""

COORDS = "relative_1000"
"""The coordinates the model writes boxes in (`vlmrl.reading.boxes.COORDS`)."""
