"""PromptCheck: whether a sample fits into a run, by the length of its prompt and of the longest response."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vlmrl.config.run_file import RunConfig
from vlmrl.data.frames import PlainBoxes
from vlmrl.errors import UnreadableError, UserError
from vlmrl.models.encoded_prompt import EncodedPrompt, PromptSize
from vlmrl.models.formatting import Formatter
from vlmrl.rewards.composite import caution
from vlmrl.rollout import hook
from vlmrl.rollout.read_ahead import encode_each
from vlmrl.sample import Sample

MemoryCheck = Callable[[EncodedPrompt | PromptSize, int], None]
"""`UserError` for a prompt that, with a response of this number of tokens, exceeds the learner's memory budget."""


class PromptCheck:
    """A call returns the size of a sample's prompt. `UserError` if the run cannot take the prompt."""

    def __init__(
        self, config: RunConfig, formatter: Formatter, training: bool, fits_memory: MemoryCheck | None = None
    ) -> None:
        self.config, self.formatter, self.fits_memory = config, formatter, fits_memory
        self.supervised = training and config.sft is not None
        self.skips_unreadable = config.data.on_unreadable == "skip"
        self.needs_demonstration = self.supervised or (training and config.objective.demonstrations)
        self.sampled = 0 if self.supervised else longest_response(config, formatter)
        self.hints = hook.meta_fields(config.rollout) if training and not self.supervised else {}
        self.plain_boxes = PlainBoxes()
        self._cautions: dict[str, str] = {}  # by source, how its rewards pay an answer that says nothing
        weights = [section.source_weights for section in config.sampler.sections()]
        self.excluded_sources = (
            {name for name in weights[0] if not any(w.get(name) for w in weights)} if training else set()
        )

    def __call__(self, sample: Sample) -> PromptSize:
        if sample.source in self.excluded_sources:
            return PromptSize(sample.id, 0, 0, 0)
        try:
            size = self.formatter.size(sample)
            self.formatter.check_frames(sample)
        except UnreadableError:
            if not self.skips_unreadable:
                raise
            return PromptSize(sample.id, 0, 0, 0)
        self._fits(sample, size)
        for line in filter(None, map(caution, sample.reward)):
            self._cautions.setdefault(sample.source, line)
        self.plain_boxes.observe(f"sample {sample.id!r}", sample)
        for name, field in self.hints.items():
            self._hint_fits(sample, name, field)
        return size

    def warnings(self) -> list[str]:
        """What is to be said of the samples so far, in one line each."""
        lines = [f"source {source!r}: {line}" for source, line in self._cautions.items()]
        return [*lines, *filter(None, [self.plain_boxes.line()])]

    def encode(self, samples: Sequence[Sample]) -> None:
        """The same check on the encoded prompts, with all media decoded."""
        included = [sample for sample in samples if sample.source not in self.excluded_sources]
        for sample, prompt in zip(included, encode_each(self.formatter, included), strict=True):
            if not isinstance(prompt, UnreadableError):
                self._fits(sample, prompt)
            elif not self.skips_unreadable:
                raise prompt

    def _fits(self, sample: Sample, prompt: EncodedPrompt | PromptSize) -> None:
        demonstrated_tokens = len(self.formatter.encode_demonstration(sample)) if self.needs_demonstration else 0
        if not self.supervised:  # no engine gets the prompts of supervised training
            check_length(self.config, self.formatter, prompt, self.sampled)
        if self.fits_memory:
            self.fits_memory(prompt, max(self.sampled, demonstrated_tokens))

    def _hint_fits(self, sample: Sample, name: str, field: str) -> None:
        """Checks the prompt with the hint, which a hook adds only in the middle of the run."""
        hint, settings = hook.meta_text(sample, field), self.config.rollout.own(name)
        if hint is None or not hasattr(settings, "template"):
            return
        largest_share = max(getattr(settings, "shares", (1.0,)))
        hinted = hook.with_hint(sample, settings.template, hint[: int(len(hint) * largest_share)])
        try:
            self._fits(hinted, self.formatter.size(hinted))
        except UserError as error:
            raise UserError(f"hook {name!r} with the hint meta.{field}: {error}, or shorten the hint") from None


def longest_response(config: RunConfig, formatter: Formatter) -> int:
    """Number of tokens of the longest response that the run can generate."""
    rollout, forced = config.rollout, config.rollout.own("force_answer")
    if "force_answer" not in rollout.hooks:
        return rollout.max_new_tokens
    cue = formatter.tokenizer(forced.cue, add_special_tokens=False).input_ids
    return rollout.max_new_tokens + len(cue) + forced.max_new_tokens


def check_length(config: RunConfig, formatter: Formatter, prompt: EncodedPrompt | PromptSize, response: int) -> None:
    """`UserError` unless model and engine can take the prompt with a response of this number of tokens."""
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
