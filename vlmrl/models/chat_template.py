"""Chat template: checks that a prompt holds every turn and ends with the generation prompt.

    ending = generation_prompt(processor)            once for each model
    check_prompt(sample, prompt_text, ending)        for each encoded prompt

Agreement cannot show a broken template, because engine and learner use the same one.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from vlmrl.errors import UserError
from vlmrl.sample import MARK, MARKS, Message, Sample

_ESCAPED = re.compile(rf"\\({'|'.join(MARKS.values())})")


def content_parts(message: Message) -> list[dict[str, str]]:
    """Content parts as chat templates take them: text, and a media part in place of each mark."""
    kinds = {mark: kind.removesuffix("s") for kind, mark in MARKS.items()}
    texts = MARK.split(message.content)
    return [
        {"type": kinds[piece]} if piece in kinds else {"type": "text", "text": _ESCAPED.sub(r"\1", piece)}
        for piece in texts
        if piece
    ]


def generation_prompt(processor: Any) -> str:
    """The text that the template adds after the last turn; `UserError` if it adds none, or adds it twice."""
    turn = [{"role": "user", "content": [{"type": "text", "text": "?"}]}]
    closed, opened = (
        processor.apply_chat_template(turn, tokenize=False, add_generation_prompt=wanted) for wanted in (False, True)
    )
    ending = opened.removeprefix(closed)
    half = ending[: len(ending) // 2]
    if not opened.startswith(closed) or not ending or ending == half + half or closed.endswith(ending):
        raise UserError(
            f"the model's chat template ends a prompt with {opened[-60:]!r}: it must add the generation prompt, once, "
            "where add_generation_prompt is set; fix its chat_template.jinja"
        )
    return ending


def check_prompt(sample: Sample, prompt: str, ending: str) -> None:
    """`UserError` unless the prompt's decoded text holds every turn, in order, and ends with the generation prompt.

    It does not count media: the formatter compares placeholders with the features of the media.
    """
    # Tokenizers compose characters. Templates may trim a turn, and may drop the thoughts of the assistant.
    prompt = unicodedata.normalize("NFC", prompt)
    parts = [part for m in sample.prompt if m.role != "assistant" for part in content_parts(m)]
    start = 0
    for part in parts:
        text = unicodedata.normalize("NFC", part.get("text", "").strip())
        position = prompt.find(text, start)
        if position < 0:
            raise UserError(
                f"sample {sample.id!r}: {text[:60]!r} is not in the prompt that the model gets; "
                "fix the model's chat_template.jinja"
            )
        start = position + len(text)
    if not prompt.endswith(ending) or prompt.removesuffix(ending).endswith(ending):
        raise UserError(
            f"sample {sample.id!r}: its prompt ends with {prompt[-60:]!r}, not with {ending!r} once; "
            "fix the model's chat_template.jinja"
        )
