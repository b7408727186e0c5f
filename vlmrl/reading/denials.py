"""Denials: which values does a text deny or reject, so that they are not its answer?

    is_denied("7, which is not 6", 16, 17)         -> True
    is_denied("7, which is not 6", 0, 1)           -> False: a remark about another value does not cancel the answer
    is_rejected("6 would be wrong; it is 7", 1)    -> True

A denial ends with its clause. Every function is total and takes bounded time for a value.
"""

from __future__ import annotations

import re

from vlmrl.reading.assertion import FALSE
from vlmrl.reading.markup import mentions

# A part of everything below, for a quick look.
_DENIALS = (
    *("not", "n't", "n’t", "nor", "never", "no ", "neither", "wrong", "incorrect", "false", "than", "instead"),
    *("unlike", "differ", "too ", "mistaken", "untrue", "impossible", "inaccurate"),
)
_DENIED_BEFORE = re.compile(
    r"(?:(?<!\\)\b(?:not|neither|nor|rather than|instead of|unlike)|n['’]t|\bdiff(?:ers?|erent) from"
    r"|\bwhich (?:is|are) (?:\w+ )?(?:less|more|fewer|greater|larger|smaller|higher|lower|bigger) than)"
    r"(?:\s(?:be|the same as|equal to|equals?)\b)*[\s$*\"'({]+(?:[-$\d.,]*\d\$?(?:\s?,\s?|\s(?:and|or|nor)\s)){0,5}$",
    re.IGNORECASE,
)
# Of "5 dogs that are not red" the five are not denied.
_SUBJECT = r"[$*_}\"'”)\]]*(?:\s(?!that\b|which\b|who\b)[^\W\d_]+){0,2}?[$*_}\"'”)\]]*"
_REJECTED_AFTER = re.compile(
    rf"{_SUBJECT}(?:,|:|\s[-–—])?\s*(?:(?:(?:but|and)\s)?(?:which|that|this|it)(?=\s|['’]))?\s?(?:"
    r"(?:(?:is|are|was|were|would be|could be|seems)|['’]s)\s(?:\w+ly\s)?"
    rf"(?:{FALSE}|(?:the|an?)\s(?:wrong|incorrect|false)\b|no answer\b"
    r"|too\s(?:many|few|much|large|small|high|low|big)\b"
    r"|(?:not|never)\s(?:(?:the|an?)\s)?(?:(?:right|correct|true|final)\s)?"
    r"(?:answer|result|count|number|solution|total|value|it)\b)"
    r"|(?:is|are|was|were)n['’]t\s(?:(?:the|an?)\s)?"
    r"(?:right|correct|true|possible|answer|result|count|number|solution)\b"
    r"|(?:can ?not|can['’]t|could not|couldn['’]t)\sbe\b|(?:does not|doesn['’]t)\s(?:fit|work|match)\b"
    r"|\((?:wrong|incorrect|false)\))",
    re.IGNORECASE,
)
_NEGATED_AFTER = re.compile(r"[$*_}\"'”)\]]*\s(?:is|was)(?:\snot|n['’]t)\b", re.IGNORECASE)


def may_deny(text: str) -> bool:
    """Whether a text has a word that denies something: a quick look."""
    return mentions(text, _DENIALS)


def is_denied(text: str, start: int, end: int) -> bool:
    """Whether the words around the value at [start, end) deny it: "not 5", "rather than 5", "5 is not ..."."""
    before = _DENIED_BEFORE.search(text[max(0, start - 60) : start])
    return before is not None or _NEGATED_AFTER.match(text, end) is not None


def is_rejected(text: str, end: int) -> bool:
    """Whether the words after the value that ends there call it wrong: "5 is not the answer", "5 would be wrong"."""
    return _REJECTED_AFTER.match(text, end) is not None
