r"""Texts: plain texts as targets, and the texts that a response may give as its answer.

    true_texts(["Paris", "City of Light"])                    -> the same; of "Paris", ["Paris"]
    readings("**Answer:** Paris\n\nIt is on the Seine.")      -> all of it, what follows the cue, and "Paris"
    readings(r"\boxed{\text{Paris}}")                         -> r"\text{Paris}" and "Paris"

Every function is total and linear in the length of its text.
"""

from __future__ import annotations

import re
from typing import Any

from vlmrl.reading import answers
from vlmrl.reading.markup import peeled, plain, unfenced


def true_texts(target: Any) -> list[str]:
    """The texts of which any is true; `ValueError` unless the target is a text or a list of texts."""
    texts = target if isinstance(target, list) else [target]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"target {str(target)[:60]!r} is not a text; give a string or a list of strings")
    return texts


def check_texts(target: Any) -> None:
    """`ValueError` unless the target is a text or texts, without the marks of an answer."""
    for text in true_texts(target):
        if not is_unmarked(text):
            raise ValueError(f"target {text[:60]!r} holds think, answer or box markup; give the plain text")


def is_unmarked(text: str) -> bool:
    """Whether a response of this text would answer just that."""
    answer = answers.marked(text)
    return answer is not None and unfenced(answer.text) == text.strip()


def readings(response: str, lead: re.Pattern[str] | None = None) -> list[str]:
    """The texts that a response may mean to answer, most literal first; empty if its thinking never ended.

    The marked answer, or the whole, as it stands; the same bare (`answers.extract`); and the first line of what
    follows a cue or the `lead` (such as "the sign says"). Each of them also without the markup in it (`plain`).
    """
    whole = answers.marked(response)
    if whole is None:
        return []
    bare = answers.bare(whole)
    texts = [unfenced(whole.text).strip(), bare.text]
    led = lead.match(bare.text) if lead else None
    if led:
        texts.append(peeled(bare.text[led.end() :]))
    if bare.cued or led:
        texts.append(peeled(texts[-1].partition("\n")[0]))
    return list(dict.fromkeys(form for text in texts for form in (text, plain(text))))
