"""Yes or no: which of the two does the answer commit to, and is it the true one?

A response commits by the word it begins with ("Yes, there is no dog"), by what follows its last "answer:" or
"answer is", or by the only yes or no that stands in it as an answer ("I would say no."). True and false
count as yes and no; so do 是 and 否 with their usual forms. "Yes and no", "yes or no", "yes ... but no",
"not yes", "no idea" and a description without either word commit to neither, and score 0.

    vlmrl check yes_no
"""

from __future__ import annotations

import re
from typing import Any

from vlmrl.reading import answers
from vlmrl.reading.assertion import asserted
from vlmrl.verdict import Example, Verdict, bad_target, unparsed

EXAMPLES = [
    Example("<think>No ... or is it?</think><answer>Yes.</answer>", "yes", 1.0),
    Example("Yes, there is no dog on the mat.", "yes", 1.0),
    Example("There is no light, so the answer is no.", "no", 1.0),
    Example("False", False, 1.0),
    Example("不是。", "no", 1.0),
    Example("No, the light is red.", "yes", 0.0),
    Example("yes or no", "yes", 0.0),
    Example("Yes. Actually, no.", "no", 0.0),
    Example("No idea.", "no", 0.0),
    Example("There is no dog.", "no", 0.0),
    Example("Yes.", "maybe", None),
]

# The commitment stands at the beginning or at the end.
_LONGEST = 2000
_YES = r"yes|yeah|yep|true|是的|是|对的|对|有|正确"
_NO = r"no|nope|false|不是|否|没有|不对|不|无|错误|错"
# "No. 5" is a number. As an answer "no" stands before a pause or a clause; "no dog" and "no idea" are something else.
_PAUSE = (
    r"(?=\s*(?:$|[.,;:!?/\"')\]}*…—–。，；！？]|-\s)"
    r"|\s+(?:it|he|she|they|we|i|you|this|that|these|those|there|the|is|because|or|and|but)\b)"
)
_WORD = re.compile(
    rf"(?<![\w'’-])(?:(?P<yes>{_YES})|(?P<no>{_NO})(?!(?<=[^.!?:,\n]\sno)\.\s?\d))(?:{_PAUSE}|(?<=yes)(?=\s)|(?<=[^\x00-\x7f])(?![\w]))",
    re.IGNORECASE,
)
_BOTH = re.compile(rf"\W*(?:(?:{_YES})\W+(?:{_NO})|(?:{_NO})\W+(?:{_YES}))\W*", re.IGNORECASE)
_OPENING = re.compile(r"(?:\\text\{|[\s*_`\"'“(\[])*")
_NOT = re.compile(
    r"(?:\b(?:not|neither|never|whether)|n't|不是)\W*(?:\w+\W+)?$|\b(?:could|might|may)(?: \w+)? be\W*$"
    r"|\b(?:maybe|perhaps|possibly)\W*$"
    r"|(?:\bdoubt|n't (?:think|believe|know)|\bnot (?:sure|think|believe))\b[^.,;!?\n]*$",
    re.IGNORECASE,
)
# What makes a second word a change of mind: it stands for itself, or after "but", "or", "actually".
_TURN = re.compile(
    r"(?:[.!?,;/|&\n]|(?:^|(?<=\s))(?:yes|no)|或)\W*$"
    r"|\b(?:and|or|but|nor|maybe|perhaps|possibly|actually|wait|rather|alternatively|correction|unless)\b\W*(?:\w+\W+){0,2}$",
    re.IGNORECASE,
)


def verify(response: str, target: Any) -> Verdict:
    """1 if the answer commits to `target`: "yes", "no" (or true, false, 是, 否), or a boolean."""
    try:
        true = _truth(target)
    except ValueError as error:
        return bad_target(str(error))
    answer = answers.extract(response)
    if answer is None:
        return unparsed("the thinking never ended")
    text = asserted(answers.fold(answer.text))
    said = _committed(text if len(text) <= 2 * _LONGEST else f"{text[:_LONGEST]}\n{text[-_LONGEST:]}")
    if said is None:
        return unparsed("the answer does not commit to yes or no")
    return Verdict(float(said == true), answer=said, why="" if said == true else f"{said}, not {true}")


def gold(target: Any) -> str:
    """ "yes" or "no"."""
    return _truth(target)


def check_target(target: Any) -> None:
    """ValueError unless the target means yes or no."""
    _truth(target)


def _truth(target: Any) -> str:
    word = str(target).strip().lower() if isinstance(target, (str, bool)) and len(str(target)) < 20 else ""
    if re.fullmatch(_YES, word):
        return "yes"
    if re.fullmatch(_NO, word):
        return "no"
    raise ValueError(
        f"target {target if isinstance(target, str) else type(target).__name__!s:.40} is neither yes nor no"
    )


def _committed(text: str) -> str | None:
    """ "yes", "no", or None for neither or both."""
    if _BOTH.fullmatch(text):
        return None
    words = list(_WORD.finditer(text))
    at = _OPENING.match(text)
    if words and at and words[0].start() == at.end():
        turned = any(word.lastgroup != words[0].lastgroup and _turns(text, word) for word in words[1:])
        return None if turned else words[0].lastgroup
    said = {word.lastgroup for word in words}
    if len(said) != 1 or any(_is_open(text, word) for word in words):
        return None
    return said.pop()


def _is_open(text: str, word: re.Match[str]) -> bool:
    """Whether the word is denied, doubted or asked."""
    asked = text[word.end() : word.end() + 3].lstrip("\"'* ").startswith("?")
    return asked or bool(_NOT.search(text[max(0, word.start() - 50) : word.start()]))


def _turns(text: str, word: re.Match[str]) -> bool:
    return bool(_TURN.search(text, max(0, word.start() - 40), word.start()))
