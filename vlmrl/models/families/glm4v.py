"""GLM-4.1V: thinks in <think>; writes boxes in thousandths of the image, after `<|begin_of_box|>`.

arXiv 2507.01006. Patches of 14 pixels, 2 x 2 of them a token. A video is a sequence of images, one for two frames, each
followed by its time in whole seconds. Their placeholder is that of images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vlmrl.models.family import IMAGE, VIDEO, Family

if TYPE_CHECKING:
    from torch import Tensor

    from vlmrl.models.family import Features


def _frames_as_images(types_P: Tensor, features: Features) -> tuple[Tensor, Features]:
    """All media as images, in the order of their tokens.

    Given videos as such, transformers 5.19 takes each `<|image|>` of a batch for a token of every image and of every
    video, and refuses a batch that has both.
    """
    import torch

    if VIDEO.sizes not in features:
        return types_P, features
    # 1. Each temporal patch of a video is an image. The text between them makes each a run of tokens of its own.
    grids = features[VIDEO.sizes].repeat_interleave(features[VIDEO.sizes][:, 0], dim=0)
    grids[:, 0] = 1
    remaining = {VIDEO.token_type: zip(features[VIDEO.values].split(grids.prod(-1).tolist()), grids, strict=True)}
    if IMAGE.sizes in features:
        sizes = features[IMAGE.sizes]
        remaining[IMAGE.token_type] = zip(features[IMAGE.values].split(sizes.prod(-1).tolist()), sizes, strict=True)
    # 2. Their order is that of the runs.
    ordered = [next(remaining[run]) for run in types_P.unique_consecutive().tolist() if run]
    pixels, grids = zip(*ordered, strict=True)
    return types_P.clamp(max=IMAGE.token_type), {IMAGE.values: torch.cat(pixels), IMAGE.sizes: torch.stack(grids)}


FAMILY = Family(
    coords="relative_1000",
    times="text",
    media_inputs=_frames_as_images,
    stop_tokens=("<|endoftext|>", "<|user|>", "<|observation|>"),
    image_frames=2,
)
