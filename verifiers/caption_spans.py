"""Caption spans: find the words of a caption that contradict the image (ViCrit, arXiv 2506.10128, section 3).

The caption differs from a true one in one phrase. The answer must point at the difference: the words that
the two phrases do not share ("grey cat" for "grey dog" differ in "cat"). It is right if, without case and
punctuation, it

- is a run of words of the caption as shown,
- covers the whole difference, and
- keeps to the wrong phrase of the target, an article before it and `slack` more words aside, and is not the whole
  caption (unless all of it is the difference).

The answer is also read without what leads to the phrase and encloses it ('The incorrect phrase is "grey cat".'); a
phrase that is quoted counts if it is the only one of the caption that is.

The released scorer asks for one word of the difference anywhere in the answer, so that repeating the
caption, or any phrase with that word in it, earns full reward. Here they earn nothing.

Where words were only removed ("a car" for "a red car"), the difference is the two words that now meet
there. In scripts without spaces each character counts as a word. Where nothing is wrong the target's phrase is
empty, and the answer is "none" or "no error": any other answer there is a made-up error and scores 0.

A target may name the kind of its error (ViCrit-Bench, section 4): the part `type_<kind>` then holds the score, so
that each kind has its own accuracy in the ledger; `type_none` is that of captions without an error. The paper's
reward is this with weight 0.9 beside `format` (`think_boxed`) with weight 0.1.

    vlmrl check caption_spans
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from functools import lru_cache
from typing import Any

from vlmrl.reading import answers
from vlmrl.reading.markup import plain
from vlmrl.reading.texts import readings
from vlmrl.verdict import Example, Verdict, bad_target, unparsed

_SHOWN = {"caption": "A grey cat sleeps on the old sofa, next to a lamp."}
_CAT = {"wrong": "grey cat", "right": "grey dog"}

EXAMPLES = [
    Example("<answer>grey cat</answer>", _CAT, 1.0, _SHOWN),
    Example("cat", _CAT, 1.0, _SHOWN),
    Example('"A grey Cat"', _CAT, 1.0, _SHOWN),
    Example('The incorrect phrase is "grey cat".', _CAT, 1.0, _SHOWN),
    Example('The incorrect phrase is "old sofa", not "grey cat".', _CAT, 0.0, _SHOWN),
    Example("grey cat sleeps on the", _CAT, 0.0, _SHOWN),
    Example("grey", _CAT, 0.0, _SHOWN),
    Example("black cat", _CAT, 0.0, _SHOWN),
    Example("A grey cat sleeps on the old sofa, next to a lamp.", _CAT, 0.0, _SHOWN),
    Example("none", _CAT, 0.0, _SHOWN),
    Example("grey cat", "grey cat", 1.0, _SHOWN),
    Example("cat", "grey cat", 0.0, _SHOWN),
    Example("the old", {"wrong": "the old sofa", "right": "the very old sofa"}, 1.0, _SHOWN),
    Example("No error.", {"wrong": "", "right": ""}, 1.0, _SHOWN),
    Example("No errors found", "", 1.0, _SHOWN),
    Example("lamp", "", 0.0, _SHOWN),
    Example("cat", {"wrong": "brown dog", "right": "grey cat"}, None, _SHOWN),
    Example("cat", _CAT | {"type": "object"}, 1.0, _SHOWN),
    Example("cat", _CAT | {"type": "taste"}, None, _SHOWN),
    Example("cat", _CAT, None),
]

TYPES = ("count", "material", "spatial", "color", "object", "condition", "shape", "text")
"""The kinds of errors of ViCrit-Bench; `condition` is a state, an action or an emotion."""

_NO_SPACES = "\u3040-\u30ff\u3400-\u9fff"
_WORD = re.compile(rf"[{_NO_SPACES}]|[^\W{_NO_SPACES}]+(?:'[^\W{_NO_SPACES}]+)*")
_ERROR = (
    r"(?:errors?|mistakes?|hallucinations?|contradictions?|inaccurac(?:y|ies)|discrepanc(?:y|ies)|issues?"
    r"|(?:incorrect|wrong|hallucinated|erroneous|inaccurate|false) (?:phrases?|words?|parts?|details?|spans?))"
)
_NOTHING = re.compile(
    rf"no|none|nothing|n a|correct|(?:there is )?(?:nothing|no {_ERROR}) (?:is )?wrong"
    r"(?: with (?:the|this) (?:caption|description))?"
    rf"|(?:(?:there (?:is|are)|i (?:see|find|found)|it has) )?no {_ERROR}"
    r"(?: (?:were |was |are |is )?(?:found|detected|present|here))?"
    r"(?: in (?:the|this) (?:caption|description|text))?"
    r"|all (?:is |are )?correct|none of the (?:phrases|words|parts) (?:is|are) (?:incorrect|wrong)"
    r"|(?:everything|(?:the|this) (?:caption|description)) (?:is|seems|looks) (?:\w+ly )?(?:correct|accurate|right)"
    r"|(?:the|this) (?:caption|description) (?:\w+ly )?(?:matches|describes|reflects) the (?:image|picture)(?: \w+ly)?"
    r"|没有错误|无误|无"
)
_ARTICLES = frozenset({"a", "an", "the"})
# What leads to the wrong phrase, and what may follow it; quotes and dashes are folded.
_LEAD = re.compile(
    rf"(?:the\s|an?\s)?(?:\w+\s)?(?:{_ERROR}|phrase|words?|part)\b"
    r"(?:\s(?:that|which)\s(?:is|are|does|do)(?:\snot|n't)\s(?!wrong|incorrect|an?\b)\w+)?"
    r"(?:(?!\b(?:not|match(?:es)?|fits?|correct|accurate)\b|n't\b)[^\"\n:]){0,60}?(?:\b(?:is|are)|:)\s*"
    r"|(?:(?:描述|标题|句子)[中里]?的?)?错误的?(?:短语|词语?|部分|描述)?(?:是|为|:)\s*|(?:the\s)?(?:phrase|words?|part)\s+(?=\")",
    re.IGNORECASE,
)
# "The correct phrase is", "the part that matches the image is"
_POINTS_AT_RIGHT = re.compile(
    r"(?:the\s)?(?:correct\s(?:phrase|words?|part)|(?:phrase|words?|part)\s(?:that|which)\s"
    r"(?:(?:match|fit|appear)(?:e?s)?|(?:is|are)\s(?:correct|right|shown)))\b",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"\"([^\"\n]{1,300})\"|(?<!\w)'([^'\n]{1,300})'(?!\w)")
_AFTER = re.compile(
    r"\s*(?:(?:is|are|was)\s+(?:the\s+)?(?:\w+ly\s+)?(?:incorrect|wrong|inaccurate|false|not\s+(?:correct|accurate|right)"
    r"|hallucinated|an?\s+hallucination|error|mistake)\b|should\s+(?:be|read|say)\b|(?:->|=>|→|[(:;])"
    r"|does(?:n't|\s+not)\s+(?:match|appear|exist|fit)\b|contradicts\b"
    r"|[,(]?\s*(?:because|since|as|but|while|instead|which)\b|[.,;。]?\s*(?:$|\n)|[.。]\s?)",
    re.IGNORECASE,
)


def verify(response: str, target: Any, *, caption: str = "", slack: int | None = None) -> Verdict:
    """1 if the answer points at the difference, else 0. Parts: `exact`: no word more; `echo`: whole caption.

    `target`: `{"wrong": phrase as shown, "right": true phrase, "type": one of TYPES}` (type optional), or the wrong
    phrase alone, all of whose words then count as the difference; an empty or null wrong phrase says that nothing
    is wrong. `caption`: as shown to the model. `slack`: how many words outside the wrong phrase are allowed; default:
    1 for a caption of more than 8 words, 2 of more than 16. Each one pays blind guesses: on captions of 8 words, always
    answering the last three would earn 0.45 with a slack of 2.
    """
    try:
        check_target(target, caption=caption)
    except ValueError as error:
        return bad_target(str(error))
    texts = _pointed(response, caption)
    kind = _kind(target)
    if not texts:
        return unparsed("no answer", (f"type_{kind}",) if kind else ())
    shown = _caption_words(caption)
    wrong = _phrases(target)[0]
    differences = _differences(target, shown) if wrong else None
    slack = min(2, (len(shown) - 1) // 8) if slack is None else slack
    verdicts = [_judge(text, shown, wrong, differences, slack) for text in texts]
    best = max(verdicts, key=lambda verdict: (verdict.score or 0, verdict.parts.get("exact", 0)))
    return replace(best, parts=best.parts | {f"type_{kind}": best.score or 0.0}) if kind else best


def _judge(
    text: str, shown: list[str], wrong: list[str], differences: list[tuple[int, int]] | None, slack: int
) -> Verdict:
    """Whether a text points at the difference, or says that there is none."""
    said = _words(text)
    parts = {"echo": float(said == shown)}
    if differences is None:
        right, why = any(_NOTHING.fullmatch(joint.join(said)) for joint in (" ", "")), "nothing is wrong"
    else:
        extra = _fewest_extra_words(said, shown, differences)
        outside = _words_outside(said, wrong) if extra else 0
        right = extra is not None and outside <= slack and (extra == 0 or said != shown)
        why = _why(said, shown) if extra is None else f"{outside} words outside the wrong phrase"
        parts["exact"] = float(extra == 0)
    return Verdict(float(right), parts=parts, answer=text[:300], why="" if right else why)


def _pointed(response: str, caption: str) -> list[str]:
    """What the response may point at: its readings, and the only phrase of the caption that it quotes as wrong."""
    texts = [text for text in readings(response) if text]
    if not texts:
        return []
    answer = answers.extract(response)
    whole = plain(answers.fold(answer.text if answer else ""))
    if _POINTS_AT_RIGHT.match(whole):
        return []
    lead = _LEAD.match(whole)
    rest = whole[lead.end() :] if lead else whole
    quoted = _QUOTED.match(rest)
    shown = _caption_words(caption)
    others = {tuple(_words(a or b)) for a, b in _QUOTED.findall(rest) if _places(_words(a or b), shown)}
    if quoted and len(others) == 1 and _AFTER.match(rest, quoted.end()):
        texts.append(quoted[1] or quoted[2])
    elif lead and not quoted:
        texts.append(rest.partition("\n")[0])
    return texts


def _kind(target: Any) -> str | None:
    """The type of the error, "none" where nothing is wrong."""
    if not _phrases(target)[0]:
        return "none"
    return target.get("type") if isinstance(target, dict) else None


def gold(target: Any, *, caption: str = "", **_: Any) -> str:
    """The words of the difference, or "none"."""
    if not _phrases(target)[0]:
        return "none"
    shown = _words(caption)
    start, end = _differences(target, shown)[0]
    return " ".join(shown[start:end])


def check_target(target: Any, *, caption: str = "", **_: Any) -> None:
    """ValueError unless the wrong phrase stands in the caption and differs from the right one."""
    wrong, _right = _phrases(target)
    shown = _caption_words(caption)
    if not shown:
        raise ValueError("params.caption is missing; give the caption as it was shown")
    if wrong and not _differences(target, shown):
        raise ValueError(
            f"target phrase {' '.join(wrong)!r} is not in the caption, or equals the right one; correct it"
        )


def _phrases(target: Any) -> tuple[list[str], list[str] | None]:
    """The words of the wrong phrase and of the right one (None if it is not known)."""
    pair = target if isinstance(target, dict) else {"wrong": target}
    wrong, right = pair.get("wrong"), pair.get("right")
    if not isinstance(wrong, (str, type(None))) or not isinstance(right, (str, type(None))) or "wrong" not in pair:
        raise ValueError(f"target {str(target)[:80]!r} is not a phrase; give {{'wrong': ..., 'right': ...}}")
    if pair.get("type") not in (None, *TYPES):
        raise ValueError(f"target type {str(pair['type'])[:60]!r} is unknown; use one of {', '.join(TYPES)}")
    return _words(wrong or ""), None if right is None else _words(right)


def _words(text: str) -> list[str]:
    text = answers.fold(unicodedata.normalize("NFC", text)).casefold()
    return _WORD.findall(text)


@lru_cache(maxsize=256)
def _caption_words(caption: str) -> list[str]:
    """The words of a caption, which is that of all answers of a group."""
    return _words(caption)


def _differences(target: Any, shown: list[str]) -> list[tuple[int, int]]:
    """Where in the caption the difference may stand, as [start, end) word places."""
    wrong, right = _phrases(target)
    start, end = _changed(wrong, right)
    if wrong == right:
        return []
    if start < end:
        return [(at + start, at + end) for at in _places(wrong, shown)]
    # Words were removed: what shows it are the neighbours that now meet.
    return [(max(at + start - 1, 0), min(at + start + 1, len(shown))) for at in _places(wrong, shown)]


def _changed(wrong: list[str], right: list[str] | None) -> tuple[int, int]:
    """[start, end) of the words of the wrong phrase that are left after the shared beginning and end."""
    if right is None:
        return 0, len(wrong)
    shorter = min(len(wrong), len(right))
    start = next((i for i in range(shorter) if wrong[i] != right[i]), shorter)
    same_end = next((i for i in range(shorter - start) if wrong[-1 - i] != right[-1 - i]), shorter - start)
    return start, len(wrong) - same_end


def _places(phrase: list[str], text: list[str]) -> list[int]:
    count = len(phrase)
    return [at for at in range(len(text) - count + 1) if text[at : at + count] == phrase]


def _fewest_extra_words(said: list[str], shown: list[str], differences: list[tuple[int, int]]) -> int | None:
    """How many words more than the difference the answer has; None if it does not cover it."""
    extra = [
        len(said) - (end - start)
        for at in _places(said, shown)
        for start, end in differences
        if at <= start and end <= at + len(said)
    ]
    return min(extra, default=None)


def _words_outside(said: list[str], wrong: list[str]) -> int:
    """How many words an answer has that do not belong to the wrong phrase, an article before it aside."""
    article = bool(said) and said[0] in _ARTICLES and said[:1] != wrong[:1]
    kept = said[article:]
    longest = max(
        (n for n in range(len(wrong), -1, -1) for at in range(len(wrong) - n + 1) if _places(wrong[at : at + n], kept)),
        default=0,
    )
    return len(kept) - longest


def _why(said: list[str], shown: list[str]) -> str:
    return "does not cover the difference" if said and _places(said, shown) else "not a run of words of the caption"
