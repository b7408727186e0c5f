"""Texts: plain texts as targets, and the text that an answer gives in prose.

    true_texts(["Paris", "City of Light"])                    -> the same; of "Paris", ["Paris"]
    readings("I looked it up. The answer is Paris.")          -> all of it, and "Paris."
    answer_cue(r"\\s+is\\b").search("The answer is 7").end()    -> 14

Every function is total and linear in the length of its text.
"""

from __future__ import annotations

import re
from typing import Any

from vlmrl.reading import answers


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
    answer = answers.extract(text)
    return answer is not None and answer.text == text.strip()


def answer_cue(verb: str) -> re.Pattern[str]:
    """Finds "answer:", and "answer" with the verb (a pattern, with the space before it), in English or Chinese.

    A match ends where the answer begins, but for white space.
    """
    return re.compile(rf"\banswer(?:{verb}|\s*[:：])\s*[:：]?|答案(?:是|为|[:：])", re.IGNORECASE)


_CUE = answer_cue(r"\s+is\b")


def readings(text: str) -> list[str]:
    """The whole text, and the line after its last "answer is" or "answer:"."""
    cues = list(_CUE.finditer(text))
    return [text, text[cues[-1].end() :].strip().partition("\n")[0]] if cues else [text]
