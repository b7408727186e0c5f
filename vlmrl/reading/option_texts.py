"""Option texts: which of the options' texts does an answer name, and where does it only repeat them?

    named_in("It is Paris, not London.", {"A": "london", "B": "paris"}, several=False)     -> {"B"}

Spine of `vlmrl.reading.options`; the texts are `normal`.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from vlmrl.reading import answers
from vlmrl.reading.markup import plain
from vlmrl.reading.numbers import parse_number

SENTENCE = re.compile(r"[.!?;]\s+(?=\S)|\n|。")
OR = re.compile(r"\bor\b|或", re.IGNORECASE)
_POWERS = str.maketrans({"²": "^2", "³": "^3"})
_GREEK = re.compile(r"\\(alpha|beta|gamma|delta|theta|mu|pi|sigma|phi|omega)(?![a-z])")
_SPELLINGS = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\[dtc]?frac\s?\{([^{}]*)\}\s?\{([^{}]*)\}", r"\1/\2"),
        (r"\\[dtc]?frac\s?(\d)\s?(\d)|(\d)⁄(\d)", r"\1\3/\2\4"),
        (r"\s?(?:\^?\s?\{?\s?\\(?:circ|degree)\s?\}?|°|\bdegrees?\b)", ""),
        (r"\s?(?:\\times|\\cdot|[×·])\s?", " * "),
        (r"[{}$]|\s(?=%)|(?<=\d),(?=\d{3}(?!\d))", ""),
        (r"(?<=\d)(?=[a-z])", " "),
    )
]
# What before a text denies it or leaves it open; the last are bounds of a number.
_NOT_SAID = (
    r"(?:(?:not|never|neither|nor|except|isn't|instead of|rather than|(?:could|might|may|can)(?: \w+)? be|maybe|perhaps"
    r"|possibly|(?:(?<!no )doubt|whether|unsure|not (?:sure|certain|think|believe)|\S*n't (?:know|think|believe))"
    r"(?: (?!but )[^ ]+){0,6})(?: the| a| an)?"
    r"|(?:at least|at most|up to|over|under|almost|nearly|(?:more|less|fewer) than))"
)
# The text of an option stands as \0.
_WRONG = re.compile(
    rf" {_NOT_SAID} \0 | \0 (?:(?:is|are|was) (?:\w+ )?(?:wrong|incorrect|false|not)|or (?:more|less|fewer)) "
)
_UNDENIED = re.compile("(?<!不)(?<!不是)(?<!没有)\0")
_ARTICLE = re.compile(r"^(?:an?|the) (?=\w)")
_NO_SPACES = re.compile("[\u3040-\u30ff\u3400-\u9fff]")


def normal(text: str) -> str:
    """A text without case, width, markup, outer punctuation and runs of spaces, and quantities in one spelling."""
    if text.isascii() and text.replace(" ", "").isalpha():
        return " ".join(text.casefold().split())
    text = unicodedata.normalize("NFKC", plain(answers.fold(text.translate(_POWERS)))).casefold()
    if "\\" in text:
        text = _GREEK.sub(lambda name: unicodedata.lookup(f"GREEK SMALL LETTER {name[1]}"), text)
    for pattern, replacement in _SPELLINGS:
        text = pattern.sub(replacement, text)
    return " ".join(text.split()).strip(" .;,\"'*")


@lru_cache(maxsize=1024)
def by_letter(choices: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """The normal texts of options by letter, without their letters where all of them begin with theirs: "A) none"."""
    texts = {letter: answers.fold(text) for letter, text in choices}
    own = [re.match(rf"\s*[(\[]?{re.escape(letter)}[)\].:]\s*(?=\S)", text) for letter, text in texts.items()]
    cut = [match.end() if match else 0 for match in own] if all(own) else [0] * len(texts)
    return {letter: normal(text[at:]) for (letter, text), at in zip(texts.items(), cut, strict=True)}


def equal(text: str, options: dict[str, str]) -> str | None:
    """The letter of the option that a text is; a number is the only option with that number and a unit."""
    if not any(options.values()):
        return None
    said = normal(text)
    for same in (said, said.replace(" ", "")):
        found = [letter for letter, option in options.items() if option and same in (option, option.replace(" ", ""))]
        if found:
            return found[0]
    bare = _ARTICLE.sub("", said)
    found = [letter for letter, option in options.items() if _ARTICLE.sub("", option) == bare]
    if len(found) == 1 and bare:
        return found[0]
    number = parse_number(said)
    if number is not None:
        said = re.escape(str(number) if said.isalpha() else said)
        found = [letter for letter, option in options.items() if re.fullmatch(rf"{said}\D*", option)]
        return found[0] if len(found) == 1 else None
    return None


def without_repeated(text: str, options: dict[str, str]) -> str:
    """The text without the lines that only repeat an option with its letter, if there are several."""
    lines = text.split("\n")
    heads = [re.match(r"\s*[(\[*]*([A-Z])[)\].:*]+\s*(.*)", line) for line in lines]
    repeated = [bool(head and options.get(head[1], " ") in ("", normal(head[2]))) for head in heads]
    if sum(repeated) < 2:
        return text
    return "\n".join(line for line, out in zip(lines, repeated, strict=True) if not out)


def named_in(text: str, options: dict[str, str], several: bool) -> set[str] | None:
    """The only option whose text is named, in all or in the last sentence that names any; None if there is none."""
    if not any(options.values()):
        return None
    for part in (text, *reversed(SENTENCE.split(text)[-20:])):
        named = _named(part, options)
        if len(named) == 1 or (several and named and not OR.search(part)):
            return named
        if named and part is not text:
            return None
    return None


def _named(text: str, options: dict[str, str]) -> set[str]:
    """The options whose texts are in a text and not negated; one inside another named one does not count."""
    read = f" {_words(normal(text))} "
    named = {}
    for letter, option in options.items():
        words = _words(_ARTICLE.sub("", option))
        if not words or words not in read:
            continue
        if _NO_SPACES.search(words):
            said = _UNDENIED.search(read.replace(words, "\0"))
        else:
            said = " \0 " in _WRONG.sub(" ", read.replace(f" {words} ", " \0 "))
        if said:
            named[letter] = words
    return {a for a, words in named.items() if not any(a != b and words in other for b, other in named.items())}


def _words(text: str) -> str:
    """The words of a normal text, one space apart, without punctuation that ends or encloses them."""
    return " ".join(word for piece in text.split() if (word := piece.strip(".,;:!?()[]{}\"'*“”")))
