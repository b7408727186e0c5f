"""Exact: is the answer, but for case, space, punctuation and articles, one of the accepted texts?

The answer is the marked one (tags, box), else the whole response, or what follows its last "answer:" or
"answer is". There is no credit for containing the text: "Paris or London" is neither.

Defaults: case is ignored, runs of white space are one space, and so are dropped a final full stop, enclosing
quotes or brackets, and articles before a word ("Vitamin A" keeps its letter). `punctuation="ignore"` drops
all of it, as the answer normalisation of SQuAD does (arXiv 1606.05250, section 6.1; of all articles there), but
for the signs that make a number: "-1.5" never equals "15". `words="fold"` compares number words and yes/no
words by meaning, in English and Chinese ("two" equals "2", "是的" equals "yes"), as visual question answering
does (VQA, arXiv 1505.00468; SLAKE, arXiv 2102.09542).

    vlmrl check exact
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Any

from vlmrl.reading import answers
from vlmrl.reading.checks import one_of
from vlmrl.reading.numbers import parse_number
from vlmrl.reading.texts import check_texts, readings, true_texts
from vlmrl.verdict import Example, Verdict, bad_target, unparsed

EXAMPLES = [
    Example("<think>London?</think><answer>Paris.</answer>", "paris", 1.0),
    Example("The answer is  PARIS", "Paris", 1.0),
    Example("The Louvre", ["Musée du Louvre", "Louvre"], 1.0),
    Example("Two", "2", 1.0, {"words": "fold"}),
    Example("new-york!", "New York", 1.0, {"punctuation": "ignore", "space": "ignore"}),
    Example("paris", "Paris", 0.0, {"case": "keep"}),
    Example("Paris, France", "Paris", 0.0),
    Example("Paris or London", "Paris", 0.0),
    Example("1.5", "15", 0.0, {"punctuation": "ignore"}),
    Example("", "Paris", 0.0),
    Example("", "", 1.0),
    Example("7", 7, None),
]

_POLICIES = {
    "case": ("ignore", "keep"),
    "space": ("collapse", "ignore", "keep"),
    "punctuation": ("ends", "ignore", "keep"),
    "articles": ("ignore", "keep"),
    "words": ("keep", "fold"),
}
# An answer this much longer than the longest text is not compared.
_SLACK = 10_000

_ARTICLE = re.compile(r"\b(?:an?|the)\s+(?=\w)", re.IGNORECASE)
_CLOSING = " \t\r\n.。,，;；:：!！?？、*_`"
_ENCLOSING = ('""', "''", "“”", "‘’", "「」", "()", "[]", "{}", "（）", "$$")
_FONT = re.compile(r"\\(?:text\w{0,2}|mathrm|mathbf|mbox)\s?\{([^{}]*)\}")
# The signs of a number ("-1", ".5", "1.5", "50%") stay.
_PUNCTUATION = re.compile(r"(?!(?<![\w.])[-+]\.?\d|(?<![^\W\d])\.\d|(?<=\d)%)(?:[$+<=>^`|~_]|[^\w\s])")
_HYPHEN = re.compile(r"(?<=[^\W\d_])-(?=[^\W\d_])")
_CHINESE_DIGITS = "零一二三四五六七八九十"
_MEASURE_WORDS = "个個只条张处块颗"
_FOLDED = (
    {"yes": "yes", "yeah": "yes", "no": "no", "none": "0", "两": "2", "〇": "0"}
    | dict.fromkeys(("是", "是的", "对", "对的", "有", "正确", "存在"), "yes")
    | dict.fromkeys(("否", "不", "不是", "不是的", "没有", "无", "不对", "错误", "不存在"), "no")
    | {digit: str(value) for value, digit in enumerate(_CHINESE_DIGITS)}
)


def verify(
    response: str,
    target: Any,
    *,
    case: str = "ignore",
    space: str = "collapse",
    punctuation: str = "ends",
    articles: str = "ignore",
    words: str = "keep",
) -> Verdict:
    """1 if the answer equals `target`, a text or a list of texts of which any is accepted; else 0.

    `case`: `ignore`, `keep`; `space`: `collapse`, `ignore`, `keep`; `punctuation`: `ends`, `ignore`, `keep`;
    `articles`: `ignore`, `keep`; `words`: `keep`, `fold`.
    """
    policies = {"case": case, "space": space, "punctuation": punctuation, "articles": articles, "words": words}
    try:
        check_target(target, **policies)
    except ValueError as error:
        return bad_target(str(error))
    texts = readings(response)
    if not texts:
        return unparsed("the thinking never ended")
    truths = set().union(*(_true_forms(text, **policies) for text in true_texts(target)))
    longest = _SLACK + 2 * max(map(len, true_texts(target)))
    asked = any(text.rstrip().endswith(("?", "？")) for text in true_texts(target))
    for said in texts:
        if not asked and said.rstrip("\"'”’ ").endswith(("?", "？")):
            continue  # it asks, and the target is not a question
        if len(said) <= longest and not truths.isdisjoint(_forms(said, **policies)):
            return Verdict(1.0, answer=said)
    said = texts[-1]
    return Verdict(0.0, answer=said[:longest], why=f"{said[:60]!r} is not {true_texts(target)[0][:60]!r}")


def gold(target: Any, **_: Any) -> str:
    """The text, the first of several."""
    return true_texts(target)[0]


def check_target(target: Any, **policies: str) -> None:
    """ValueError unless the target is a text or texts free of answer markup, and the policies are known."""
    for name, value in policies.items():
        if name in _POLICIES:
            one_of(name, value, _POLICIES[name])
    check_texts(target)


def _normal(text: str, *, case: str, space: str, punctuation: str, articles: str, words: str) -> str:
    """The text under the policies; one that they would leave empty is kept."""
    plain = answers.fold(unicodedata.normalize("NFC", text))
    short = _unclosed(plain) if punctuation == "ends" else plain
    if articles == "ignore":
        short = _ARTICLE.sub("", short)
    if punctuation == "ignore":
        short = _PUNCTUATION.sub("", short)
    if words == "fold":
        short = _folded(short)
    short = short if short.strip() else plain
    short = short.casefold() if case == "ignore" else short
    if space == "keep":
        return short
    return ("" if space == "ignore" else " ").join(short.split())


def _forms(text: str, **policies: str) -> frozenset[str]:
    """The text under the policies; without punctuation, a hyphen between words is a space as well as nothing."""
    if policies["punctuation"] != "ignore" or not _HYPHEN.search(plain := answers.fold(text)):
        return frozenset([_normal(text, **policies)])
    return frozenset([_normal(text, **policies), _normal(_HYPHEN.sub(" ", plain), **policies)])


_true_forms = lru_cache(maxsize=1024)(_forms)
"""The same of a target, which is that of all answers of a group."""


def _unclosed(text: str) -> str:
    """The text without closing punctuation and enclosing quotes, brackets, markup and LaTeX fonts."""
    for _ in range(4):
        text = font[1] if (font := _FONT.fullmatch(text.strip())) else text
        text = text.lstrip(" \t\r\n*_`").rstrip(_CLOSING)
        if len(text) > 2 and text[0] + text[-1] in _ENCLOSING:
            text = text[1:-1]
    return text


def _folded(text: str) -> str:
    """The number or the yes or no that the text is, else the text."""
    word = " ".join(_unclosed(text).casefold().split())
    number = parse_number(word)
    if number is not None:
        return str(number)
    return _FOLDED.get(word) or _FOLDED.get(word.rstrip(_MEASURE_WORDS)) or text
