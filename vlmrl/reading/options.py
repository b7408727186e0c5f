"""Options: which of a question's options does a response commit to, and which does a target name?

    read("The answer is for sure D, it can't be A or B")              -> {"D"}
    read("It is Paris.", choices=["London", "Paris"])                 -> {"B"}
    read("Answer: AC", multiple=True)                                 -> {"A", "C"}
    read("A or B")                                                    -> set(): it keeps two open
    letters("Paris", choices=["London", "Paris"])                     -> {"B"}

Negated options ("not A", "B is wrong") and lines that repeat the options do not count. Read in this order, and
never guessed: a marked answer (tags, box) or a last "answer: X", whichever comes later; a letter at the
beginning ("B. because ..."), or alone; the only letter in brackets, in all or in the last sentence with one; the
only letter, if it stands where an answer stands ("so B"); the only option whose text is named.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from vlmrl.reading import answers, option_letters, option_texts
from vlmrl.reading.assertion import asserted
from vlmrl.reading.markup import mentions, plain

Choices = Sequence[str] | Mapping[str, str] | None
"""The options' texts in order, or by letter; None where every letter is an option."""

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ANY_LETTER = dict.fromkeys(_LETTERS, "")
_LONGEST = 20_000
"""Characters of a response that are read, from its end."""

_CUE = re.compile(
    r"(?:\b(?:ans|answers?|choice|option)[\"'*]*\s*(?:\b(?:is|are|(?:w|sh)ould be|must be|appears to be)\b|[:：=-]))"
    r"|\banswer\s+(?=[(\[*]{0,3}[A-Z][)\]*.]{0,3}\s*$)|^#+\s*(?:final )?answer\**\s*$|(?:^|\n)\s*####\s"
    r"|(?=(?<![\w'’])[(\[*]{0,3}(?-i:[A-Z])[)\]*]{0,3}\s+is\s+(?:the\s+)?(?:correct|right|answer|best\s+(?:answer|choice)))"
    r"|答案(?:[:：]|是|为|选)|选(?:择|项)?(?=\s*[(\[]?[A-Z])",
    re.IGNORECASE | re.MULTILINE,
)
# A part of each of these, for a quick look.
_LEADS = ("ans", "choice", "option", "is ", "#", "答案", "选")
_FILLER = re.compile(
    r"(?:\s|[*\"':$`]|\b(?:for sure|definitely|clearly|probably|therefore|the|option|choice|letter|likely|most)\b)*",
    re.IGNORECASE,
)
_BRACKETED = re.compile(r"[(\[]\s*([A-Za-z])\s*[)\]]")
_LISTED = re.compile(r"(?<![^\s])[(\[]?([A-Z])[.:)\]]\s")
# "undergoing **A. prophase**"
_BOLD = re.compile(r"\*\*\(?([A-Z])[.):]\s([^*\n]+)\*\*")
_NOUN = re.compile(r"^(?:option|choice|letter)\s+", re.IGNORECASE)
_PRONOUN = re.compile(r"I\s+[a-z]+")
_TWO = re.compile(r"\W*([A-Z])\W+([A-Z])\W*")


def read(response: str, choices: Choices = None, multiple: bool = False) -> frozenset[str]:
    """The letters a response commits to: exactly one, or with `multiple` any number; empty if it commits to none.

    `ValueError` if `choices` are neither texts nor an object by letter.
    """
    options = _by_letter(choices)
    text = answers.after_thinking(response)
    return frozenset(_committed(text[-_LONGEST:], options, multiple)) if text is not None else frozenset()


def letters(target: Any, choices: Choices = None, multiple: bool = False) -> frozenset[str]:
    """The letters that a target names. It is a letter, an option's text, a list of them, or with `multiple` "A,C".

    `ValueError` if it names none of the options, or if `choices` is not a list of options.
    """
    options = _by_letter(choices)
    items = target if isinstance(target, list) else [target]
    if multiple and isinstance(target, str) and re.fullmatch(r"\s*[A-Za-z](?:[\s,;]*[A-Za-z])*\s*", target):
        items = re.findall("[A-Za-z]", target)
    named = frozenset(_letter(item, options) for item in items)
    if not named:
        raise ValueError("target is an empty list; give the right option")
    return named


def _by_letter(choices: Any) -> dict[str, str]:
    """The options' normal texts by letter; no texts where `choices` is not given."""
    if choices is None:
        return _ANY_LETTER
    if isinstance(choices, list):
        choices = dict(zip(_LETTERS, choices, strict=False))
    if not isinstance(choices, dict) or not choices:
        raise ValueError(f"choices {str(choices)[:60]!r} is neither a list of texts nor an object by letter")
    if not all(len(str(letter)) == 1 for letter in choices):
        raise ValueError(f"choices has the keys {list(choices)[:9]}; use single letters")
    return option_texts.by_letter(tuple((str(letter).upper(), str(text)) for letter, text in choices.items()))


