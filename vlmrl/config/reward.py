"""[reward]: where answers are judged, and the schedules of a run."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag, field_serializer, field_validator

from vlmrl.config.section import Section
from vlmrl.errors import without_logins


class MatchedSchedule(Section):
    """A value that follows the policy: what a share of a source's latest answers reach."""

    part: str = Field(description="part of the verifier's verdicts to match, such as iou of dynamic_iou")
    reached_by: float = Field(
        default=0.5, gt=0, lt=1, description="share of a source's latest answers that reach the value"
    )
    most: float = Field(default=1.0, ge=0, description="highest value; it is 0 until there are answers")


def _form(schedule: Any) -> str:
    return "matched" if isinstance(schedule, dict | MatchedSchedule) else "steps"


Schedule = Annotated[
    Annotated[list[tuple[float, float]], Tag("steps")] | Annotated[MatchedSchedule, Tag("matched")],
    Discriminator(_form),
]
"""[[progress, value], ...], or matched to the policy's success."""


class RewardSettings(Section):
    """[reward]: where answers are judged, and the schedules. These belong to the run, so that held-out scores keep
    one meaning."""

    workers: int | None = Field(
        default=None,
        ge=0,
        le=1024,
        description="processes that judge; 0: the trainer's own; unset: one fewer than the machine has cores",
    )
    deadline: float = Field(default=5.0, gt=0, description="seconds to judge one response; after that it is unscored")
    memory_mb: int = Field(
        default=1024, ge=64, description="2^20 bytes to judge one response, above the memory of an idle process"
    )
    servers: tuple[str, ...] = Field(
        default=(), description="URLs of `vlmrl serve` that judge instead of processes on this machine"
    )
    verifiers_path: tuple[str, ...] = Field(
        default=(), description="your own verifiers: a folder of files, one file, my_rewards.py:FUNCTION, or a list"
    )
    schedules: dict[str, dict[str, Schedule]] = Field(
        default={},
        description="verifier -> parameter -> [[progress, value], ...], each in force after that share of the steps; "
        "or { part, reached_by, most }, matched to what the policy's answers reach",
    )

    @field_serializer("servers")
    def _without_logins(self, servers: tuple[str, ...]) -> list[str]:
        """What is written, to a run folder or a plan, holds no password."""
        return [without_logins(url) for url in servers]

    @field_validator("verifiers_path", mode="before")
    @classmethod
    def _as_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("schedules")
    @classmethod
    def _is_sorted(cls, value: dict[str, Any]) -> dict[str, Any]:
        for verifier, parameters in value.items():
            for name, steps in parameters.items():
                if isinstance(steps, MatchedSchedule):
                    continue
                progress = [p for p, _ in steps]
                if not steps or progress != sorted(progress) or not all(0 <= p <= 1 for p in progress):
                    raise ValueError(f"{verifier}.{name}: {steps} needs progress from 0 to 1, ascending")
        return value
