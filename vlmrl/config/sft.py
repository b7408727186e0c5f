"""[sft]: supervised learning of the demonstrations."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from vlmrl.config.section import Section


class SftSettings(Section):
    """[sft]: the section switches a run from reinforcement to supervised learning of the demonstrations."""

    source_weights: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default={}, description="weight of a source's answers in the loss; 1 for a source without one"
    )
    patch_classes: int = Field(
        default=0, ge=0, le=65536, description="number of classes in meta.objects; 0: no patch-level loss"
    )
    thought_dropout: float = Field(
        default=0.0, ge=0, le=1, description="chance that a demonstration is learnt without its thought (TON: 0.5)"
    )