def _letter(item: Any, options: dict[str, str]) -> str:
    text = item.strip() if isinstance(item, str) else ""
    if text.upper() in options:
        return text.upper()
    if by_text := option_texts.equal(text, options):
        return by_text
    head = re.match(r"[(\[]?([A-Z])(?:[)\].:]|\s+(?=[A-Z]))", text)
    if head and head[1] in options:
        return head[1]
    # A sentence names what it would commit to as a response.
    said = _committed(text[-_LONGEST:], options, several=False) if _CUE.search(text) else set()
    if len(said) == 1:
        return said.pop()
    raise ValueError(f"target {str(item)[:60]!r} is none of the options {', '.join(options)[:60]}")


# --- the answer -------------------------------------------------------------------------------------------


def _committed(text: str, options: dict[str, str], several: bool) -> set[str]:
    """The letters the text commits to; empty if none, or more than one where one is asked."""
    if "**" in text and len(_BOLD.findall(text)) == 1:
        text = _BOLD.sub(r"(\1) \2", text)
    # Runs of white space would make the patterns below slow.
    lines = plain(answers.fold(text)).splitlines()
    text = asserted("\n".join([spaced for line in lines if (spaced := " ".join(line.split()))]))
    mark = answers.last_mark(text)
    led = mentions(text, _LEADS)
    cues = [cue for cue in (_CUE.finditer(text) if led else ()) if mark is None or cue.start() > mark.end]
    for cue in reversed(cues[-9:]):
        if _follows_or(text, cue.start()):
            return set()
        if (several and not cue[0]) or answers.is_doubted(text, cue.start()):
            continue  # "A is right" may be one of several
        rest = text[cue.end() :]
        rest = rest[_FILLER.match(rest).end() :]  # pyright: ignore[reportOptionalMemberAccess]
        said = _said_first(option_letters.without_negated(rest), options, several)
        if said is not None:
            return set() if option_letters.adds_another(said, rest, options) else said
    if mark is not None:
        inner = " ".join(mark.text.replace("\\ ", " ").split()).strip(" $")
        said = _said_first(inner, options, several)
        return (
            said if said and not option_letters.adds_another(said, inner, options) else _free(inner, options, several)
        )
    return _free(text, options, several)


def _said_first(text: str, options: dict[str, str], several: bool) -> set[str] | None:
    """What the beginning of an answer names; empty if it names several and one is asked; None if it names none."""
    line = text.partition("\n")[0]
    exact = option_texts.equal(line, options) if len(line.strip(" .()")) > 1 else None
    if exact:
        return {exact}
    said = option_letters.at_start(text, options, several)
    return option_texts.named_in(line, options, several) if said is None else said


def _free(text: str, options: dict[str, str], several: bool) -> set[str]:
    """The letters of a text without a cue."""
    if exact := option_texts.equal(text, options):
        return {exact}
    lines = (line for line in text.splitlines() if not set(_LISTED.findall(line)) >= set(options))
    text = option_letters.without_negated(option_texts.without_repeated("\n".join(lines), options))
    two = _TWO.fullmatch(text)
    if two and not several and two[1] != two[2]:
        return set()
    start = _NOUN.sub("", text.strip("*\"'`$ \n{}"))
    if several and (run := option_letters.run_together(start, options)):
        return run
    loose = option_letters.loose(text, options)
    if several and loose:
        return loose
    if option_letters.leading(start) in options and not _PRONOUN.match(start):
        said = option_letters.at_start(start, options, several)
        listed = set(_LISTED.findall(start.partition("\n")[0])) & set(options)
        if not said or (listed - said and not several) or option_letters.adds_another(said, start, options):
            return set()
        return said
    sentences = (
        {letter.upper() for letter in _BRACKETED.findall(one)} & set(options)
        for one in reversed(option_texts.SENTENCE.split(text))
    )
    bracketed = next((letters for letters in sentences if letters), set())
    if len(bracketed) == 1:
        return set() if option_letters.has_other_text(bracketed, text, options) else bracketed
    if len(loose) == 1 and option_letters.stands_as_answer(next(iter(loose)), text):
        return set() if option_letters.has_other_text(loose, text, options) else loose
    return option_texts.named_in(text, options, several) or set()


def _follows_or(text: str, place: int) -> bool:
    """Whether what begins there is an alternative: "answer: A or answer: B"."""
    return bool(re.search(r"\bor\s*$", text[max(0, place - 20) : place], re.IGNORECASE))
