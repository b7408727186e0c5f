"""Vision cache: the vision tower computes the embeddings of an image or video once for all passes.

    with policy.forward_context(prompts):  # the model takes the embeddings of these prompts' media from the cache
        policy.core.model(**inputs)
    policy.embeddings(prompt)              # the same embeddings, for an engine with a model of its own

The rollout, old-policy, reference and policy passes of all steps share the embeddings of a frozen tower. The key is
the pixel values, their grid and the weights of the tower. On disk the weights are identified by their content. In
memory they are identified by torch's count of in-place changes, plus the optimizer steps of the process, because fused
optimizers do not increase that count. So the tower runs again if its weights do change. A pass that needs the gradient
of the tower always runs the tower.
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


def _count_step(*args: object) -> None:
    global _optimizer_steps
    _optimizer_steps += 1


register_optimizer_step_post_hook(_count_step)


class VisionCache:
    """Embeddings of one vision tower in memory (the least recently used are dropped first), optionally also on disk.

    An embedding is [tokens, hidden x levels]: the embeddings of the placeholders, then the deepstack features of the
    families that have them.
    """

    def __init__(self, tower: torch.nn.Module, compute: torch.dtype, memory_mb: float, folder: Path | None) -> None:
        self.tower: Any = tower
        self.folder = folder
        self.hits = 0
        self.computed = 0
        """Number of images and videos that the tower computed."""
        self.memory_mb = memory_mb
        self._bytes = 0
        self._cached: OrderedDict[bytes, torch.Tensor] = OrderedDict()
        self._parameters = [*tower.parameters(), *tower.buffers()]
        self._tower_digest = _digest_of_tower(tower, compute) if folder else b""
        self._first_version = self._changes()
        self._version = self._first_version

    def embeddings(self, media: Sequence[MediaInput]) -> list[torch.Tensor]:
        """The embedding of each, on the tower's device; the missing ones of a kind are computed in one pass."""
        self._drop_if_weights_changed()
        known = {item.digest: cached for item in media if (cached := self._lookup(item.digest)) is not None}
        missing = list({item.digest: item for item in media if item.digest not in known}.values())
        self.hits += len(media) - len(missing)
        self.computed += len(missing)
        for kind in ("image", "video"):
            part = [item for item in missing if item.kind == kind]
            for item, embedding in zip(part, self._compute(part) if part else [], strict=True):
                known[item.digest] = embedding
                self._store(item.digest, embedding)
        device = self._parameters[0].device
        return [known[item.digest].to(device) for item in media]

    @contextmanager
    def forward_from_cache(self, prompts: Sequence[EncodedPrompt]) -> Iterator[None]:
        """Replaces the tower's `forward` by one that returns the embeddings of these prompts' media, images first."""
        if torch.is_grad_enabled() and self._trains():
            yield
            return
        media = [item for kind in ("image", "video") for p in prompts for item in p.media if item.kind == kind]
        embedded = iter(zip(media, self.embeddings(media), strict=True))
        levels = 1 + len(getattr(self.tower.config, "deepstack_visual_indexes", ()))

        def cached_forward(pixels: torch.Tensor, grid_thw: torch.Tensor, **kwargs: Any) -> SimpleNamespace:
            next_media = [next(embedded) for _ in grid_thw]
            grids = grid_thw.cpu()
            # The model asks for all images, then for all videos, in the order of the prompts.
            assert all(torch.equal(item.grid, grid) for (item, _), grid in zip(next_media, grids, strict=True))
            embedding = torch.cat([embedding for _, embedding in next_media])
            first, *deeper = embedding.chunk(levels, dim=1)
            return SimpleNamespace(pooler_output=first, deepstack_features=deeper)

        self.tower.forward = cached_forward
        try:
            yield
        finally:
            del self.tower.forward

    @torch.inference_mode(False)  # an inference tensor could not take part in the autograd graph of a later pass
    @torch.no_grad()
    def _compute(self, media: Sequence[MediaInput]) -> list[torch.Tensor]:
        device, dtype = self._parameters[0].device, self._parameters[0].dtype
        pixels = torch.cat([item.pixels for item in media]).to(device, dtype)
        grids = torch.stack([item.grid for item in media]).to(device)
        output = self.tower(pixels, grid_thw=grids)
        levels = [output.pooler_output, *(getattr(output, "deepstack_features", None) or [])]
        merge = self.tower.config.spatial_merge_size**2
        sizes = (grids.prod(-1) // merge).tolist()
        # Copies, because each view would keep the tensor of the whole pass in memory.
        return [part.clone() for part in torch.cat(levels, dim=1).split(sizes)]

    # --- storage ------------------------------------------------------------------------------------------

    def _changes(self) -> int:
        changes = sum(parameter._version for parameter in self._parameters)
        return changes + (_optimizer_steps if self._trains() else 0)

    def _trains(self) -> bool:
        return any(parameter.requires_grad for parameter in self._parameters)

    def _drop_if_weights_changed(self) -> None:
        if self._version != (now := self._changes()):
            self._cached.clear()
            self._bytes, self._version = 0, now

    def _lookup(self, digest: bytes) -> torch.Tensor | None:
        if digest in self._cached:
            self._cached.move_to_end(digest)
            return self._cached[digest]
        path = self._path(digest)
        if path is None or not path.exists():
            return None
        from safetensors.torch import load_file

        embedding = load_file(path)["embedding"]
        self._store_in_memory(digest, embedding)
        return embedding

    def _store(self, digest: bytes, embedding: torch.Tensor) -> None:
        embedding = embedding.cpu()
        self._store_in_memory(digest, embedding)
        if (path := self._path(digest)) is not None:
            from safetensors.torch import save_file

            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{path.name}.{uuid4().hex}.partial")  # other runs may write here too
            save_file({"embedding": embedding.contiguous()}, partial)
            partial.replace(path)

    def _store_in_memory(self, digest: bytes, embedding: torch.Tensor) -> None:
        self._cached[digest] = embedding
        self._bytes += embedding.nbytes
        while self._bytes > self.memory_mb * 2**20:
            self._bytes -= self._cached.popitem(last=False)[1].nbytes

    def _path(self, digest: bytes) -> Path | None:
        """The file of an embedding; None without a folder, or if the weights have changed since the start."""
        if self.folder is None or self._version != self._first_version:
            return None
        name = hashlib.blake2b(self._tower_digest + digest, digest_size=32).hexdigest()
        return self.folder / name[:2] / f"{name}.safetensors"


def _digest_of_tower(tower: Any, compute: torch.dtype) -> bytes:
    """Identifies a tower by its config, its weights and its compute type."""
    digest = hashlib.blake2b(f"{compute}{tower.config.to_json_string()}".encode(), digest_size=32)
    for name, value in tower.state_dict().items():
        digest.update(f"{name}{value.dtype}{tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy())
    return digest.digest()
