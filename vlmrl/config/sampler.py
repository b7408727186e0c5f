"""[sampler]: which prompts come next. `docs/curriculum.md` tells what each sampler does and where it is from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from vlmrl.config.section import Section
from vlmrl.errors import UserError, nearest

Share = Annotated[float, Field(ge=0, le=1)]


class AdmitSettings(Section):
    """[sampler.admit]: a prompt is drawn only if all of these hold; what is not known of it yet admits it."""

    pass_rate: tuple[Share, Share] = Field(default=(0, 1), description="of its last visit, or else of its grade")
    graded_pass_rate: tuple[Share, Share] = Field(default=(0, 1), description="as in `sampler.history`")
    max_length: float | None = Field(default=None, gt=0, description="mean response tokens of its last visit or grade")
    max_visits: int | None = Field(default=None, gt=0)


class RlcsSettings(Section):
    """[sampler.rlcs]: curriculum sampling of GLM-4.1V-Thinking. Its report publishes none of these constants."""

    floor: float = Field(default=0.005, gt=0, description="a tier or source of pass rate p weighs p (1 - p) + floor")
    decay: float = Field(default=0.9, ge=0, lt=1, description="of the averages over steps: ratio, sources")
    max_ratio: float = Field(default=4.0, ge=1, description="prompts rolled out per group of the update, at most")
    grade_visits: float = Field(default=1.0, ge=0, description="visits that a prompt's grade counts for")


class PcurlStagesSettings(Section):
    """[sampler.pcurl_stages]: the stages of VL-Cogito."""

    until: tuple[Share, Share, Share] = Field(
        default=(1 / 3, 2 / 3, 1.0), description="share of the steps at which easy, medium and hard end"
    )
    draw_by_weight: bool = Field(
        default=True, description="draw by the stage's group weight; false where the objective applies that weight"
    )
    probe: float = Field(default=0.05, gt=0, le=1, description="least chance of a prompt of weight 0")

    @field_validator("until")
    @classmethod
    def _ascends(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        _check_ascending(value)
        return value


class LadderSettings(Section):
    """[sampler.ladder]: NeuraLadder of Observe-R1; needs grades."""

    levels: int = Field(default=8, gt=0, description="steps of difficulty, 0 to `levels`: the rollouts of the grade")
    mix: Share = Field(default=0.2, description="share of a level that goes to the two below and the two above")


class VarianceSettings(Section):
    """[sampler.variance]: the prompts whose reward varies most."""

    score: Literal["group", "history", "limr"] = Field(
        default="group", description="spread within the last group, std over visits, or LIMR's alignment"
    )
    top: float = Field(default=0.5, gt=0, le=1, description="share of the prompts that is drawn")
    probe: float = Field(default=0.05, gt=0, le=1, description="chance of the others")
    visits: int = Field(default=3, gt=1, description="before `history` and `limr` judge a prompt")


class SkipSolvedSettings(Section):
    """[sampler.skip_solved]: GRESO, with the constants of its paper and code, but for `probe`."""

    explore: float = Field(default=0.5, gt=0, lt=1, description="first chance p of a prompt; p^z after z flat visits")
    target_easy: Share = Field(default=0.25 / 3, description="share of paid groups that may be all alike and right")
    target_hard: Share = Field(default=0.5 / 3, description="share of paid groups that may be all alike and wrong")
    step: float = Field(default=0.01, gt=0, description="by which p moves after each step")
    bounds: tuple[Share, Share] = Field(default=(0.05, 0.95), description="of p")
    probe: float = Field(default=0.01, ge=0, le=1, description="least chance of any prompt; 0 in the paper")


class RefillSettings(Section):
    """[sampler.refill]: dynamic sampling of DAPO, with a buffer for the surplus."""

    base: str = Field(default="uniform", description="the sampler that chooses the prompts")
    max_rounds: int = Field(default=10, gt=0, description="of rollouts in a step; then the update is what there is")
    margin: float = Field(default=1.25, ge=1, description="prompts asked for, over those expected to be needed")
    max_ratio: float = Field(default=4.0, ge=1, description="prompts asked for at once, over groups missing")
    buffer: int = Field(default=64, ge=0, description="useful groups kept for later steps")
    max_age: int = Field(default=2, ge=0, description="updates after which a kept group is dropped")


class SamplerSections(Section):
    """What a whole run and one of its stages can set alike."""

    name: str = "uniform"
    source_weights: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default={}, description="of every source in the draws; unset: its prompts ** source_alpha"
    )
    source_alpha: float = Field(
        default=1.0, ge=0, le=1, description="1 / temperature; 1: as many draws as prompts, 0: sources alike"
    )
    admit: AdmitSettings = AdmitSettings()
    rlcs: RlcsSettings = RlcsSettings()
    pcurl_stages: PcurlStagesSettings = PcurlStagesSettings()
    ladder: LadderSettings = LadderSettings()
    variance: VarianceSettings = VarianceSettings()
    skip_solved: SkipSolvedSettings = SkipSolvedSettings()
    refill: RefillSettings = RefillSettings()

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

    until: float = Field(gt=0, le=1, description="share of the steps")


class SamplerSettings(SamplerSections):
    """[sampler]"""

    history: tuple[str, ...] = Field(
        default=(), description="what `vlmrl data grade` or earlier runs wrote: the prompts' grades, averaged"
    )
    pass_score: float | None = Field(
        default=None, gt=0, le=1, description="score at which a response passes; unset: its score is its share"
    )
    stages: tuple[StageSettings, ...] = ()

    @model_validator(mode="after")
    def _stages_end(self) -> SamplerSettings:
        _check_ascending([stage.until for stage in self.stages])
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


def _check_ascending(shares: Sequence[float]) -> None:
    if any(later <= earlier for earlier, later in pairwise(shares)):
        raise ValueError(f"until: {list(shares)} does not ascend")
