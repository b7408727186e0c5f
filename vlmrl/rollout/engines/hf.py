"""hf: the learner's own transformers model as rollout engine, for small models and for tests.

Prompts are prefilled as one packed row, or one by one where layers are recurrent; the responses to a prompt share one
copy of its keys, and finished rows leave the batch. The weights are the learner's own, so `sync` has nothing to copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from vlmrl.config.rollout import HfSettings
from vlmrl.errors import UserError
from vlmrl.models.attention.shared_prefix import SharedPrefix
from vlmrl.models.attention.sharing import UNSHARED
from vlmrl.models.encoded_prompt import EncodedPrompt
from vlmrl.models.logprobs import log_distribution, wide_product
from vlmrl.models.policy import Policy
from vlmrl.models.prefix_state import Recurrence, State, fill, run
from vlmrl.rollout import Rollout, Sampling

DROP_BELOW = 0.75
"""Share of active rows at which the finished ones leave the batch: moving rows costs more than a few idle ones."""


def create(settings: HfSettings, policy: Policy) -> HfEngine:
    """The engine; `UserError` for a model whose responses cannot share a computed prompt."""
    if policy.sharing == "none":
        raise UserError(f"rollout.engine 'hf': {UNSHARED}; set rollout.engine to 'vllm'")
    return HfEngine(settings, policy)


@dataclass
class _Decoding:
    """State of B rows in decoding. `response_B` holds the index of each row's response in the output."""

    response_B: torch.Tensor
    active_B: torch.Tensor
    """Whether each row is unfinished."""
    position_B: torch.Tensor
    prefix: SharedPrefix
    recurrent: dict[int, State]
    """The states of each row, by layer."""
    tokens: list[list[int]]
    logprobs: list[list[float]]


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
        """`n` rollouts for each prompt. They depend on `sampling.seed` and on all prompts of the call."""
        generator = torch.Generator(self.policy.device).manual_seed(_folded(sampling.seed))
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
            # 1. Sample a token for every row, and append those of unfinished rows.
            token_B, logprob_B = self._sample(hidden_BH, sampling, generator)
            drawn = zip(*(x.tolist() for x in (state.active_B, state.response_B, token_B, logprob_B)), strict=True)
            for active, row, token, logprob in drawn:
                if active:
                    state.tokens[row].append(token)
                    state.logprobs[row].append(logprob)
            # 2. Rows end at a stop token. They leave the batch when there are enough of them.
            state.active_B &= ~torch.isin(token_B, self._stop)
            count = int(state.active_B.sum())
            if step == sampling.max_new_tokens - 1 or count == 0:
                break
            if count <= DROP_BELOW * len(token_B):
                token_B = token_B[state.active_B]
                self._drop_finished(state)
            # 3. The hidden states that predict the next tokens.
            hidden_BH = self._step(state, token_B)
        return [[self._rollout(state, p * n + i) for i in range(n)] for p in range(len(prompts))]

    def _prefill(self, prompts: Sequence[EncodedPrompt], n: int) -> tuple[_Decoding, torch.Tensor]:
        """Runs the prompts; returns the state of n rows for each prompt, and their hidden states."""
        device = self.policy.device
        batches = [[prompt] for prompt in prompts] if self.policy.recurrent else [prompts]
        filled = [fill(self.policy, batch) for batch in batches]
        lengths = [len(p) for p in prompts]
        hidden_TH = torch.cat([part.hidden_TH for part in filled])
        last_NH = hidden_TH[torch.tensor(lengths, device=device).cumsum(0) - 1]
        keys = _joined([part.keys for part in filled], dim=2)
        states = _joined([part.recurrent for part in filled], dim=0)
        next_position = torch.tensor([p.next_position for p in prompts], device=device)
        total = len(prompts) * n
        state = _Decoding(
            response_B=torch.arange(total, device=device),
            active_B=torch.ones(total, dtype=torch.bool, device=device),
            position_B=next_position.repeat_interleave(n),
            prefix=SharedPrefix(keys, lengths, n),
            recurrent={
                layer: (a.repeat_interleave(n, dim=0), b.repeat_interleave(n, dim=0))
                for layer, (a, b) in states.items()
            },
            tokens=[[] for _ in range(total)],
            logprobs=[[] for _ in range(total)],
        )
        return state, last_NH.repeat_interleave(n, dim=0)

    def _step(self, state: _Decoding, token_B: torch.Tensor) -> torch.Tensor:
        """Runs the model on one token of each row; returns their hidden states [B, H]."""
        state.prefix.grow()
        recurrence = Recurrence(state.recurrent)
        position_3B1 = state.position_B.expand(3, -1)[:, :, None]
        with self.policy.autocast():
            hidden_B1H = run(
                self.policy, state.prefix, recurrence, input_ids=token_B[:, None], position_ids=position_3B1
            )
        state.recurrent = recurrence.end
        state.position_B = state.position_B + 1
        return hidden_B1H[:, 0]

    def _drop_finished(self, state: _Decoding) -> None:
        keep = state.active_B.nonzero()[:, 0]
        state.response_B, state.position_B, state.active_B = (
            x[keep] for x in (state.response_B, state.position_B, state.active_B)
        )
        state.prefix.keep(keep)
        state.recurrent = {layer: (a[keep], b[keep]) for layer, (a, b) in state.recurrent.items()}

    def _sample(
        self, hidden_BH: torch.Tensor, sampling: Sampling, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens and their logprobs, both [B]."""
        compute = self.policy.compute
        logits_BV = wide_product(hidden_BH.to(compute), self.policy.core.lm_head.weight.to(compute).T)
        if sampling.temperature == 0:
            logprob_BV = log_distribution(logits_BV, self._banned, 1.0)
            token_B = logprob_BV.argmax(-1)
        else:
            logprob_BV = log_distribution(logits_BV, self._banned, sampling.temperature)
            if sampling.top_p < 1:
                logprob_BV = _nucleus(logprob_BV, sampling.top_p)
            token_B = _draw(logprob_BV, generator)
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


def _joined(parts: Sequence[dict[int, State]], dim: int) -> dict[int, State]:
    """The tensors of each layer, concatenated."""
    return {
        layer: (torch.cat([part[layer][0] for part in parts], dim), torch.cat([part[layer][1] for part in parts], dim))
        for layer in parts[0]
    }


def _draw(logprob_BV: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """One token for each row by inverting the cumulative distribution: it takes one random number for each row, not
    one for each token of the vocabulary."""
    cumulative_BV = logprob_BV.double().exp().cumsum(-1)
    point_B1 = torch.rand((len(logprob_BV), 1), dtype=torch.float64, device=logprob_BV.device, generator=generator)
    return torch.searchsorted(cumulative_BV, point_B1 * cumulative_BV[:, -1:], right=True)[:, 0]


def _nucleus(logprob_BV: torch.Tensor, top_p: float) -> torch.Tensor:
    """Logprobs of the smallest set of tokens with mass >= top_p, renormalised."""
    ordered, order = logprob_BV.sort(-1, descending=True)
    before = ordered.exp().cumsum(-1) - ordered.exp()
    kept = ordered.masked_fill(before >= top_p, float("-inf"))
    return torch.full_like(logprob_BV, float("-inf")).scatter(1, order, kept).log_softmax(-1)


def _folded(seed: int) -> int:
    """The seed in 32 bits: torch's CPU generator ignores the bits above, which hold the seed of the run."""
    return (seed ^ (seed >> 32) * 0x9E3779B1) & 0xFFFFFFFF
