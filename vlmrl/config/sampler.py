"""[sampler]: which prompts come next. docs/curriculum.md says what each sampler does and where it is from."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from vlmrl.config.section import Section, with_plugins
from vlmrl.errors import UserError, nearest

Share = Annotated[float, Field(ge=0, le=1)]


@with_plugins("samplers")
class SamplerSections(Section):
    """What a whole run and one of its stages can set alike."""

    name: str = Field(default="uniform", description="the sampler: `vlmrl list samplers`")
    source_weights: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default={}, description="weight of every source in the draws; unset: its number of prompts ** source_alpha"
    )
    source_alpha: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="exponent of source sizes; 1: in proportion to their prompts, 0: all sources alike",
    )
    admit: tuple[Share, Share] = Field(
        default=(0, 1),
        description="lowest and highest graded pass rate of prompts to draw; a prompt without a grade is drawn too",
    )

    @field_validator("source_weights")
    @classmethod
    def _has_weight(cls, value: dict[str, float]) -> dict[str, float]:
        if value and not sum(value.values()):
            raise ValueError(f"{value} has no weight above 0")
        return value

    def shares(self, prompts: Mapping[str, int]) -> dict[str, float]:
        """Each source's share of the draws, from its number of prompts. `UserError` if weights and sources differ."""
        for name in self.source_weights:
            if name not in prompts:
                raise UserError(f"sampler.source_weights: no source {name!r}{nearest(name, prompts)}")
        for name in prompts:
            if self.source_weights and name not in self.source_weights:
                raise UserError(f"sampler.source_weights: source {name!r} has no weight; 0 leaves it out")
        weights = self.source_weights or {name: n**self.source_alpha for name, n in prompts.items()}
        return {name: weights[name] / sum(weights.values()) for name in prompts}


class StageSettings(SamplerSections):
    """[[sampler.stages]]: what differs from [sampler] up to a share of the steps."""

    until: float = Field(gt=0, le=1, description="share of the steps at which the stage ends")


class SamplerSettings(SamplerSections):
    """[sampler]"""

    history: tuple[str, ...] = Field(
        default=(), description="files of grades from `vlmrl data grade` or earlier runs; several are averaged"
    )
    pass_score: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="score from which a response passes; unset: the pass rate is the mean score",
    )
    stages: tuple[StageSettings, ...] = Field(
        default=(), description="samplers one after another; a stage may also have every setting above"
    )

    @model_validator(mode="after")
    def _stages_end(self) -> SamplerSettings:
        ends = [stage.until for stage in self.stages]
        if any(later <= earlier for earlier, later in pairwise(ends)):
            raise ValueError(f"until: {ends} does not ascend")
        if self.stages and self.stages[-1].until != 1:
            raise ValueError(f"stages: the last one ends at {self.stages[-1].until}; let it end at 1")
        return self

    def sections(self) -> list[SamplerSections]:
        """The settings of each stage; of the whole run if it has no stages."""
        if not self.stages:
            return [self]
        return [self.model_copy(update={"stages": (), **_set_fields(self, stage)}) for stage in self.stages]


def _set_fields(base: Section, over: Section) -> dict[str, object]:
    """The fields that `over` sets, its subsections laid over those of `base`."""
    fields = {}
    for name in over.model_fields_set & type(base).model_fields.keys():
        value, below = getattr(over, name), getattr(base, name)
        nested = isinstance(value, Section) and isinstance(below, Section)
        fields[name] = below.model_copy(update=_set_fields(below, value)) if nested else value
    return fields
