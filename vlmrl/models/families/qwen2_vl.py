"""Qwen2-VL: images of any resolution; writes boxes in thousandths of the image.

arXiv 2409.12191. Patches of 14 pixels, 2 x 2 of them a token; multimodal rotary positions count frames.
"""

COORDS = "relative_1000"
"""The coordinates the model writes boxes in (`vlmrl.reading.boxes.COORDS`)."""
