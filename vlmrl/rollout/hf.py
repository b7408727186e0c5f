"""hf: the learner's own transformers model as rollout engine, for small models and for tests.

Each prompt is prefilled once, its KV cache is shared out to its n responses, and rows that have ended
leave the batch. Weights are the learner's own, so `sync` has nothing to copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import DynamicCache

from vlmrl.formatting import EncodedPrompt
from vlmrl.policy import Policy
from vlmrl.rollout import Rollout, Sampling
from vlmrl.scoring import log_distribution
from vlmrl.settings import HfSettings


def create(settings: HfSettings, policy: Policy) -> HfEngine:
    return HfEngine(settings, policy)


@dataclass
class _Decoding:
    """Responses in the making. B rows are still open; `rows[b]` is the number of the response in the output."""

    rows: torch.Tensor
    position_B: torch.Tensor
    cache: DynamicCache
    mask_BK: torch.Tensor
    tokens: list[list[int]] = field(default_factory=list)
    logprobs: list[list[float]] = field(default_factory=list)


class HfEngine:
    """Batched decoding with a shared prompt cache."""

    def __init__(self, settings: HfSettings, policy: Policy) -> None:
        self.settings = settings
        self.policy = policy
        self.version = 0
        self._banned = torch.tensor(policy.formatter.placeholder_ids, device=policy.device)
        self._stop = torch.tensor(policy.formatter.stop_ids, device=policy.device)

    def sync(self, weights: Iterable[tuple[str, torch.Tensor]], version: int) -> None:
        self.version = version

    def close(self) -> None:
        pass

    @torch.inference_mode()
    def generate(self, prompts: Sequence[EncodedPrompt], n: int, sampling: Sampling) -> list[list[Rollout]]:
        """`n` rollouts for each prompt. The draw depends on `sampling.seed` and on the prompts of the call."""
        generator = torch.Generator(self.policy.device).manual_seed(sampling.seed)
        training = self.policy.model.training
        self.policy.model.eval()
        try:
            size = max(1, self.settings.batch_responses // n)
            groups: list[list[Rollout]] = []
            for start in range(0, len(prompts), size):
                groups += self._batch(prompts[start : start + size], n, sampling, generator)
            return groups
        finally:
            self.policy.model.train(training)

    def _batch(
        self, prompts: Sequence[EncodedPrompt], n: int, sampling: Sampling, generator: torch.Generator
    ) -> list[list[Rollout]]:
        state, hidden_BH = self._prefill(prompts, n)
        for step in range(sampling.max_new_tokens):
            token_B, logprob_B = self._sample(hidden_BH, sampling, generator)
            for row, token, logprob in zip(state.rows.tolist(), token_B.tolist(), logprob_B.tolist(), strict=True):
                state.tokens[row].append(token)
                state.logprobs[row].append(logprob)
            open_B = ~torch.isin(token_B, self._stop)
            if step == sampling.max_new_tokens - 1 or not open_B.any():
                break
            if not open_B.all():
                self._drop(state, open_B)
            hidden_BH = self._step(state, token_B[open_B])
        return [[self._rollout(state, p * n + i) for i in range(n)] for p in range(len(prompts))]

    def _prefill(self, prompts: Sequence[EncodedPrompt], n: int) -> tuple[_Decoding, torch.Tensor]:
        """Right-padded prompts through the model; state for n rows a prompt, and their last hidden states."""
        device = self.policy.device
        lengths = torch.tensor([len(p) for p in prompts], device=device)
        width = int(lengths.max())
        pad = self._stop[0].item()
        ids = torch.full((len(prompts), width), pad, device=device)
        types = torch.zeros_like(ids)
        positions = torch.zeros((3, len(prompts), width), dtype=torch.long, device=device)
        for row, prompt in enumerate(prompts):
            ids[row, : len(prompt)] = prompt.input_ids
            types[row, : len(prompt)] = prompt.token_types
            positions[:, row, : len(prompt)] = prompt.positions
        real_BK = torch.arange(width, device=device) < lengths[:, None]
        causal = torch.ones(width, width, dtype=torch.bool, device=device).tril()
        cache = DynamicCache(config=self.policy.core.config.text_config)
        with self.policy.pass_over(prompts):
            hidden = self._forward(
                input_ids=ids,
                mm_token_type_ids=types,
                position_ids=positions,
                attention_mask=(causal & real_BK[:, None])[:, None],
                past_key_values=cache,
                **self._vision(prompts),
            )
        last_BH = hidden[torch.arange(len(prompts), device=device), lengths - 1]
        cache.batch_repeat_interleave(n)
        next_position = torch.tensor([p.next_position for p in prompts], device=device)
        total = len(prompts) * n
        state = _Decoding(
            rows=torch.arange(total, device=device),
            position_B=next_position.repeat_interleave(n),
            cache=cache,
            mask_BK=real_BK.repeat_interleave(n, dim=0),
            tokens=[[] for _ in range(total)],
            logprobs=[[] for _ in range(total)],
        )
        return state, last_BH.repeat_interleave(n, dim=0)

    def _vision(self, prompts: Sequence[EncodedPrompt]) -> dict[str, torch.Tensor]:
        keys = dict.fromkeys(key for prompt in prompts for key in prompt.vision)
        return {
            key: torch.cat([p.vision[key] for p in prompts if key in p.vision]).to(self.policy.device) for key in keys
        }

    def _step(self, state: _Decoding, token_B: torch.Tensor) -> torch.Tensor:
        """Feeds one token a row; their hidden states [B, H]."""
        ones = state.mask_BK.new_ones((len(token_B), 1))
        state.mask_BK = torch.cat([state.mask_BK, ones], dim=1)
        hidden = self._forward(
            input_ids=token_B[:, None],
            position_ids=state.position_B.expand(3, -1)[:, :, None],
            attention_mask=state.mask_BK[:, None, None],
            past_key_values=state.cache,
        )
        state.position_B = state.position_B + 1
        return hidden[:, 0]

    def _forward(self, **inputs: Any) -> torch.Tensor:
        with self.policy.autocast():
            return self.policy.core.model(**inputs, use_cache=True).last_hidden_state

    def _drop(self, state: _Decoding, open_B: torch.Tensor) -> None:
        keep = open_B.nonzero()[:, 0]
        state.rows, state.position_B = state.rows[keep], state.position_B[keep]
        state.mask_BK = state.mask_BK[keep]
        state.cache.batch_select_indices(keep)

    def _sample(
        self, hidden_BH: torch.Tensor, sampling: Sampling, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens and their logprobs, both [B]."""
        logits_BV = hidden_BH.float() @ self.policy.core.lm_head.weight.float().T
        if sampling.temperature == 0:
            logprob_BV = log_distribution(logits_BV, self._banned, 1.0)
            token_B = logprob_BV.argmax(-1)
        else:
            logprob_BV = log_distribution(logits_BV, self._banned, sampling.temperature)
            if sampling.top_p < 1:
                logprob_BV = _nucleus(logprob_BV, sampling.top_p)
            token_B = torch.multinomial(logprob_BV.exp(), 1, generator=generator)[:, 0]
        return token_B, logprob_BV.gather(1, token_B[:, None])[:, 0]

    def _rollout(self, state: _Decoding, row: int) -> Rollout:
        tokens = state.tokens[row]
        stopped = tokens[-1] in self._stop.tolist()
        return Rollout(
            token_ids=tuple(tokens),
            logprobs=tuple(state.logprobs[row]),
            text=self.policy.formatter.decode(tokens),
            finish="stop" if stopped else "length",
            version=self.version,
        )


def _nucleus(logprob_BV: torch.Tensor, top_p: float) -> torch.Tensor:
    """The smallest set of tokens with mass >= top_p, renormalised."""
    ordered, order = logprob_BV.sort(-1, descending=True)
    before = ordered.exp().cumsum(-1) - ordered.exp()
    kept = ordered.masked_fill(before >= top_p, float("-inf"))
    return torch.full_like(logprob_BV, float("-inf")).scatter(1, order, kept).log_softmax(-1)
