r"""Texts: plain texts as targets, and the texts that a response may give as its answer.

    true_texts(["Paris", "City of Light"])                    -> the same; of "Paris", ["Paris"]
    readings("**Answer:** Paris\n\nIt is on the Seine.")      -> all of it, what follows the cue, and "Paris"
    readings(r"\boxed{\text{Paris}}")                         -> r"\text{Paris}" and "Paris"
    readings("### Text in the image\nSTOP")                    -> all of it, and "STOP"
    readings('The sign says "STOP".')                         -> all of it, and "STOP"

Every function is total and linear in the length of its text.
"""

from __future__ import annotations

import re
from functools import lru_cache
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


@lru_cache(maxsize=1024)
def is_unmarked(text: str) -> bool:
    """Whether a response of this text would answer just that."""
    answer = answers.marked(text)
    return answer is not None and unfenced(answer.text) == text.strip()


# A short sentence that states a text: "the sign says", "it is", "Text:". A denial ("does not say") states none.
_STATES = re.compile(
    r"#{1,6}[ \t]+(?:(?!\bnot\b|n't\b|\bno\b)[^\n]){0,60}?\b(?:text|transcription|ocr|words|content)\b"
    r"(?:(?!\bnot\b|n't\b)[^\n]){0,60}(?=\n)|(?:(?:(?:(?!\bnot\b|n't\b|\bno\b|\bif\b)[^\n.:;\"]){1,60}[,!]\s)?"
    r"(?:it|this|that|(?:the|there)\s(?:(?!\bnot\b|n't\b|\bno\b)[^\n.:;,\"]){1,80}?)(?:'s|\s"
    r"(?:is|was|are|were|equals|reads?|says?|states?|displays?|contains?|shows?))\b"
    r"(?:\sthe\s(?:text|words?|phrase|number|letters?))?(?:\sas\sfollows)?"
    r"|(?:text|transcription|words?|content|output)(?=\s*:)"
    r"|(?:(?!\bnot\b|n't\b)[^\n]){1,120}:[*_]{0,2}\s*(?=\n)"
    r"|(?:图(?:片|像)?[中里]的?)?(?:文字|文本|内容)+(?:是|为|(?=[:]))|它是)\s*:?\s*",
    re.IGNORECASE,
)
_STATING = re.compile(r"#|s\b|\b(?:are|were)\b|[:：是为]", re.IGNORECASE)
_LEADING = re.compile(r"ans|result|s\b|\b(?:are|were)\b", re.IGNORECASE)
_REASON = re.compile(r",?\s(?:because|since)\b")


def readings(response: str) -> list[str]:
    """The texts that a response may mean to answer, most literal first; empty if its thinking never ended.

    The marked answer, or the whole, as it stands; the same bare (`answers.extract`); and what follows a cue ("answer:")
    or a short statement ("the sign says"): all of it, its first line, and that without a reason and a full stop. Each
    of them also without the markup in it (`plain`).
    """
    whole = answers.marked(response)
    if whole is None:
        return []
    if whole.text.isascii() and whole.text.replace(" ", "").isalnum() and not _LEADING.search(whole.text):
        return [whole.text]  # bare words, as most answers are
    bare = answers.bare(whole)
    texts = [unfenced(whole.text).strip()]
    if bare.text != texts[0]:
        texts.append(bare.text)
    stated = _STATES.match(answers.fold(bare.text)) if _STATING.search(bare.text) else None
    if stated:
        texts.append(peeled(unfenced(bare.text[stated.end() :])))
    last = texts[-1]
    if (bare.cued or stated) and (last.endswith((".", "。")) or "\n" in last or _REASON.search(last)):
        line = last.partition("\n")[0]
        short = _REASON.split(line, maxsplit=1)[0].rstrip(" .。")
        texts += [peeled(last.rstrip(" .。")), peeled(line), peeled(short)]
    return list(dict.fromkeys([form for text in dict.fromkeys(texts) for form in (text, plain(text))]))
