"""Policy: the model in training, with its formatter. It loads, freezes, adapts and exports the weights.

A folder or hub id of any supported family loads through `Policy.load`; "tiny" is the embedded one.
"""

from __future__ import annotations

import atexit
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from vlmrl.config.model import LoraSettings, ModelSettings
from vlmrl.errors import UserError
from vlmrl.models import tiny
from vlmrl.models.attention.segments import use_batched_segments
from vlmrl.models.attention.sharing import Sharing, sharing
from vlmrl.models.attention.tree import NAME as TREE_ATTENTION
from vlmrl.models.encoded_prompt import EncodedPrompt
from vlmrl.models.family import IMAGE, family_of, language_layers
from vlmrl.models.formatting import Formatter
from vlmrl.models.tiny import hearing
from vlmrl.models.vision_cache import VisionCache
from vlmrl.sample import Sample


@dataclass
class Policy:
    """The model in training. Weights are float32; `autocast()` sets the compute type."""

    model: Any
    formatter: Formatter
    settings: ModelSettings
    path: str
    compute: torch.dtype
    vision_cache: VisionCache | None = None
    """Cache of a frozen vision tower; created if it is not given."""

    @classmethod
    def load(cls, settings: ModelSettings) -> Policy:
        """The model that the settings name; `UserError` if its family is not supported."""
        import transformers
        from transformers.utils import logging

        logging.disable_progress_bar()
        path = resolve(settings.path)
        formatter = Formatter.load(path, settings)
        config, family = formatter.config, formatter.family
        device = choose_device(settings.device)
        compute = settings.compute if settings.compute != "auto" else "bfloat16" if device == "cuda" else "float32"
        model: Any = getattr(transformers, family.auto).from_pretrained(
            path,
            config=config,
            dtype=torch.float32,
            attn_implementation={
                part: TREE_ATTENTION if part == "text_config" else "sdpa" for part in config.sub_configs
            },
        )
        use_batched_segments(model)
        if family.recurrent:  # `Recurrence` may be read and set again in the backward pass
            for layer in model.modules():
                layer._can_checkpoint_with_cache = True
        if settings.freeze_towers:
            for tower in family.towers:
                model.get_submodule(tower).requires_grad_(False)
        if settings.gradient_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        if settings.lora:
            model = _with_lora(model, settings.lora)
        return cls(model.to(device), formatter, settings, path, getattr(torch, compute))

    def __post_init__(self) -> None:
        settings, tower = self.settings, self.visual
        if self.vision_cache is None and settings.vision_cache_mb and tower is not None and not _trains(tower):
            folder = Path(settings.vision_cache_folder) if settings.vision_cache_folder else None
            self.vision_cache = VisionCache(tower, self.compute, settings.vision_cache_mb, folder)

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def core(self) -> Any:
        """The transformers model, without the wrapper of an adapter."""
        return self.model.get_base_model() if hasattr(self.model, "peft_config") else self.model

    @cached_property
    def sharing(self) -> Sharing:
        return sharing(self.core.config.text_config, self.formatter.family.recurrent)

    @property
    def recurrent(self) -> bool:
        """Whether layers of the model are recurrent."""
        return self.sharing == "fork"

    @property
    def visual(self) -> Any:
        """The vision tower; None if the model sees nothing."""
        family = self.formatter.family
        return self.core.get_submodule(family.towers[0]) if IMAGE in family.kinds else None

    def hidden_states(self, **inputs: Any) -> torch.Tensor:
        """Last hidden states [B, T, H] of the transformers model, in the compute type under `autocast`."""
        return self.formatter.family.hidden_states(self.core, **inputs)

    def train(self, dropout: bool) -> None:
        """Sets training mode, the only one in which transformers checkpoints gradients.

        `dropout` is separate: engines sample without dropout, so their responses must be scored without it.
        """
        self.model.train()
        for module in self.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.train(dropout)

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, self.compute, enabled=self.compute != torch.float32)

    @contextmanager
    def forward_context(self, prompts: Sequence[EncodedPrompt]) -> Iterator[None]:
        """Context of a forward call: the compute type, and the embeddings of these prompts' media from the cache."""
        with self.autocast(), self.vision_cache.forward_from_cache(prompts) if self.vision_cache else nullcontext():
            yield

    def embeddings(self, prompt: EncodedPrompt) -> list[torch.Tensor] | None:
        """Embeddings [tokens, hidden x levels] of a prompt's images and videos; None if there is no cache."""
        if self.vision_cache is None:
            return None
        with self.autocast():
            return self.vision_cache.embeddings([media for media in prompt.media if media.kind != "audio"])

    def frozen_copy(self) -> Policy:
        """A copy of the policy that does not train; frozen towers and their cache are shared with it."""
        towers = [self.core.get_submodule(name) for name in self.formatter.family.towers]
        shared = {id(tower): tower for tower in towers if not _trains(tower)}
        model = deepcopy(self.model, shared).eval().requires_grad_(False)
        return Policy(model, self.formatter, self.settings, self.path, self.compute, self.vision_cache)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The trainable weights."""
        return {name: p.detach() for name, p in self.model.named_parameters() if p.requires_grad}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Copies the weights of a `state_dict` into the model."""
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                if parameter.requires_grad:
                    parameter.copy_(state[name])

    def weights(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Name and value of every weight as the base model names them, adapters merged in.

        A tied output head is listed under its own name too: vLLM does not tie it to new weights.
        """
        for name, value in self.core.state_dict().items():
            if ".lora_" in name:
                continue
            plain_name = name.replace(".base_layer.", ".")
            if plain_name == name:
                yield name, value
                continue
            layer = self.core.get_submodule(name.split(".base_layer.")[0])
            yield plain_name, value + layer.get_delta_weight("default") if name.endswith(".weight") else value

    def save(self, folder: Path, dtype: torch.dtype = torch.float32) -> None:
        """Writes a folder that transformers and vLLM load: config, weights (adapters merged), tokenizer, processor."""
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        config = self.core.config.__class__.from_dict(self.core.config.to_dict())
        config.dtype = dtype
        config.save_pretrained(folder)
        self.core.generation_config.save_pretrained(folder)
        self.formatter.processor.save_pretrained(folder)
        # Some models of transformers do not tie what their config says is tied.
        tied = {"lm_head.weight"} if self.core.lm_head.weight is self.core.get_input_embeddings().weight else set()
        weights = {n: w.detach().to("cpu", dtype).contiguous() for n, w in self.weights() if n not in tied}
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _trains(module: torch.nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())


def choose_device(wanted: str) -> str:
    """`cuda` or `cpu`; `UserError` if a GPU is wanted and there is none."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UserError('model.device "cuda": no CUDA device on this machine; use "auto" or "cpu"')
    return ("cuda" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted


def resolve(path: str) -> str:
    """The folder of "tiny", "tiny-untrained" or "tiny-audio-untrained"; any other path unchanged."""
    if path in ("tiny-untrained", "tiny-audio-untrained"):
        folder = tempfile.mkdtemp(prefix="vlmrl-tiny-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        (hearing if "audio" in path else tiny).create(Path(folder))
        return folder
    if path == "tiny" and not (tiny.FOLDER / "model.safetensors").exists():
        raise UserError("model.path 'tiny': its weights are missing; build them with scripts/build_tiny_model.sh")
    return str(tiny.FOLDER) if path == "tiny" else path


def answer_frames(path: str, max_pixels: int | None = None) -> Callable[[Sample], list[dict[str, Any]]]:
    """Gives the frames of a sample's specs as this model answers, a folder or hub id; no weights are loaded."""
    return Formatter.load(resolve(path), ModelSettings(max_pixels=max_pixels)).frames.decided


def _language_maps(model: Any) -> str:
    """Regular expression over the names of the linear maps of the language layers."""
    layers = language_layers(model)
    place = next(name for name, module in model.named_modules() if module is layers)
    names = {name.partition(".")[2] for name, m in layers.named_modules() if isinstance(m, torch.nn.Linear)}
    return rf"{re.escape(place)}\.\d+\.({'|'.join(map(re.escape, sorted(names)))})"


def _with_lora(model: Any, settings: LoraSettings) -> Any:
    from peft import LoraConfig, get_peft_model

    towers = "|".join(map(re.escape, family_of(model.config.model_type).towers))
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        target_modules=settings.targets or _language_maps(model),
        # For a mixture of experts, peft 0.21 keeps of a regular expression only the last names, which towers have too.
        exclude_modules=None if settings.targets else rf"({towers})\..*",
        task_type="CAUSAL_LM",
    )
    try:
        adapted: Any = get_peft_model(model, config)
    except ValueError as error:
        raise UserError(f"model.lora.targets {settings.targets!r}: {str(error).splitlines()[0]}") from None
    for name, module in adapted.get_base_model().named_modules():
        if name.endswith(("lm_head", "embed_tokens")) and hasattr(module, "base_layer"):
            raise UserError(
                f"model.lora.targets {settings.targets!r}: reaches {name}, which takes no adapter; name layers of "
                "attention and MLP"
            )
    return adapted
