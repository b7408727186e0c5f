r"""Sentences: the number or formula that a text in words answers.

    in_words("The area equals 9π - 18.")                            -> "9π - 18"
    in_words("There are 12 sequences that meet the three rules.")   -> "12"
    in_words("It is not 5.")                                        -> None
    in_words("12, since 3 of 4 rows are full.", cued=True)          -> "12"

It is the last formula of the last sentence that has one. The only one in bold comes before the others, and digits come
before number words. After a cue ("The answer is") it is what the text begins with. Texts are a few thousand characters
at most; `vlmrl.verifiers.math` sees to that.
"""

from __future__ import annotations

import re
from itertools import pairwise

from vlmrl.reading.answers import Span, find_numbers
from vlmrl.reading.notation import clean, is_prose
from vlmrl.reading.quantities import follows_number

MAX_JOINED = 20
"""Formulas that "and" joins to one list."""

_SENTENCE_END = re.compile(r"\n|(?<!\d)\.\s+|(?<=\d)\.\s+(?=[A-Z*\\$])|。")
# A token is a row of formulas between delimiters, groups in braces, groups in brackets without words, and characters;
# letters of Chinese, Japanese and Korean stand between tokens.
_LETTERS = r"\\[a-zA-Z]+|(?<![A-Za-z])[A-Za-z](?![A-Za-z])"
_DELIMITED = (
    r"\$\$[^$]+\$\$|\$[^$\s](?:[^$\n]*[^$\s])?\$(?!\d)|\$\s[^$\n]+\s\$|\\\((?:(?!\\\)).)+\\\)|\\\[(?:(?!\\\]).)+\\\]"
)
_TOKEN = re.compile(
    rf"(?:{_DELIMITED}|\{{(?:[^{{}}\n]|\{{[^{{}}\n]*\}})*\}}|[\[(](?:{_LETTERS}|[^\[\]()A-Za-z\n])*[\])]"
    r"|[^\s\u2e80-\u9fff\uac00-\ud7af\uff0c-\uff1f])+",
    re.DOTALL,
)
_WHOLE = re.compile(_DELIMITED, re.DOTALL)
_OPERATOR = re.compile(r"[-+*/=<>^≤≥≠≈±×÷·⋅∪∩∈−–]+|\\(?:cdot|times|div|pm|cup|cap|in|leq?|geq?|neq?|approx)")
_FUNCTION = r"(?:arc)?(?:sin|cos|tan|cot|sec|csc)|sqrt|log|ln|exp|lim|frac|text|left|right|mathrm"
_WORD = re.compile(
    rf"(?!(?:{_FUNCTION})(?![a-z]))(?<![\\A-Za-z])[^\W\d_\u0370-\u03ff²³¹\u2070-\u209c]{{2,}}", re.IGNORECASE
)
_MATHEMATICAL = re.compile(r"[\\π√∞²³°∅½⅓¼¾⅔∠\u0370-\u03ff]|^[b-zB-HJ-Z]$")
_ENCLOSING = re.compile(r"^[\"'“‘*_`|]+|[\"'”’*_`|.,;:!?]+$")
_ORDINAL = re.compile(r"\d(?:st|nd|rd|th)\b|^\d+-[a-zA-Z]{2}|^\d+x\d")
_ADVERB = re.compile(
    r"(?:(?:approximately|about|roughly|exactly|equals?|to|simply|just|probably|definitely|clearly|indeed)\b[\s*_]*)+",
    re.IGNORECASE,
)
_LEADING = re.compile(rf"[\s*_`\"'=:({{]*(?:{_ADVERB.pattern})?", re.IGNORECASE)
_REASON = re.compile(
    r"[,;]?\s*\(not\b.*|[,;]?\s+(?:since|because|as|not|where|though|although|but|while|however)\s.*",
    re.IGNORECASE | re.DOTALL,
)
_JOINT = re.compile(r"[\s*]*,?\s*(and|or|,)[\s*]*", re.IGNORECASE)
_PERCENT = re.compile(r"[\s*]*\\?%")
_BOLD = re.compile(r"\*\*(?=\S)([^*\n]+)\*\*|__(?=\S)([^_\n]+)__")
# Words that leave the expression after them open, or deny it.
_OPEN = re.compile(
    r"(?:\b(?:or|not|either|neither|nor|none of|at (?:least|most)|(?:more|less|fewer|greater|larger|smaller) than|up to"
    r"|else|between|from\s+\S{1,20}\s+to|any (?:of|number)(?:\s+\S{1,20},)*|(?:could|might|may|can) be|maybe|perhaps"
    r"|possibly|almost|nearly|over|under)|n['’]t)\W*$",
    re.IGNORECASE,
)
_LEFT_OPEN = re.compile(r"[\s$,.}*]*\(?(?:if|when|unless|or|through)\b|[\s*]*\?", re.IGNORECASE)
_DETERMINER = re.compile(
    r"\b(?:the|these|those|this|that|all|both|each|its|their|our|any|every|no|last)\s+$", re.IGNORECASE
)
_TAKEN_BACK = re.compile(r"\b(?:wait|actually|correction|sorry|hmm|oops|mistake|rather|instead)\b", re.IGNORECASE)


