r"""Formulas: those in a sentence, whole, with their units.

    [span.text for span in formulas("if x = 3, the area is 9π - 18.")]     -> ["x = 3", "9π - 18"]
    [span.text for span in formulas("12 balls, $5$ cm high")]              -> ["12", r"5\text{ cm}"]
    in_digits("two thirds of the three sides")                              -> "2/3 of the three sides"

Every function is total. Sentences are a few thousand characters at most; `vlmrl.verifiers.math` sees to that.
"""

from __future__ import annotations

import re

from vlmrl.reading.answers import Span
from vlmrl.reading.numbers import find_numbers
from vlmrl.reading.quantities import follows_number

# A token is a row of formulas between delimiters, groups in braces, groups in brackets without words, and characters;
# letters of Chinese, Japanese and Korean stand between tokens.
_LETTERS = r"\\[a-zA-Z]+|(?<![A-Za-z])[A-Za-z](?![A-Za-z])"
DELIMITED = re.compile(
    r"\$\$[^$]+\$\$|\$[^$\s](?:[^$\n]*[^$\s])?\$(?!\d)|\$\s[^$\n]+\s\$|\\\((?:(?!\\[()]).)+\\\)|\\\[(?:(?!\\[\[\]]).)+\\\]",
    re.DOTALL,
)
_TOKEN = re.compile(
    rf"(?:{DELIMITED.pattern}|\{{(?:[^{{}}\n]|\{{[^{{}}\n]*\}})*\}}|[\[(](?:{_LETTERS}|[^\[\]()A-Za-z\n])*[\])]"
    r"|[^\s\u2e80-\u9fff\uac00-\ud7af\uff0c-\uff1f])+",
    re.DOTALL,
)
_OPERATOR = re.compile(r"[-+*/=<>^≤≥≠≈±×÷·⋅∪∩∈−–]+|:|to|\\(?:cdot|times|div|pm|cup|cap|in|leq?|geq?|neq?|approx)")
_FUNCTION = r"(?:arc)?(?:sin|cos|tan|cot|sec|csc)|sqrt|log|ln|exp|lim|frac|text|left|right|mathrm"
_RAISED = "²³¹\u2070-\u209c"
_WORD = re.compile(rf"(?!(?:{_FUNCTION})(?![a-z]))(?<![\\A-Za-z])[^\W\d_\u0370-\u03ff{_RAISED}]{{2,}}", re.IGNORECASE)
_MATHEMATICAL = re.compile(r"[\\π√∞²³°∅½⅓¼¾⅔∠\u0370-\u03ff]")
_ENCLOSING = re.compile(r"^[\"'“‘*_`|]+|[\"'”’*_`|.,;:!?]+$")
_ORDINAL = re.compile(r"\d(?:st|nd|rd|th)\b|^\d+-[a-zA-Z]{2}|^\d+x\d")
_PERCENT = re.compile(r"[\s*]*\\?%")
_UNIT_POWER = re.compile(rf"(?:[{_RAISED}]|\^\{{?\d\}}?)$")


def formulas(sentence: str) -> list[Span]:
    """The formulas and the numbers in digits, in order; delimiters are taken off, units belong to their number."""
    found: list[Span] = []
    tokens = [_stripped(match) for match in _TOKEN.finditer(sentence)]
    place = 0
    while place < len(tokens):
        first = end = place
        if not is_formula(tokens[first].text):
            place += 1
            continue
        while end + 1 < len(tokens) and _goes_on(sentence, tokens, end):
            end += 1
        while end > first and _OPERATOR.fullmatch(tokens[end].text):
            end -= 1
        place = end + 1
        start, stop = tokens[first].start, tokens[end].end
        if sentence[start:stop].isalpha() and sentence[start:stop].isascii():
            continue
        text = _undelimited(sentence[start:stop])
        while place < len(tokens) and _is_unit(sentence, tokens, place):
            unit = tokens[place].text
            power = _UNIT_POWER.search(unit)
            text += f"\\text{{ {unit[: power.start() if power else None]}}}" + (power[0] if power else "")
            stop = tokens[place].end
            place += 1
        percent = _PERCENT.match(sentence, stop)
        found.append(Span(text + "\\%" if percent else text, start, percent.end() if percent else stop))
    return found


