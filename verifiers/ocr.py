"""OCR: how much of the true text the answer reads, by edit distance.

    edit   1 - levenshtein(answer, text) / max(len)                     (GLM-4.1V, arXiv 2507.01006, table 1)
    anls   the same, but 0 if it is not above `threshold`               (ST-VQA, arXiv 1905.13648, eq. 1)
    wer    1 - word edits / words of the text, not below 0              (1 - word error rate)

The answer is read as it stands and without what leads to it and encloses it ("Answer: STOP", 'The sign says "STOP".');
the best counts. So it does of several true texts. Two empty texts are equal. Full-width characters equal their ASCII
twins, and composed accents equal decomposed ones.

    vlmrl check ocr
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Any

from vlmrl.reading import answers
from vlmrl.reading.checks import one_of
from vlmrl.reading.markup import plain
from vlmrl.reading.texts import check_texts, readings, true_texts
from vlmrl.verdict import Example, Verdict, bad_target, unparsed

METRICS = ("edit", "anls", "wer")

EXAMPLES = [
    Example("<answer>Hello World</answer>", "hello  world", 1.0),
    Example("Hello Wrold", "Hello World", 1 - 2 / 11),
    Example("Hello Wrold", "hello World", 1 - 3 / 11, {"case": "keep"}),
    Example('The sign says "Hello World".', "Hello World", 1.0),
    Example("newyork", "New York", 1.0, {"space": "ignore"}),
    Example("St Louis", ["Saint Louis", "St. Louis"], 1.0, {"punctuation": "ignore"}),
    Example("Coca", "Coca Cola", 0.0, {"metric": "anls"}),
    Example("the brown fox", "the quick brown fox", 0.75, {"metric": "wer"}),
    Example("", "", 1.0),
    Example("abc", "", 0.0),
    Example("xyz", "abc", 0.0),
    Example("7", 7, None),
]

# An answer this many times longer than the text cannot score above its inverse: it scores 0, unread.
_LONGEST = 20


_QUOTE = re.compile(r"\"([^\"\n]{1,500})\"")
_OPEN = re.compile(
    r"\b(?:not|no|or|maybe|perhaps|possibly|might|may|could|either|if|unclear|illegible)\b|n't\b|[不没]|可能|或|[.!?。]\s*\w",
    re.IGNORECASE,
)


def verify(
    response: str,
    target: Any,
    *,
    metric: str = "edit",
    case: str = "ignore",
    space: str = "collapse",
    punctuation: str = "keep",
    threshold: float = 0.5,
) -> Verdict:
    """Similarity of the answer to `target`, a text or a list of texts of which the best counts.

    `metric`: `edit`, `anls`, `wer`; `case`: `ignore`, `keep`; `space`: `collapse` (runs are one space, ends
    are trimmed), `ignore`, `keep`; `punctuation`: `keep`, `ignore`; `threshold`: of `anls` alone.
    """
    try:
        check_target(target, metric=metric, case=case, space=space, punctuation=punctuation)
    except ValueError as error:
        return bad_target(str(error))
    read = readings(response)
    read += [quoted] if read and (quoted := _quoted(read[0])) else []
    if not read:
        return unparsed("the thinking never ended")
    texts = [_true_normal(text, case, space, punctuation) for text in true_texts(target)]
    longest = _LONGEST * (50 + max(len(text) for text in texts))
    score, best = -1.0, ""
    for said in read:
        if len(said) <= longest:
            normal = _normal(said, case, space, punctuation)
            similarity = max([_similarity(normal, text, metric) for text in texts])
            if similarity > score:
                score, best = similarity, said
    if score < 0:
        return Verdict(0.0, answer=read[0][:200], why=f"answer of {len(read[0])} characters")
    if metric == "anls" and score <= threshold:
        return Verdict(0.0, answer=best, why=f"similarity {score:.2f} is not above {threshold:g}")
    return Verdict(score, answer=best)


def _quoted(text: str) -> str | None:
    """The only text that one sentence quotes, without denying or doubting it: `"STOP" is written on the sign`."""
    folded = answers.fold(text)
    if '"' not in folded or len(text) >= 1000:
        return None
    folded = plain(folded)
    quotes = list(_QUOTE.finditer(folded))
    if len(quotes) != 1 or _OPEN.search(folded[: quotes[0].start()] + folded[quotes[0].end() :]):
        return None
    return quotes[0][1]


def gold(target: Any, **_: Any) -> str:
    """The true text, the first of several."""
    return true_texts(target)[0]


def check_target(
    target: Any,
    *,
    metric: str = "edit",
    case: str = "ignore",
    space: str = "collapse",
    punctuation: str = "keep",
    **_: Any,
) -> None:
    """ValueError unless the target is a text or texts free of answer markup, and the params are known."""
    one_of("metric", metric, METRICS)
    one_of("case", case, ("ignore", "keep"))
    one_of("space", space, ("collapse", "ignore", "keep"))
    one_of("punctuation", punctuation, ("keep", "ignore"))
    check_texts(target)


def _normal(text: str, case: str, space: str, punctuation: str) -> str:
    if not text.isascii():
        text = answers.fold(unicodedata.normalize("NFC", text))
    if case == "ignore":
        text = text.casefold()
    if punctuation == "ignore":
        text = re.sub(r"[^\w\s]|_", "", text)
    if space == "ignore":
        return "".join(text.split())
    return " ".join(text.split()) if space == "collapse" else text


_true_normal = lru_cache(maxsize=1024)(_normal)
"""The same of a target, which is that of all answers of a group."""


def _similarity(said: str, true: str, metric: str) -> float:
    from rapidfuzz.distance import Levenshtein

    if metric == "wer":
        words = true.split()
        if not words:
            return float(not said.split())
        return max(0.0, 1.0 - Levenshtein.distance(said.split(), words) / len(words))
    return Levenshtein.normalized_similarity(said, true)
