"""Section: what every section of a run file has in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """What all sections share: an unknown key is refused, a value never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)
