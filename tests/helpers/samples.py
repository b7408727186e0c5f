"""Samples to be encoded."""

from __future__ import annotations

from vlmrl.sample import Media, MediaSet, Message, RewardSpec, Sample


def prompt_sample(
    name: str,
    text: str,
    images: tuple[Media, ...] = (),
    videos: tuple[Media, ...] = (),
    audios: tuple[Media, ...] = (),
    use_audio_in_video: bool = False,
) -> Sample:
    """A sample to be encoded; its reward does not matter."""
    return Sample(
        id=name,
        source="test",
        messages=(Message(role="user", content=text),),
        media=MediaSet(images=images, videos=videos, audios=audios, use_audio_in_video=use_audio_in_video),
        reward=(RewardSpec(verifier="counting", target=1),),
    )
