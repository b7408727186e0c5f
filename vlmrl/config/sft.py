"""[sft]: supervised learning of the demonstrations."""

from __future__ import annotations

from pydantic import Field, field_validator

from vlmrl import catalog
from vlmrl.config.section import Section


class TransformSettings(Section):
    """One entry of sft.transforms."""

    name: str = Field(description="thought_dropout")
    p: float = Field(default=0.5, ge=0, le=1, description="chance of a demonstration, each time that it is learnt")

    @field_validator("name")
    @classmethod
    def _is_a_transform(cls, value: str) -> str:
        catalog.function("hooks", value, "demonstration")
        return value


class SftSettings(Section):
    """[sft]: the section switches a run from reinforcement to supervised learning of the demonstrations."""

    source_weights: dict[str, float] = Field(
        default={}, description="of a source's answers in the loss; 1 if not named"
    )
    patch_classes: int = Field(default=0, ge=0, description="number of classes in meta.objects; 0: no patch-level loss")
    patch_weight: float = Field(default=1.0, ge=0)
    transforms: tuple[TransformSettings, ...] = Field(default=(), description="of the demonstrations, in this order")
