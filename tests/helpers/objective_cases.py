"""A small update with everything in it, for tests of the objective; its tokens are letters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from helpers.samples import prompt_sample

from vlmrl.config.objective import ObjectiveSettings
from vlmrl.models.encoded_prompt import EncodedPrompt
from vlmrl.objectives import Response, Tokens
from vlmrl.rollout import Rollout
from vlmrl.rollout.group import Group
from vlmrl.train.objective import Objective
from vlmrl.verdict import Verdict

EMPTY = torch.zeros(0, dtype=torch.long)
PROMPT = EncodedPrompt("x", EMPTY, EMPTY, EMPTY.expand(3, 0), 0)
GRAM = "B C"
"""The planning n-gram of the tests."""


def rollout(text: str, logprobs: Any, **fields: Any) -> Rollout:
    return Rollout(tuple(map(ord, text)), tuple(map(float, logprobs)), text, fields.pop("finish", "stop"), 0, **fields)


def group(rollouts: list[Rollout], scores: Sequence[float | None]) -> Group:
    return Group(
        prompt_sample("x", "?"),
        PROMPT,
        rollouts,
        [Verdict(s) if s is not None else Verdict(None, "error") for s in scores],
    )


def settings_of(preset: str, folder: Path, **changes: Any) -> ObjectiveSettings:
    """A preset; HICRA's n-gram comes in a file."""
    grams = folder / "grams.txt"
    grams.write_text(f"{GRAM}\n\nto be or not to be\n")
    if preset == "hicra":
        changes["hicra"] = {"planning_ngrams": str(grams), **changes.get("hicra", {})}
    return ObjectiveSettings(**{"preset": preset, **changes})


@dataclass
class Update:
    """Groups, and what the learner's passes would measure of each rollout, by (group, number)."""

    groups: list[Group]
    logprobs: dict[tuple[int, int], np.ndarray]
    proximal: dict[tuple[int, int], np.ndarray]
    entropies: dict[tuple[int, int], np.ndarray]
    reference: dict[tuple[int, int], np.ndarray]

    def tokens(self, objective: Objective) -> tuple[list[Response], Tokens, torch.Tensor, torch.Tensor, torch.Tensor]:
        """The update and its masks as one row in float64, with leaves for logprob and entropy, and the reference."""
        responses = objective.responses(self.groups)

        def column(values: dict[tuple[int, int], np.ndarray]) -> torch.Tensor:
            return torch.tensor(np.concatenate([values[r.group, r.index] for r in responses]))

        for r in responses:
            if r.old_T is None:
                r.old_T = torch.tensor(self.proximal[r.group, r.index])
        logprob_L, entropy_L = column(self.logprobs).requires_grad_(), column(self.entropies).requires_grad_()
        tokens = objective.tokens(responses, logprob_L, entropy_L)
        scored = objective.tokens(responses, logprob_L.detach(), entropy_L.detach())
        objective.set_masks(responses, scored if objective.needs_scoring_pass(responses) else None)
        return responses, tokens, logprob_L, entropy_L, column(self.reference)


def make_update(seed: int = 0) -> Update:
    """Mixed, all wrong and graded groups; an unscored, a truncated, a partly untrained rollout, hints and a demo."""
    draw = np.random.default_rng(seed)

    def sampled(text: str, **fields: Any) -> Rollout:
        return rollout(text, np.float32(-draw.exponential(1.0, len(text)) - 0.05), **fields)

    half = tuple(n % 3 > 0 for n in range(8))
    groups = [
        group([sampled(t) for t in ("A B C, EF", "xyz", "b c", "long word")], [1.0, 0.0, 0.0, None]),
        group([sampled("cut", finish="length"), sampled("forced b", trained=half), sampled("q")], [0.25, 1.0, 1.0]),
        group([sampled("wrong"), sampled("b C"), sampled("no")], [0.0, 0.5, 0.25]),
        group([sampled(t, kind="hint") for t in ("hinted", "h")], [1.0, 0.0]),
        group([sampled("mine"), sampled("also mine"), rollout("theirs", (), kind="demo")], [0.0, 0.0, 1.0]),
    ]
    keys = [(n, i) for n, g in enumerate(groups) for i in range(len(g.rollouts))]
    lengths = {k: len(groups[k[0]].rollouts[k[1]].token_ids) for k in keys}
    behaviour = {k: np.array(groups[k[0]].rollouts[k[1]].logprobs) for k in keys}
    proximal = {
        k: np.minimum((b if len(b) else np.full(lengths[k], -2.0)) + draw.normal(0, 0.4, lengths[k]), -0.01)
        for k, b in behaviour.items()
    }
    near = {k: np.minimum(p + draw.normal(0, 0.3, len(p)), -0.01) for k, p in proximal.items()}
    entropies = {k: draw.exponential(1.0, n) for k, n in lengths.items()}
    reference = {k: np.minimum(p + draw.normal(0, 0.5, len(p)), -0.01) for k, p in near.items()}
    return Update(groups, near, proximal, entropies, reference)
