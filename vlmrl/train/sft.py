"""Supervised cold start (`[sft]` in a run file): demonstrations, and a patch-level loss that teaches a tower to see.

A vision tower trained from scratch through the answers alone stays blind for long. The auxiliary loss gives
every patch its own label: which object has its centre there, and where that object's edges are. The labels
are `meta.objects` of the sample, [class, x1, y1, x2, y2] in pixels of its one image; the head is thrown away.

Thought dropout (TON, arXiv 2505.16854): some demonstrations have no thought, so that a model may learn to skip it. The
thought between the tags becomes empty; the tags and the answer stay, so that the format is the same. The paper drops
half of the thoughts. A demonstration without tags stays as it is.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from vlmrl.config.sft import SftSettings
from vlmrl.data.media import image_size
from vlmrl.errors import UserError
from vlmrl.models.encoded_prompt import EncodedPrompt
from vlmrl.models.packing import Item, Row
from vlmrl.models.policy import Policy
from vlmrl.rollout.group import UpdateReport
from vlmrl.sample import Sample
from vlmrl.train.learner import Learner

BACKGROUND_WEIGHT = 0.2
"""Weight of a patch without an object in the class loss: nine in ten are."""
PATCH_WEIGHT = 8.0
"""Weight of the patch-level loss beside that of the answers."""

_THOUGHT = re.compile(r"<think>.*?</think>", re.DOTALL)


class PatchHead(nn.Module):
    """From each merged vision token [H] to its m x m patches: class logits and box edges."""

    def __init__(self, hidden: int, merge: int, classes: int) -> None:
        super().__init__()
        self.merge, self.classes = merge, classes
        self.project = nn.Linear(hidden, merge * merge * (classes + 1 + 4))

    def forward(self, features_NH: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Class logits [N * m * m, classes + 1] (0 is background) and box edges [N * m * m, 4]."""
        out = self.project(features_NH.float()).view(-1, self.classes + 5)
        return out[:, :-4], out[:, -4:]


