"""Config of a model, and what the family computes from it without weights."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch

from vlmrl import catalog
from vlmrl.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


def load_config(path: str) -> PreTrainedConfig:
    """The model's config; `UserError` if there is none or it is of another family."""
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(path)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"model.path {path!r}: cannot be loaded ({reason}); give a folder or hub id of a Qwen-VL model"
        ) from None
    known = catalog.names("families")
    if config.model_type not in known:
        raise UserError(
            f"model.path {path!r}: is a {config.model_type!r} model, not a Qwen-VL one; supported: {', '.join(known)}"
        )
    return config


def rope_index(config: Any) -> Any:
    """`get_rope_index` of the family, bound to a one-layer model without weights."""
    from transformers import AutoModelForImageTextToText

    config = deepcopy(config)
    config.text_config.num_hidden_layers = config.vision_config.depth = 1
    if getattr(config.text_config, "layer_types", None):
        config.text_config.layer_types = config.text_config.layer_types[:1]
    with torch.device("meta"):
        return AutoModelForImageTextToText.from_config(config).model.get_rope_index