def is_formula(token: str) -> bool:
    """Whether a token is mathematics: a number with or without a unit, a letter, an expression."""
    if token.isalpha() and token.isascii():
        return len(token) == 1 and token not in "aAI"
    if DELIMITED.fullmatch(token):
        return True
    if _ORDINAL.search(token) or not (find_numbers(token) or _MATHEMATICAL.search(token)):
        return False
    bare = _UNIT_POWER.sub("", token)
    if len(token) > 1 and follows_number(bare):
        return False
    return all(map(follows_number, _WORD.findall(re.sub(r"\\[a-zA-Z]+ ?(?:\{[^{}]*\})?", "", token))))


def _goes_on(sentence: str, tokens: list[Span], place: int) -> bool:
    """Whether a formula goes on with the next token: after or with an operator, or as a mixed number."""
    this, following = tokens[place], tokens[place + 1]
    if sentence[this.end : following.start].strip():
        return False
    if _OPERATOR.fullmatch(this.text):
        return is_formula(following.text) or following.text in ("a", "A", "I")
    if following.text == "to":
        return _is_digits(this.text) and place + 2 < len(tokens) and _is_digits(tokens[place + 2].text)
    if _OPERATOR.fullmatch(following.text):
        return True
    return bool(re.fullmatch(r"-?\d+", this.text) and re.match(r"\d+/\d+$|\d{3}$|[√π\\½¼¾⅓⅔]", following.text))


def _is_digits(text: str) -> bool:
    return re.fullmatch(r"\d+(?:\.\d+)?", text) is not None


def _is_unit(sentence: str, tokens: list[Span], place: int) -> bool:
    """Whether a token changes the number before it: `5 square meters`, `3 million`, `10 m/s²`."""
    text = tokens[place].text
    if sentence[tokens[place - 1].end : tokens[place].start] != " " or text in ("a", "A", "I", "total", "old"):
        return False
    ends = tokens[place].end == len(sentence.rstrip(".*_$ "))
    parts = re.split(r"/", _UNIT_POWER.sub("", text))
    return all(map(follows_number, parts)) and (ends or text not in ("in", "min"))


def _stripped(match: re.Match[str]) -> Span:
    """A token without the marks and the punctuation around it."""
    text, start = match[0], match.start()
    if text.isalnum() or text == "*":
        return Span(text, start, match.end())
    while not DELIMITED.fullmatch(text) and (mark := _ENCLOSING.search(text)) and mark.end() > mark.start():
        start += mark.end() if mark.start() == 0 else 0
        text = text[mark.end() :] if mark.start() == 0 else text[: mark.start()]
    return Span(text, start, start + len(text))


def _undelimited(text: str) -> str:
    r"""`$5$` and `\(5\)` as `5`, `3 to 1` as `3 : 1`."""
    if DELIMITED.fullmatch(text):
        text = re.sub(r"^(?:\$+|\\[(\[])|(?:\$+|\\[)\]])$", "", text)
    return text.replace(" to ", " : ")


# --- numbers in words -------------------------------------------------------------------------------------

_PARTS = {name: value for value, name in enumerate(
    ("half", "third", "quarter", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"), 2
)} | {"halve": 2, "fourth": 4}  # fmt: skip
_PART = rf"({'|'.join(_PARTS)})s?\b"
_FRACTION = re.compile(rf"[\s-]+{_PART}", re.IGNORECASE)
_AND_A_PART = re.compile(rf"(?<=\d)\s+and\s+(?:an?|one)\s+{_PART}", re.IGNORECASE)
# "the three sides" are not the answer, nor is the one in "one of them".
_DETERMINER = re.compile(
    r"\b(?:the|these|those|this|that|all|both|each|its|their|our|any|every|no|last)\s+$", re.IGNORECASE
)


def in_digits(sentence: str) -> str:
    """The sentence with its number words as digits, but for those that refer to something known: "the three sides"."""
    pieces, place = [], 0
    for number in find_numbers(sentence):
        determined = _DETERMINER.search(sentence, max(0, number.start - 12), number.start)
        if sentence[number.start].isalpha() and not determined and not sentence.startswith(" of", number.end):
            part = _FRACTION.match(sentence, number.end)
            pieces += [sentence[place : number.start], str(number.value)]
            pieces += [f"/{_PARTS[part[1].lower()]}"] if part else []
            place = part.end() if part else number.end
    return with_parts("".join(pieces) + sentence[place:])


def with_parts(sentence: str) -> str:
    """`5 and a half` as `5 1/2`."""
    return _AND_A_PART.sub(lambda part: f" 1/{_PARTS[part[1].lower()]}", sentence)
