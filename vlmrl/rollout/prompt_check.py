"""PromptCheck: whether a run can take a sample, by the length of its prompt and of the longest response."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vlmrl.config.run_file import RunConfig
from vlmrl.errors import UserError
from vlmrl.models.encoded_prompt import EncodedPrompt, PromptSize
from vlmrl.models.formatting import Formatter
from vlmrl.rollout import hook
from vlmrl.sample import Sample

MemoryCheck = Callable[[EncodedPrompt | PromptSize, int], None]
"""`UserError` for a prompt whose response of so many tokens is over the learner's memory budget."""


class PromptCheck:
    """Whether a run can take a sample, by the length of its prompt; called, it gives its size or raises `UserError`."""

    def __init__(
        self, config: RunConfig, formatter: Formatter, training: bool, fits_memory: MemoryCheck | None = None
    ) -> None:
        self.config, self.formatter, self.fits_memory = config, formatter, fits_memory
        self.supervised = training and config.sft is not None
        self.demonstrated = self.supervised or (training and config.objective.demonstrations)
        self.sampled = 0 if self.supervised else longest_response(config, formatter)
        self.hints = hook.meta_fields(config.rollout) if training and not self.supervised else {}
        weights = [section.source_weights for section in config.sampler.sections()]
        self.left_out = {name for name in weights[0] if not any(w.get(name) for w in weights)} if training else set()

    def __call__(self, sample: Sample) -> PromptSize:
        if sample.source in self.left_out:
            return PromptSize(sample.id, 0, 0, 0)
        size = self.formatter.size(sample)
        self._fits(sample, size)
        for name, field in self.hints.items():
            self._hint_fits(sample, name, field)
        return size

    def encode(self, samples: Sequence[Sample]) -> None:
        """The same of the prompts themselves, with all their media decoded."""
        drawn = [sample for sample in samples if sample.source not in self.left_out]
        for sample, prompt in zip(drawn, self.formatter.encode(drawn) if drawn else (), strict=True):
            self._fits(sample, prompt)

    def _fits(self, sample: Sample, prompt: EncodedPrompt | PromptSize) -> None:
        shown = len(self.formatter.encode_demonstration(sample)) if self.demonstrated else 0
        if not self.supervised:  # of demonstrations, no engine sees the prompt
            check_length(self.config, self.formatter, prompt, self.sampled)
        if self.fits_memory:
            self.fits_memory(prompt, max(self.sampled, shown))

    def _hint_fits(self, sample: Sample, name: str, field: str) -> None:
        """A hint is given when all answers were wrong, in the middle of the run."""
        hint, settings = hook.meta_text(sample, field), self.config.rollout.own(name)
        if hint is None or not hasattr(settings, "template"):
            return
        share = max(getattr(settings, "shares", (1.0,)))
        hinted = hook.with_hint(sample, settings.template, hint[: int(len(hint) * share)])
        try:
            self._fits(hinted, self.formatter.size(hinted))
        except UserError as error:
            raise UserError(f"hook {name!r} with the hint meta.{field}: {error}, or shorten the hint") from None


def longest_response(config: RunConfig, formatter: Formatter) -> int:
    """Tokens of the longest response that the run may sample."""
    rollout, forced = config.rollout, config.rollout.own("force_answer")
    if "force_answer" not in rollout.hooks:
        return rollout.max_new_tokens
    cue = formatter.tokenizer(forced.cue, add_special_tokens=False).input_ids
    return rollout.max_new_tokens + len(cue) + forced.max_new_tokens


def check_length(config: RunConfig, formatter: Formatter, prompt: EncodedPrompt | PromptSize, response: int) -> None:
    """`UserError` unless the model and the engine take the prompt with a response of so many tokens."""
    rollout = config.rollout
    bounds = {"the model's max_position_embeddings": formatter.config.text_config.max_position_embeddings}
    if rollout.engine == "vllm":
        bounds["rollout.vllm.max_model_len"] = rollout.vllm.max_model_len
    limits = "rollout.max_new_tokens"
    if response > rollout.max_new_tokens:
        limits += ", the cue of rollout.force_answer and its max_new_tokens"
    for name, bound in bounds.items():
        if len(prompt) + response > bound:
            raise UserError(
                f"sample {prompt.sample_id!r}: its prompt of {len(prompt)} tokens and a response of {response} "
                f"({limits}) are over {name} = {bound}; lower model.max_pixels or max_new_tokens"
            )
