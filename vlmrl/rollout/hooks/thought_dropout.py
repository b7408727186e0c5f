"""Thought dropout (TON, arXiv 2505.16854): some demonstrations have no thought, so that a model may learn to skip it.

The thought between the tags becomes an empty one, "\\n\\n"; the tags and the answer stay, so that the format is the
same. The paper drops half of the thoughts, p = 0.5. A demonstration without tags stays as it is.
"""

from __future__ import annotations

import re

_THOUGHT = re.compile(r"<think>.*?</think>", re.DOTALL)
EMPTY = "<think>\n\n</think>"


def demonstration(text: str) -> str:
    """The demonstration without its thought."""
    return _THOUGHT.sub(EMPTY, text)
