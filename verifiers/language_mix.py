"""Language mix: does the response keep to one language? A part with a low weight, or a veto.

Without a target: 0 if it holds a long Chinese paragraph (at least 50 Chinese characters, more than 80 % of its
letters) and a long English one (at least 200 English words, more than 70 % of its words), else 1: the rule of
GLM-4.1V's released rewards. Blank lines separate paragraphs.

With a language as the target: the share of words in its script (language consistency, DeepSeek-R1, arXiv 2501.12948,
section 2.3.2). A Chinese or Japanese character counts as a word; formulas, code, tags and single Latin letters do not
count. A response without words, such as "42", scores 1. The rule distinguishes scripts, not languages: French passes as
`en`.

    vlmrl check language_mix
"""

from __future__ import annotations

import re
from typing import Any

from vlmrl.verdict import Example, Verdict, bad_target, unparsed

EXAMPLES = [
    Example("It is red, because the light is red.", None, 1.0),
    Example("这是红色的。" * 12 + "\n\n" + "It is red. " * 70, None, 0.0),
    Example("这是红色的。" * 12 + "\n\n" + "It is red. " * 60, None, 1.0),
    Example("It is red, 因为", "en", 0.6),
    Example(r"因为 $x = \sin y$，所以是 \boxed{A}。", "zh", 1.0),
    Example("It is red.", "zh", 0.0),
    Example("", "en", 0.0),
    Example("It is red.", "Klingon", None),
]

_HAN, _KANA = "\u3400-\u9fff\uf900-\ufaff", "\u3040-\u30ff"
_SCRIPTS = {
    "latin": "A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u1e00-\u1eff",
    "han": _HAN,
    "kana": _KANA,
    "hangul": "\uac00-\ud7a3\u1100-\u11ff",
    "cyrillic": "\u0400-\u052f",
    "greek": "\u0370-\u03ff",
    "arabic": "\u0600-\u06ff",
    "hebrew": "\u0590-\u05ff",
    "devanagari": "\u0900-\u097f",
    "thai": "\u0e00-\u0e7f",
}
LANGUAGES = {
    **dict.fromkeys(("en", "de", "fr", "es", "it", "pt", "nl", "pl", "tr", "vi", "id"), ("latin",)),
    **dict.fromkeys(("ru", "uk", "bg"), ("cyrillic",)),
    "zh": ("han",),
    "ja": ("han", "kana"),
    "ko": ("hangul",),
    "el": ("greek",),
    "ar": ("arabic",),
    "fa": ("arabic",),
    "he": ("hebrew",),
    "hi": ("devanagari",),
    "th": ("thai",),
}
"""The scripts of the languages a target may name."""

_WORD = re.compile(
    "|".join(
        # A single Latin letter is a variable or an option.
        f"(?P<{name}>[{letters}]{'' if name in ('han', 'kana') else '{2,}' if name == 'latin' else '+'})"
        for name, letters in _SCRIPTS.items()
    )
)
_NO_WORDS = re.compile(
    r"```[^`]*```|\$[^$]{0,2000}\$|\\[A-Za-z]+|</?[A-Za-z_]{1,20}>|<\|[a-z_]{1,30}\|>|https?://\S{1,500}"
)
_BLANK_LINE = re.compile(r"\n[^\S\n]*\n")
_HAN_RUN = re.compile(f"[{_HAN}]+")
_OTHER_LETTERS = re.compile(r"[^\W\d_A-Za-z]+")
_ENGLISH_WORD = re.compile(r"[A-Za-z]+(?:['’-][A-Za-z]+)*")


def verify(response: str, target: Any = None) -> Verdict:
    """0 or 1 without a target; with one, a language of `LANGUAGES`, the share of words in its script."""
    try:
        check_target(target)
    except ValueError as error:
        return bad_target(str(error))
    if not any(map(str.isalnum, response)):
        return unparsed("a response without letters and digits")
    if target is not None:
        return _share(response, LANGUAGES[target])
    paragraphs = _BLANK_LINE.split(response)
    mixed = any(map(_is_long_chinese, paragraphs)) and any(map(_is_long_english, paragraphs))
    return Verdict(float(not mixed), why="long paragraphs in Chinese and in English" if mixed else "")


def gold(target: Any = None, **_: Any) -> str:
    """A response without words."""
    return "42"


def check_target(target: Any = None, **_: Any) -> None:
    """ValueError for a language whose script is not known."""
    if target is not None and (not isinstance(target, str) or target not in LANGUAGES):
        raise ValueError(f"target {str(target)[:60]!r} is not a language; use one of {', '.join(LANGUAGES)}, or none")


def _share(response: str, scripts: tuple[str, ...]) -> Verdict:
    words = [match.lastgroup for match in _WORD.finditer(_NO_WORDS.sub(" ", response))]
    if not words:
        return Verdict(1.0)
    share = sum(word in scripts for word in words) / len(words)
    return Verdict(share, why="" if share == 1 else f"{share:.0%} of the words are in the script of the language")


def _is_long_chinese(paragraph: str) -> bool:
    chinese = sum(map(len, _HAN_RUN.findall(paragraph)))
    return chinese >= 50 and chinese > 0.8 * sum(map(str.isalpha, paragraph))


def _is_long_english(paragraph: str) -> bool:
    english = len(_ENGLISH_WORD.findall(paragraph))
    others = sum(map(len, _OTHER_LETTERS.findall(paragraph)))
    return english >= 200 and english > 0.7 * (english + others)
