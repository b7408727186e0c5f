"""Chat template: whether a prompt holds what was said, and ends where the model is to go on.

    ending = generation_prompt(processor)            once for a model
    check_prompt(sample, prompt_text, ending)        for each prompt that was encoded

Engine and learner share a broken template, so that their agreement does not show it.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from vlmrl.errors import UserError
from vlmrl.sample import MARKS, Message, Sample


def content_parts(message: Message) -> list[dict[str, str]]:
    """Content parts of a chat template: text with the marks turned into media parts."""
    kinds = {mark: kind.removesuffix("s") for kind, mark in MARKS.items()}
    pieces = re.split("(" + "|".join(kinds) + ")", message.content)
    return [{"type": kinds[p]} if p in kinds else {"type": "text", "text": p} for p in pieces if p]


def generation_prompt(processor: Any) -> str:
    """What the template puts behind the last turn; `UserError` if that is nothing, or is there twice."""
    turn = [{"role": "user", "content": [{"type": "text", "text": "?"}]}]
    closed, opened = (
        processor.apply_chat_template(turn, tokenize=False, add_generation_prompt=wanted) for wanted in (False, True)
    )
    ending = opened.removeprefix(closed)
    half = ending[: len(ending) // 2]
    if not opened.startswith(closed) or not ending or ending == half + half or closed.endswith(ending):
        raise UserError(
            f"the model's chat template ends a prompt with {opened[-60:]!r}: it must add the generation prompt, once, "
            "where add_generation_prompt is set; mend its chat_template.jinja"
        )
    return ending


def check_prompt(sample: Sample, prompt: str, ending: str) -> None:
    """`UserError` unless the prompt's decoded text holds every turn, in order, and ends with the generation prompt.

    The number of media is not looked at: placeholders are counted against the features of the media.
    """
    # Tokenizers compose characters; templates may trim a turn, and drop what the assistant thought in it.
    prompt = unicodedata.normalize("NFC", prompt)
    parts = [part for m in sample.prompt if m.role != "assistant" for part in content_parts(m)]
    start = 0
    for part in parts:
        text = unicodedata.normalize("NFC", part.get("text", "").strip())
        found = prompt.find(text, start)
        if found < 0:
            raise UserError(
                f"sample {sample.id!r}: {text[:60]!r} is not in the prompt that the model gets; "
                "mend the model's chat_template.jinja"
            )
        start = found + len(text)
    if not prompt.endswith(ending) or prompt.removesuffix(ending).endswith(ending):
        raise UserError(
            f"sample {sample.id!r}: its prompt ends with {prompt[-60:]!r}, not with {ending!r} once; "
            "mend the model's chat_template.jinja"
        )
