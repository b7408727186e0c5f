"""Sharing: how the responses to a prompt share its computation in the layers of a model."""

from __future__ import annotations

from typing import Any, Literal

Sharing = Literal["tree", "fork", "none"]
"""In one packed row; each from the state of the prompt, because a recurrent layer takes no mask; not at all."""

UNSHARED = "the model has sliding windows, or layers that vlmrl does not know, so responses cannot share a prompt"


def sharing(text_config: Any, recurrent: tuple[str, ...] = ()) -> Sharing:
    """What layers of these types allow, of which those in `recurrent` carry a state from token to token."""
    kinds = set(getattr(text_config, "layer_types", None) or ())
    windows = getattr(text_config, "sliding_window", None) is not None and "sliding_attention" in kinds
    if windows or kinds - {"full_attention", "sliding_attention", *recurrent}:
        return "none"
    return "fork" if kinds & {*recurrent} else "tree"