def in_words(text: str, cued: bool = False, marked: bool = False) -> str | None:
    """The formula that a text answers, as it stands there; None if there is none, or it is left open.

    `cued`: the text follows a cue, so that it begins with its answer; a later sentence may take that back. What is
    `cued` or `marked` may be an answer in words alone.
    """
    text = _WHOLE.sub(lambda match: match[0].replace("\n", " "), text)
    sentences = [sentence.strip(" }") for sentence in _SENTENCE_END.split(text) if sentence.strip(" *_}")]
    if cued:
        later = [sentence for sentence in sentences[1:] if _TAKEN_BACK.search(sentence)]
        sentences = later or [_REASON.sub("", sentence) for sentence in sentences[:1]]
        cued = not later
    if cued and sentences and not is_prose(clean(sentences[0])):
        return _ADVERB.sub("", sentences[0])
    for sentence in reversed(sentences):
        found = formulas(sentence)
        if found:
            return _chosen(sentence, found, first=cued and _LEADING.fullmatch(sentence, 0, found[0].start) is not None)
    return _words_alone(sentences[-1], cued or marked or len(text.split()) <= 3) if sentences else None


def _words_alone(sentence: str, all_of_it: bool) -> str | None:
    """The last words in bold, or all of the sentence."""
    bold = list(_BOLD.finditer(sentence))
    if bold and ":" not in bold[-1][0] and not _OPEN.search(sentence[: bold[-1].start()]):
        return bold[-1][0].strip("*_. ")
    return sentence if all_of_it else None


def _chosen(sentence: str, found: list[Span], first: bool) -> str | None:
    """The first or the last formula with those that "and" joins to it; None if the words around leave it open."""
    digits = [span for span in found if not span.text.replace("-", "").replace(" ", "").isalpha()]
    bold = [span for match in _BOLD.finditer(sentence) if (span := _whole(match, found))]
    if first:
        run = found[:1]
    elif len(bold) == 1:
        run = bold
    else:
        found = digits or found
        run = found[-1:]
    place = found.index(run[0])
    joints = [_JOINT.fullmatch(sentence[a.end : b.start]) for a, b in pairwise(found)]
    start = end = place
    while not first and start > 0 and (joint := joints[start - 1]) and (start < place or joint[1] != ","):
        start -= 1
    while first and end < len(joints) and joints[end]:
        end += 1
    if any(joint and joint[1] != "," for joint in joints[start:end]):
        run = found[start : end + 1][-MAX_JOINED:]
    if _OPEN.search(sentence[max(0, run[0].start - 60) : run[0].start]) or _LEFT_OPEN.match(sentence, run[-1].end):
        return None
    return ", ".join(span.text for span in run)


def _whole(match: re.Match[str], found: list[Span]) -> Span | None:
    """The one formula that a span in bold is, but for a unit."""
    inside = [span for span in found if match.start() <= span.start and span.end <= match.end()]
    if len(inside) != 1:
        return None
    rest = match[0].replace(inside[0].text, "", 1).strip("*_ .")
    return inside[0] if all(map(follows_number, rest.split())) else None


# --- the formulas of a sentence ---------------------------------------------------------------------------


