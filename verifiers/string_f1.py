"""String F1: how many of the words the answer shares with the true text, for free-form answers.

    f1       2PR / (P + R) over words, without case, punctuation and articles   (SQuAD, arXiv 1606.05250, section 6.1)
    rouge1   the same over words as they stand, rouge2 over pairs of words      (ROUGE-N, Lin 2004, W04-1013)
    rougeL   over the longest common subsequence of words                       (ROUGE-L, Lin 2004, section 3)
    rouge    the mean of these three, the free-form reward of Visionary-R1      (arXiv 2505.14677)

The answer is read as it stands and without what leads to it and encloses it ("Answer: a red car"); the best counts. So
it does of several true texts. Under `f1`, "yes", "no" and "noanswer" earn nothing unless they are the
whole answer on both sides (HotpotQA, arXiv 1809.09600), and the signs that make a number stay: "1.5" is not "15".
Equal texts score 1, those too short for a pair included; Chinese and Japanese characters are words each. There is
no stemming. An answer that lists everything loses precision; it is not otherwise refused.

    vlmrl check string_f1
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from vlmrl.reading import answers
from vlmrl.reading.checks import one_of
from vlmrl.reading.texts import check_texts, readings, true_texts
from vlmrl.verdict import Example, Verdict, bad_target, unparsed

METRICS = ("f1", "rouge1", "rouge2", "rougeL", "rouge")

EXAMPLES = [
    Example("<answer>The quick fox!</answer>", "quick fox", 1.0),
    Example("the brown fox", "a quick brown fox", 0.8),
    Example("police kill the gunman", "police killed the gunman", 0.75, {"metric": "rougeL"}),
    Example("the gunman kill police", "police killed the gunman", 0.5, {"metric": "rougeL"}),
    Example("the gunman kill police", "police killed the gunman", 1 / 3, {"metric": "rouge2"}),
    Example("**Answer:** quick fox", "quick fox", 1.0),
    Example("hello world", ["goodbye", "hello world"], 1.0),
    Example("Yes, it is", "yes", 0.0),
    Example("apple", "carrot", 0.0),
    Example("1.5", "15", 0.0),
    Example("", "carrot", 0.0),
    Example("7", 7, None),
]

# An answer this many times longer than the text scores below a tenth: it scores 0, unread.
_LONGEST = 20
_WHOLE = frozenset({("yes",), ("no",), ("noanswer",)})
_ARTICLES = frozenset({"a", "an", "the"})
# The signs of a number ("-1", ".5", "1.5") stay.
_PUNCTUATION = re.compile(r"(?!(?<![\w.])[-+]\.?\d|(?<![^\W\d])\.\d)[^\w\s]|_")
_WORD = re.compile(r"\w+")
_CHARACTER = re.compile(r"([\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff])")


def verify(response: str, target: Any, *, metric: str = "f1") -> Verdict:
    """The overlap of the answer with `target`, a text or a list of texts of which the best counts.

    `metric`: `f1`, `rouge1`, `rouge2`, `rougeL`, or `rouge`, the mean of those three.
    """
    try:
        check_target(target, metric=metric)
    except ValueError as error:
        return bad_target(str(error))
    read = readings(response)
    if not read:
        return unparsed("the thinking never ended")
    texts = true_texts(target)
    longest = _LONGEST * (50 + max(map(len, texts)))
    scores = {said: max(_similarity(said, text, metric) for text in texts) for said in read if len(said) <= longest}
    if not scores:
        return Verdict(0.0, answer=read[0][:200], why=f"answer of {len(read[0])} characters")
    said = max(scores, key=scores.__getitem__)
    return Verdict(scores[said], answer=said)


def gold(target: Any, **_: Any) -> str:
    """The true text, the first of several."""
    return true_texts(target)[0]


def check_target(target: Any, *, metric: str = "f1") -> None:
    """ValueError unless the target is a text or texts free of answer markup, and the metric is known."""
    one_of("metric", metric, METRICS)
    check_texts(target)


def _similarity(said: str, true: str, metric: str) -> float:
    if metric == "rouge":
        return sum(_similarity(said, true, part) for part in ("rouge1", "rouge2", "rougeL")) / 3
    a, b = (_bare_words(said), _true_bare_words(true)) if metric == "f1" else (_words(said), _true_words(true))
    if a == b:
        return 1.0
    if metric == "f1" and (tuple(a) in _WHOLE or tuple(b) in _WHOLE):
        return 0.0
    if metric == "rougeL":
        from rapidfuzz.distance import LCSseq

        return _f1(LCSseq.similarity(a, b), len(a), len(b))
    if metric == "rouge2":
        a, b = list(itertools.pairwise(a)), list(itertools.pairwise(b))
    return _f1(_shared(a, b), len(a), len(b))


def _shared(said: Sequence[Any], true: Sequence[Any]) -> int:
    """How many items of one sequence are in the other, each as often as in both; far quicker than `Counter` & it."""
    left = Counter(true)
    shared = 0
    for item in said:
        if left.get(item):
            left[item] -= 1
            shared += 1
    return shared


def _f1(shared: int, said: int, true: int) -> float:
    """2PR / (P + R) with precision shared / said and recall shared / true."""
    return 2 * shared / (said + true) if shared else 0.0


def _bare_words(text: str) -> Sequence[str]:
    """Words without punctuation and articles; those of a text that would lose all of them stay."""
    plain = _folded(text)
    bare = _PUNCTUATION.sub("", plain)
    words = (bare if bare.isascii() else _CHARACTER.sub(r" \1 ", bare)).split()
    return [word for word in words if word not in _ARTICLES] or words or plain.split()


def _words(text: str) -> Sequence[str]:
    """Runs of letters and digits; those of a text that has none are its pieces."""
    plain = _folded(text).replace("_", " ")
    return _WORD.findall(_CHARACTER.sub(r" \1 ", plain)) or plain.split()


def _folded(text: str) -> str:
    return text.lower() if text.isascii() else answers.fold(unicodedata.normalize("NFC", text)).casefold()


# Those of a target, which is that of all answers of a group.
_true_bare_words = lru_cache(maxsize=1024)(_bare_words)
_true_words = lru_cache(maxsize=1024)(_words)