class Supervisor:
    """Makes the loss of demonstration rows; owns the patch head."""

    def __init__(self, policy: Policy, settings: SftSettings) -> None:
        self.policy = policy
        self.settings = settings
        self.head: PatchHead | None = None
        if settings.patch_classes:
            if policy.visual is None:
                raise UserError(f"sft.patch_classes: {policy.core.config.model_type} sees no images; leave it out")
            vision = policy.core.config.vision_config
            self.patch_size, self.merge = vision.patch_size, vision.spatial_merge_size
            hidden = policy.core.config.text_config.hidden_size
            self.head = PatchHead(hidden, self.merge, settings.patch_classes).to(policy.device)
            policy.visual.register_forward_hook(self._keep_features)
        self._features: torch.Tensor | None = None

    def parameters(self) -> list[nn.Parameter]:
        return list(self.head.parameters()) if self.head else []

    def state_dict(self) -> dict[str, torch.Tensor]:
        return dict(self.head.state_dict()) if self.head else {}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        if self.head:
            self.head.load_state_dict(state)

    def _keep_features(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self._features = output.pooler_output

    def update(
        self, learner: Learner, samples: Sequence[Sample], prompts: Sequence[EncodedPrompt], seed: int = 0
    ) -> UpdateReport:
        """One optimizer step on the samples' demonstrations; which of them lose their thought depends on the seed."""
        answers = [self._answer(s, seed, prompt) for s, prompt in zip(samples, prompts, strict=True)]
        if self.head is not None:
            for sample, prompt in zip(samples, prompts, strict=True):
                self._objects(sample, prompt)
        items = [Item(n, prompt, [answer]) for n, (prompt, answer) in enumerate(zip(prompts, answers, strict=True))]

        def loss_of(row: Row, logprob_L: torch.Tensor) -> torch.Tensor:
            weights = [
                self.settings.source_weights.get(samples[span.item].source, 1.0)
                for span in row.spans
                for _ in range(span.stop - span.start)
            ]
            loss = -(logprob_L * torch.tensor(weights, device=logprob_L.device)).sum() / len(samples)
            if self.head is not None:
                loss = loss + PATCH_WEIGHT * self._patch_loss(row, samples) * len(row.items) / len(samples)
            return loss

        return learner.supervise(items, loss_of)

    def _answer(self, sample: Sample, seed: int = 0, prompt: EncodedPrompt | None = None) -> list[int]:
        drawn = random.Random(f"{seed} thought_dropout {sample.id}").random()
        transform = without_thought if drawn < self.settings.thought_dropout else str
        return self.policy.formatter.encode_demonstration(sample, transform, prompt)

    def _patch_loss(self, row: Row, samples: Sequence[Sample]) -> torch.Tensor:
        """Class cross-entropy over all patches plus smooth L1 of the edges where an object is."""
        assert self.head is not None
        assert self._features is not None
        logits, edges = self.head(self._features)
        labels, boxes = zip(*(self._targets(samples[item.name], item.prompt) for item in row.items), strict=True)
        label_M, box_M4 = torch.cat(labels).to(logits.device), torch.cat(boxes).to(logits.device)
        weight = torch.ones(logits.shape[1], device=logits.device)
        weight[0] = BACKGROUND_WEIGHT
        loss = F.cross_entropy(logits, label_M, weight)
        there = label_M > 0
        return loss + F.smooth_l1_loss(edges[there], box_M4[there]) if there.any() else loss

    def _objects(self, sample: Sample, prompt: EncodedPrompt) -> list[list[Any]]:
        """`meta.objects`; `UserError` unless they are labels for the patches of the sample's one image."""
        advice = "correct or drop the row, or set sft.patch_classes = 0"
        if prompt.modality != "image":
            raise UserError(f"sample {sample.id!r}: sft.patch_classes takes rows of one image and no video; {advice}")
        objects: Any = sample.meta.get("objects")
        if not isinstance(objects, list):
            raise UserError(f"sample {sample.id!r}: meta.objects is not a list of [class, x1, y1, x2, y2]; {advice}")
        size, classes = image_size(sample.media.images[0]), self.settings.patch_classes
        for number, labelled in enumerate(objects):
            if not _is_object(labelled, classes, size):
                raise UserError(
                    f"sample {sample.id!r}: meta.objects.{number} is {json.dumps(labelled)[:80]}, not [class, x1, y1, "
                    f"x2, y2] with a class below {classes} and a centre in the image of {size[0]} x {size[1]}; {advice}"
                )
        return objects

    def _targets(self, sample: Sample, prompt: EncodedPrompt) -> tuple[torch.Tensor, torch.Tensor]:
        """Labels [M] and edges [M, 4] of the patches of a sample's one image, in the order of the tower's output."""
        _, rows, columns = prompt.features["image_grid_thw"][0].tolist()
        width, height = image_size(sample.media.images[0])
        size, merge = self.patch_size, self.merge
        labels = torch.zeros(rows * columns, dtype=torch.long)
        edges = torch.zeros(rows * columns, 4)
        for kind, *box in self._objects(sample, prompt):
            x1, x2 = (x * columns * size / width for x in (box[0], box[2]))
            y1, y2 = (y * rows * size / height for y in (box[1], box[3]))
            column, row = (min(int((a + b) / 2 / size), n - 1) for a, b, n in ((x1, x2, columns), (y1, y2, rows)))
            cell = (row // merge) * (columns // merge) + column // merge
            place = cell * merge * merge + (row % merge) * merge + column % merge
            labels[place] = kind + 1
            # Relative to the patch's centre, in units of a merged token.
            cx, cy = (column + 0.5) * size, (row + 0.5) * size
            edges[place] = torch.tensor([x1 - cx, y1 - cy, x2 - cx, y2 - cy]) / (size * merge)
        return labels, edges


def without_thought(demonstration: str) -> str:
    """The demonstration with an empty thought."""
    return _THOUGHT.sub("<think>\n\n</think>", demonstration)


def _is_object(labelled: Any, classes: int, size: tuple[int, int]) -> bool:
    if not isinstance(labelled, list) or len(labelled) != 5 or labelled[0] not in range(classes):
        return False
    if not all(isinstance(edge, (int, float)) for edge in labelled[1:]):
        return False
    _, x1, y1, x2, y2 = labelled
    return 0 <= (x1 + x2) / 2 <= size[0] and 0 <= (y1 + y2) / 2 <= size[1]
