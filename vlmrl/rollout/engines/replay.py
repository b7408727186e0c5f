"""replay: canned responses from a file, to debug a reward or a trainer without sampling.

    {"id": "count-17", "responses": ["3", "4"]}        one JSONL row for each sample; repeated to fill a group

The logprobs are those of the current policy, as if it had just generated the responses.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from vlmrl.config.rollout import ReplaySettings
from vlmrl.errors import UserError
from vlmrl.files import read_rows
from vlmrl.models.encoded_prompt import EncodedPrompt
from vlmrl.models.logprobs import score_item
from vlmrl.models.packing import Item
from vlmrl.models.policy import Policy
from vlmrl.rollout import Rollout, Sampling


def create(settings: ReplaySettings, policy: Policy) -> ReplayEngine:
    if settings.path is None:
        raise UserError("rollout.replay.path: missing; name the JSONL file of canned responses")
    return ReplayEngine(read_responses(settings.path), policy)


def read_responses(path: str) -> dict[str, list[str]]:
    """Responses by sample id; `UserError` names an invalid row."""
    responses_by_id = {}
    for where, row in read_rows(path):
        responses = row.get("responses") if isinstance(row, dict) else None
        if not responses or not all(isinstance(r, str) for r in responses) or not isinstance(row.get("id"), str):
            raise UserError(f"{where}: needs an id and a list of responses (texts), got {str(row)[:80]}")
        responses_by_id[row["id"]] = responses
    return responses_by_id


class ReplayEngine:
    """Answers each prompt with the stored responses of its sample."""

    def __init__(self, responses: dict[str, list[str]], policy: Policy) -> None:
        self.responses = responses
        self.policy = policy
        self.version = 0

    def sync(self, weights: Iterable[tuple[str, torch.Tensor]], version: int) -> None:
        self.version = version

    def close(self) -> None:
        pass

    def generate(self, prompts: Sequence[EncodedPrompt], n: int, sampling: Sampling) -> list[list[Rollout]]:
        """`n` stored responses for each prompt, cycled if there are fewer; cut at `max_new_tokens`."""
        return [self._group(prompt, n, sampling) for prompt in prompts]

    @torch.inference_mode()
    def _group(self, prompt: EncodedPrompt, n: int, sampling: Sampling) -> list[Rollout]:
        if prompt.sample_id not in self.responses:
            raise UserError(f"rollout.replay.path: no responses for sample {prompt.sample_id!r}; add a row")
        texts = self.responses[prompt.sample_id]
        whole = [self.policy.formatter.encode_response(texts[i % len(texts)]) for i in range(n)]
        responses = [ids[: sampling.max_new_tokens] for ids in whole]
        logprobs = score_item(self.policy, Item(0, prompt, responses), sampling.temperature or 1.0)
        return [
            Rollout(
                token_ids=tuple(response),
                logprobs=tuple(logprob_T.tolist()),
                text=self.policy.formatter.decode(response),
                finish="stop" if len(response) == len(uncut) else "length",
                version=self.version,
            )
            for response, uncut, logprob_T in zip(responses, whole, logprobs, strict=True)
        ]
