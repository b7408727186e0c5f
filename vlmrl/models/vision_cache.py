"""Vision cache: what the vision tower made of an image or video is computed once, for every pass that needs it.

    with policy.pass_over(prompts):        # the model takes the embeddings of these prompts' media from the cache
        policy.core.model(**inputs)
    policy.embeddings(prompt)              # the same embeddings, for an engine that runs in another place

Rollout, old-policy, reference and policy pass, every step and epoch share the embeddings of a frozen tower.
They are keyed by the pixel values that the processor made, their grid, and the weights of the tower: on disk
by their content, in memory by torch's own count of in-place changes and by the optimizer steps of the process,
which fused optimizers do not count, so that a tower that does change is run again. A pass that needs the
tower's gradient always runs the tower.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from vlmrl.models.encoded_prompt import EncodedPrompt, MediaInput

_optimizer_steps = 0


def _count(*args: object) -> None:
    global _optimizer_steps
    _optimizer_steps += 1


register_optimizer_step_post_hook(_count)


class VisionCache:
    """Embeddings of one vision tower in memory, least recently used ones dropped first; optionally on disk too.

    An embedding is [tokens, hidden x levels]: what stands for the placeholders, then the deepstack features of
    the families that have them.
    """

    def __init__(self, tower: torch.nn.Module, compute: torch.dtype, memory_mb: float, folder: Path | None) -> None:
        self.tower: Any = tower
        self.folder = folder
        self.hits = 0
        self.computed = 0
        """Images and videos that the tower ran on."""
        self.memory_mb = memory_mb
        self._bytes = 0
        self._kept: OrderedDict[bytes, torch.Tensor] = OrderedDict()
        self._parameters = [*tower.parameters(), *tower.buffers()]
        self._start = _content(tower, compute) if folder else b""
        self._born = self._changes()
        self._version = self._born

    def embeddings(self, media: Sequence[MediaInput]) -> list[torch.Tensor]:
        """One embedding for each, on the tower's device; those that are not there are computed in one pass."""
        self._forget_older_weights()
        found = {item.digest: kept for item in media if (kept := self._find(item.digest)) is not None}
        missing = list({item.digest: item for item in media if item.digest not in found}.values())
        self.hits += len(media) - len(missing)
        self.computed += len(missing)
        for kind in ("image", "video"):
            part = [item for item in missing if item.kind == kind]
            for item, embedding in zip(part, self._run(part) if part else [], strict=True):
                found[item.digest] = embedding
                self._keep(item.digest, embedding)
        device = self._parameters[0].device
        return [found[item.digest].to(device) for item in media]

    @contextmanager
    def serving(self, prompts: Sequence[EncodedPrompt]) -> Iterator[None]:
        """While it lasts, the tower answers calls for these prompts' media, images first, from the cache."""
        if torch.is_grad_enabled() and self._trains():
            yield
            return
        media = [item for kind in ("image", "video") for p in prompts for item in p.media if item.kind == kind]
        waiting = iter(zip(media, self.embeddings(media), strict=True))
        levels = 1 + len(getattr(self.tower.config, "deepstack_visual_indexes", ()))

        def answer(pixels: torch.Tensor, grid_thw: torch.Tensor, **kwargs: Any) -> SimpleNamespace:
            served = [next(waiting) for _ in grid_thw]
            asked = grid_thw.cpu()
            assert all(torch.equal(item.grid, grid) for (item, _), grid in zip(served, asked, strict=True))
            embedding = torch.cat([embedding for _, embedding in served])
            first, *deeper = embedding.chunk(levels, dim=1)
            return SimpleNamespace(pooler_output=first, deepstack_features=deeper)

        self.tower.forward = answer
        try:
            yield
        finally:
            del self.tower.forward

    @torch.inference_mode(False)  # what one pass computes may take part in the autograd graph of another
    @torch.no_grad()
    def _run(self, media: Sequence[MediaInput]) -> list[torch.Tensor]:
        device, dtype = self._parameters[0].device, self._parameters[0].dtype
        pixels = torch.cat([item.pixels for item in media]).to(device, dtype)
        grids = torch.stack([item.grid for item in media]).to(device)
        output = self.tower(pixels, grid_thw=grids)
        levels = [output.pooler_output, *(getattr(output, "deepstack_features", None) or [])]
        merge = self.tower.config.spatial_merge_size**2
        sizes = (grids.prod(-1) // merge).tolist()
        # A copy, because a view of the whole pass would be kept alive by each of its parts.
        return [part.clone() for part in torch.cat(levels, dim=1).split(sizes)]

    # --- what is kept -------------------------------------------------------------------------------------

    def _changes(self) -> int:
        changes = sum(parameter._version for parameter in self._parameters)
        return changes + (_optimizer_steps if self._trains() else 0)

    def _trains(self) -> bool:
        return any(parameter.requires_grad for parameter in self._parameters)

    def _forget_older_weights(self) -> None:
        if self._version != (now := self._changes()):
            self._kept.clear()
            self._bytes, self._version = 0, now

    def _find(self, digest: bytes) -> torch.Tensor | None:
        if digest in self._kept:
            self._kept.move_to_end(digest)
            return self._kept[digest]
        path = self._path(digest)
        if path is None or not path.exists():
            return None
        from safetensors.torch import load_file

        embedding = load_file(path)["embedding"]
        self._remember(digest, embedding)
        return embedding

    def _keep(self, digest: bytes, embedding: torch.Tensor) -> None:
        embedding = embedding.cpu()
        self._remember(digest, embedding)
        if (path := self._path(digest)) is not None:
            from safetensors.torch import save_file

            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{path.name}.{uuid4().hex}.partial")  # other runs may use the folder
            save_file({"embedding": embedding.contiguous()}, partial)
            partial.replace(path)

    def _remember(self, digest: bytes, embedding: torch.Tensor) -> None:
        self._kept[digest] = embedding
        self._bytes += embedding.nbytes
        while self._bytes > self.memory_mb * 2**20:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes

    def _path(self, digest: bytes) -> Path | None:
        """The file of an embedding; None without a folder, or once the weights are not those of the start."""
        if self.folder is None or self._version != self._born:
            return None
        name = hashlib.blake2b(self._start + digest, digest_size=16).hexdigest()
        return self.folder / name[:2] / f"{name}.safetensors"


def _content(tower: Any, compute: torch.dtype) -> bytes:
    """Identifies a tower by its settings, its weights and the type it computes in."""
    digest = hashlib.blake2b(f"{compute}{tower.config.to_json_string()}".encode(), digest_size=16)
    for name, value in tower.state_dict().items():
        digest.update(f"{name}{value.dtype}{tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy())
    return digest.digest()