def formulas(sentence: str) -> list[Span]:
    """The formulas and numbers in a sentence, in order; number words only where no determiner is before them."""
    found: list[Span] = []
    tokens = [_stripped(match) for match in _TOKEN.finditer(sentence)]
    place = 0
    while place < len(tokens):
        end = place
        while _is_formula(tokens[place].text) and end + 1 < len(tokens) and _goes_on(sentence, tokens, end):
            end += 1
        while end > place and _OPERATOR.fullmatch(tokens[end].text):
            end -= 1
        end = _after_units(sentence, tokens, end) if find_numbers(tokens[end].text) else end
        start, text = tokens[place].start, sentence[tokens[place].start : tokens[end].end]
        if _is_formula(tokens[place].text) and re.search(r"[^a-zA-Z_]", text):
            percent = _PERCENT.match(sentence, tokens[end].end)
            inner = text[1:-1] if _WHOLE.fullmatch(text) and not text.startswith("\\") else text
            found.append(Span(inner + ("\\%" if percent else ""), start, percent.end() if percent else tokens[end].end))
        place = end + 1
    apart = [word for word in _words(sentence) if not any(span.start <= word.start < span.end for span in found)]
    return sorted([*found, *apart], key=lambda span: span.start)


def _words(sentence: str) -> list[Span]:
    """The numbers in words that no determiner makes a reference: "twelve", "two thirds", not "the three sides"."""
    found = []
    for number in find_numbers(sentence):
        if not sentence[number.start].isalpha() or _DETERMINER.search(sentence[: number.start]):
            continue
        part = _PART.match(sentence, number.end)
        text = f"{number.value}/{_PARTS[part[1].lower()]}" if part else sentence[number.start : number.end]
        unit = _UNIT_WORDS.match(sentence, number.end)
        if not part and unit and all(map(follows_number, unit[0].split())):
            text += unit[0]
        found.append(Span(text, number.start, part.end() if part else number.end))
    return found


_PARTS = {name: value for value, name in enumerate(
    ("half", "third", "quarter", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"), 2
)} | {"halve": 2, "fourth": 4}  # fmt: skip
_PART = re.compile(rf"[\s-]+({'|'.join(_PARTS)})s?\b", re.IGNORECASE)
_UNIT_WORDS = re.compile(r" [a-zA-Z]+")


def _after_units(sentence: str, tokens: list[Span], place: int) -> int:
    """The place of the last of the units that follow a number: `5 square meters`, `3 million`."""
    last = place
    while last + 1 < len(tokens) and sentence[tokens[last].end : tokens[last + 1].start] == " ":
        following = tokens[last + 1]
        ends = following.end == len(sentence.rstrip(".*_ ")) or following.text not in ("in", "min")
        if following.text in ("a", "A", "I", "total", "old") or not (follows_number(following.text) and ends):
            break
        last += 1
    return last


def _stripped(match: re.Match[str]) -> Span:
    """A token without the marks and the punctuation around it."""
    text, start = match[0], match.start()
    while not _WHOLE.fullmatch(text) and (mark := _ENCLOSING.search(text)) and mark.end() > mark.start():
        start += mark.end() if mark.start() == 0 else 0
        text = text[mark.end() :] if mark.start() == 0 else text[: mark.start()]
    return Span(text, start, start + len(text))


def _is_formula(token: str) -> bool:
    """Whether a token is mathematics: a number with or without a unit, a letter, an expression."""
    if _WHOLE.fullmatch(token):
        return True
    if _ORDINAL.search(token) or not (find_numbers(token) or _MATHEMATICAL.search(token)):
        return False
    return all(map(follows_number, _WORD.findall(re.sub(r"\\[a-zA-Z]+ ?(?:\{[^{}]*\})?", "", token))))


def _goes_on(sentence: str, tokens: list[Span], place: int) -> bool:
    """Whether a formula goes on with the next token: after or with an operator, or as a mixed number."""
    this, following = tokens[place], tokens[place + 1]
    between = sentence[this.end : following.start]
    if between.strip():
        return False
    if _OPERATOR.fullmatch(this.text):
        return _is_formula(following.text) or following.text in ("a", "A", "I")
    if _OPERATOR.fullmatch(following.text):
        return True
    return bool(re.fullmatch(r"-?\d+", this.text) and re.match(r"\d+/\d+$|\d{3}$|[√π\\½¼¾⅓⅔]", following.text))
