"""Option texts: which of the options' texts does an answer name, and where does it only repeat them?

    named_in("It is Paris, not London.", {"A": "london", "B": "paris"}, several=False)     -> {"B"}

Spine of `vlmrl.reading.options`; the texts are `normal`.
"""

from __future__ import annotations

import re
import unicodedata

from vlmrl.reading import answers

SENTENCE = re.compile(r"[.!?;]\s+(?=\S)|\n|。")
OR = re.compile(r"\bor\b|或", re.IGNORECASE)


def normal(text: str) -> str:
    """A text without case, width, outer punctuation and runs of spaces."""
    text = answers.fold(unicodedata.normalize("NFKC", text)).casefold()
    return " ".join(text.split()).strip(" .;,\"'*")


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
    for part in (text, *reversed(SENTENCE.split(text)[-20:])):
        named = _named(part, options)
        if len(named) == 1 or (several and named and not OR.search(part)):
            return named
        if named and part is not text:
            return None
    return None


def _named(text: str, options: dict[str, str]) -> set[str]:
    """The options whose texts are in a text and not negated; one inside another named one does not count."""
    read = f" {_words(text)} "
    named = {}
    for letter, option in options.items():
        words = _words(option)
        if not words or f" {words} " not in read:
            continue
        wrong = rf" (?:not|never|neither|nor|except|isn't|instead of|rather than)(?: the| a| an)? {re.escape(words)} "
        wrong += rf"| {re.escape(words)} (?:is|are|was) (?:\w+ )?(?:wrong|incorrect|false|not) "
        if f" {words} " in re.sub(wrong, " ", read):
            named[letter] = words
    return {a for a, words in named.items() if not any(a != b and words in other for b, other in named.items())}


def _words(text: str) -> str:
    """The words of a text, one space apart, without punctuation that ends or encloses them."""
    return " ".join(word for piece in normal(text).split() if (word := piece.strip(".,;:!?()[]{}\"'*“”")))
