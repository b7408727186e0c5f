"""Force answering (GLM-4.1V-Thinking, arXiv 2507.01006): thinking that hits the length limit is ended, and answered.

A response that was cut at `rollout.max_new_tokens` before it marked an answer gets the cue, by default
"</think><answer>", and the policy goes on for at most `rollout.force_answer.max_new_tokens` tokens. All of it is one
rollout, judged as a whole: the tokens of the cue were not the policy's choice, so they have logprob 0 and are not
trained on; those before and after are trained on, with the logprobs they were sampled with.

The continuation is an ordinary call of the engine: a prompt whose text goes on with the response so far.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import Field

from vlmrl.config.section import Section
from vlmrl.reading import answers

if TYPE_CHECKING:
    import torch

    from vlmrl.models.encoded_prompt import EncodedPrompt
    from vlmrl.models.formatting import Formatter
    from vlmrl.rollout import Engine, Rollout, Sampling

SEED_BIT = 1 << 63
"""Flipped in the seed, so that continuations draw other numbers than responses."""


class Settings(Section):
    """[rollout.force_answer]: the end of a response that was cut."""

    cue: str = Field(
        default="</think><answer>", min_length=1, description="text that is added to a response without an answer"
    )
    max_new_tokens: int = Field(default=64, gt=0, description="tokens of the policy after the cue, at most")


def wrap(engine: Engine, formatter: Formatter, own: Settings) -> ForceAnswer:
    return ForceAnswer(engine, formatter, own)


class ForceAnswer:
    """The engine, with responses that were cut continued once."""

    def __init__(self, engine: Engine, formatter: Formatter, own: Settings) -> None:
        self.engine, self.formatter, self.own = engine, formatter, own

    def generate(self, prompts: Sequence[EncodedPrompt], n: int, sampling: Sampling) -> list[list[Rollout]]:
        """n rollouts of each prompt, of at most both numbers of new tokens and the cue."""
        groups = [list(group) for group in self.engine.generate(prompts, n, sampling)]
        places = [(p, i) for p, group in enumerate(groups) for i in range(n) if _is_cut(group[i])]
        if not places:
            return groups
        cues = [self._cue(groups[p][i].text) for p, i in places]
        begun = [
            continued(prompts[p], [*groups[p][i].token_ids, *cue]) for (p, i), cue in zip(places, cues, strict=True)
        ]
        extra = replace(sampling, max_new_tokens=self.own.max_new_tokens, seed=sampling.seed ^ SEED_BIT)
        ends = self.engine.generate(begun, 1, extra)
        for (p, i), cue, (end,) in zip(places, cues, ends, strict=True):
            groups[p][i] = self._joined(groups[p][i], cue, end)
        return groups

    def sync(self, weights: Iterable[tuple[str, torch.Tensor]], version: int) -> None:
        self.engine.sync(weights, version)

    def close(self) -> None:
        self.engine.close()

    def _cue(self, text: str) -> list[int]:
        """Its token ids; thinking that has ended is not ended again."""
        cue = self.own.cue.removeprefix("</think>") if "</think>" in text else self.own.cue
        return list(self.formatter.tokenizer(cue, add_special_tokens=False).input_ids)

    def _joined(self, begin: Rollout, cue: Sequence[int], end: Rollout) -> Rollout:
        token_ids = (*begin.token_ids, *cue, *end.token_ids)
        return replace(
            end,
            token_ids=token_ids,
            logprobs=(*begin.logprobs, *(0.0 for _ in cue), *end.logprobs),
            text=self.formatter.decode(token_ids),
            trained=(*(True for _ in begin.token_ids), *(False for _ in cue), *(True for _ in end.token_ids)),
        )


def continued(prompt: EncodedPrompt, token_ids: Sequence[int]) -> EncodedPrompt:
    """The prompt with text after it, at the positions that these tokens have as a response."""
    import torch

    added = prompt.input_ids.new_tensor(token_ids)
    positions_3R = (torch.arange(len(token_ids)) + prompt.next_position).expand(3, -1)
    return replace(
        prompt,
        input_ids=torch.cat([prompt.input_ids, added]),
        token_types=torch.cat([prompt.token_types, torch.zeros_like(added)]),
        positions=torch.cat([prompt.positions, positions_3R], dim=1),
        next_position=prompt.next_position + len(token_ids),
    )


def _is_cut(rollout: Rollout) -> bool:
    """Whether the limit came before a marked answer."""
    answer = answers.extract(rollout.text)
    return rollout.finish == "length" and (answer is None or not answer.marked)
