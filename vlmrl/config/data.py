"""[data]: the samples to train on and those held out."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from vlmrl.config.section import Section


class Source(Section):
    """One entry of data.train or data.heldout: a file of samples, or a recipe that builds them."""

    path: str | None = Field(
        default=None, description="JSONL or parquet file of samples; a source may also be just this text"
    )
    recipe: str | None = Field(default=None, description="name of a recipe: `vlmrl list recipes`")
    n: int = Field(default=1000, gt=0, description="number of samples from each of the recipe's sources")
    sources: tuple[str, ...] | None = Field(default=None, description="the recipe's sources to use; unset: all of them")
    split: Literal["train", "heldout"] = Field(default="train", description="split of the recipe; no sample is in both")
    seed: int = Field(default=0, ge=0, description="seed of the recipe")

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _is_one(self) -> Source:
        if (self.path is None) == (self.recipe is None):
            raise ValueError("needs either path or recipe")
        return self


class DataSettings(Section):
    """[data]: lists of files ("train.jsonl") or recipes ({recipe = "synthetic", n = 1000})."""

    train: tuple[Source, ...] = Field(min_length=1, description="samples to train on")
    heldout: tuple[Source, ...] = Field(
        default=(), description="samples that evaluations use; the same settings as `train`"
    )
    on_unreadable: Literal["stop", "skip"] = Field(
        default="stop",
        description="whether a run stops at a sample whose image or video cannot be read, or skips it and counts it",
    )
