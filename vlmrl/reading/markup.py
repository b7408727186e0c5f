r"""Markup: what a text says without the emphasis, quotes, fonts and formula delimiters in it or around it.

    fold("“30–39”")                                       -> '"30-39"'
    plain(r"there are **3**, $14,\!000$ in all")          -> "there are 3, 14,000 in all"
    peeled(r"**\text{Blue}**.")                           -> "Blue"

Spine of `vlmrl.reading.answers`. Every function is total and linear in the length of its text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_FENCE = re.compile(r"```[^\n`]*\n?")
_BRACE = re.compile(r"\\[{}]|[{}]")
# Full-width ASCII, spaces of all widths, and the characters that are printed as a quote, a hyphen or a minus sign.
_FOLD = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {
    ord(char): plain
    for chars, plain in (
        ("\u3000\u00a0\u202f\u2009\u2007\u2008\u200a\u2002\u2003", " "),
        ("\u2212\ufe63\u2010\u2011\u2012\u2013\u2014\u2015", "-"),
        ("‘’‚‛′", "'"),
        ("“”„‟″「」『』", '"'),
        ("【", "["),
        ("】", "]"),
    )
    for char in chars
}
_PAIRS = (
    *(("***",) * 2, ("**",) * 2, ("__",) * 2, ("*",) * 2, ("_",) * 2, ("`",) * 2, ("$$",) * 2, ("$",) * 2),
    *(
        ('"',) * 2,
        ("'",) * 2,
        ("“", "”"),
        ("„", "“"),
        ("‘", "’"),
        ("«", "»"),
        ("「", "」"),
        ("『", "』"),
        ("《", "》"),
        ("【", "】"),
    ),
    *(("\\(", "\\)"), ("\\[", "\\]")),
)
_FONT_NAMES = r"text\w{0,2}|mathrm|mathbf|mathit|mathsf|mbox|operatorname"
_FONT = re.compile(rf"\\(?:{_FONT_NAMES}|boxed|fbox)\s?\{{(.*)\}}", re.DOTALL)
_LOOSE_MARKS = ("```", "**", "__", "`", "*")
_OPENING = frozenset("*_`$\"'“„‘«「『【《\\")
_BULLET = re.compile(r"(?:[-•>]|#{1,6})\s+(?=[^\s\d.])[^\n]*")
_MARKUP = re.compile(r"[*_`$\\]|\{,\}")
_PLAIN = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\*\*|__|`|\\(?:left|right|displaystyle)(?![a-z])|\\[()\[\]]", ""),
        (r"(?<![\w*])\*(?=\S)([^*\n]{1,200})(?<=\S)\*(?![\w*])", r"\1"),
        (r"(?<!\w)_(?=\S)([^_\n]{1,200})(?<=\S)_(?!\w)", r"\1"),
        (r"(?<!\\)\$([^$\n]{0,200}[^$\s\\])\$(?!\d)", r"\1"),
        (rf"\\(?:{_FONT_NAMES})\s?\{{([^{{}}]*)\}}\s?(?=\^)", r" \1"),
        (r"(?<=\d)~(?=\\)", " "),
        (rf"\\(?:{_FONT_NAMES})\s?\{{([^{{}}]*)\}}", r" \1 "),
        (r"\{,\}", ","),
        (r"(?<=\d,)\\!\s?(?=\d{3})|(?<=\d)\\,(?=\d{3})", ""),
        (r"\\[,;:! ]", " "),
        (r"\\([%$&#_])", r"\1"),
        (r"[ \t]+", " "),
    )
]


def fold(text: str) -> str:
    """Full-width ASCII, typographic quotes and dashes, minus signs and hard spaces as plain ASCII; length is kept."""
    return text if text.isascii() else text.translate(_FOLD)


def mentions(text: str, words: Iterable[str]) -> bool:
    """Whether any of the words, in lower case, is in a text: far quicker than the search for a pattern."""
    lower = text.lower()
    for word in words:  # noqa: SIM110 - `any` is half as quick
        if word in lower:
            return True
    return False


def plain(text: str) -> str:
    r"""The text without emphasis, fonts, formula delimiters and spacing of formulas: `**14,\!000** \text{cm}`."""
    if not _MARKUP.search(text):
        return text
    for pattern, replacement in _PLAIN:
        text = pattern.sub(replacement, text)
    return text.strip()


def peeled(text: str) -> str:
    r"""The inside of emphasis, ticks, quotes, `$`, `\(` or `\text{}`, where these enclose the whole text."""
    text = text.strip()
    if _BULLET.fullmatch(text):
        text = text.lstrip("-•>#").lstrip()
    for _ in range(8):
        if not text or (text[0] not in _OPENING and text[-1] not in "*_`"):
            break
        inner = next((inside for body in (text, text.rstrip(" .。")) if (inside := _inside(body)) is not None), None)
        inner = _without_loose_mark(text) if inner is None else inner
        if inner in ("", text):
            break
        text = inner.strip()
    return text


def _inside(text: str) -> str | None:
    """What one pair of marks encloses; None if there is none around the whole text."""
    for opening, closing in _PAIRS:
        if text.startswith(opening) and text.endswith(closing) and len(text) > len(opening) + len(closing):
            inner = text[len(opening) : -len(closing)]
            # An apostrophe is not a quotation mark.
            words = re.sub(r"(?<=\w)['’](?=\w)", "", inner) if closing in ("'", "’") else inner
            if opening not in words and closing not in words:
                return inner
    font = _FONT.fullmatch(text)
    return font[1] if font and _is_balanced(font[1]) else None


def _is_balanced(text: str) -> bool:
    """Whether no brace closes what the text has not opened."""
    depth = 0
    for match in _BRACE.finditer(text):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if depth < 0:
            return False
    return True


def _without_loose_mark(text: str) -> str:
    """The text without a mark of emphasis at its beginning or end that has no partner."""
    for mark in _LOOSE_MARKS:
        if (text.startswith(mark) or text.endswith(mark)) and text.count(mark) % 2:
            return text.removeprefix(mark) if text.startswith(mark) else text.removesuffix(mark)
    return text


def unfenced(text: str) -> str:
    """The inside of the last closed code fence, or the text itself if it has none."""
    if "```" not in text:
        return text
    fences = list(_FENCE.finditer(text))
    if len(fences) < 2:
        return text
    last = len(fences) - len(fences) % 2
    return text[fences[last - 2].end() : fences[last - 1].start()]
