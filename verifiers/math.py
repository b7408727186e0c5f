r"""Math: does the answered number, expression, tuple, set, interval, matrix or equation equal the true one?

The answer is the last `<answer>`, box token or `\boxed{}` (boxes joined by "and" are one list) or a later
"answer is ..."; without any of these the whole text if it is a formula, else its last formula or number.

Conventions: 33.5% equals 0.335 and 33.5; a unit may be missing, but two different units differ; lists and
sets have no order, tuples and intervals do; `x = 3` answers 3; alternatives ("3 or 4") are a list, which
never equals one value; whole numbers and fractions compare exactly, decimals within `tolerance`. Equal
strings and numbers never load sympy; the rest goes to `vlmrl.expressions`, which nothing can stall.

    vlmrl check math
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from vlmrl import answers
from vlmrl.expressions import MAX_MEMBERS, equal
from vlmrl.notation import clean, is_prose
from vlmrl.verdict import Example, Verdict, bad_target, unparsed

EXAMPLES = [
    Example("7", 7, 1.0),
    Example("<think>3 + 4</think><answer>7</answer>", "7", 1.0),
    Example(r"\boxed{10} and then \boxed{42}", "42", 1.0),
    Example(r"\boxed{\dfrac{1}{2}}", "0.5", 1.0),
    Example("The answer is $1\\,234$.", 1234, 1.0),
    Example(r"\boxed{\;\angle APC = 74^\circ\;}", "74", 1.0),
    Example("½", "0.5", 1.0),
    Example("−3", -3, 1.0),
    Example(r"\boxed{33.5\%}", "0.335", 1.0),
    Example(r"\boxed{x^2 + 2x + 1}", "(x+1)^2", 1.0),
    Example(r"\boxed{\{2, 1\}}", r"\{1, 2\}", 1.0),
    Example("12", ["a dozen apples: 12", 13], 1.0),
    Example(r"\boxed{(1, 2)}", "(2, 1)", 0.0),
    Example(r"\boxed{3 \text{ or } 4}", "3", 0.0),
    Example("it is 3 or 4", "4", 0.0),
    Example(r"\boxed{9^{9^{9^9}}}", "3", 0.0),
    Example("8", "7", 0.0),
    Example("no idea", "7", 0.0),
    Example("7", "the value of a", None),
]

_LONGEST = 2000
"""Characters of an answer that are read: of a marked one the first, of a free text the last."""

_CUE = re.compile(r"answer(?:\s+is\s*[:：]?|\s*[:：=])\s*|答案(?:是|为|[:：])\s*", re.IGNORECASE)
_FORMULA = re.compile(r"\$\$(.+?)\$\$|\$([^$]+)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_SENTENCE_END = re.compile(r"\n|\.\s+(?=[A-Z])")
_LEAD_IN = re.compile(r"^(?:(?:final )?answer|so|thus|hence|therefore)\b[\s:,]*", re.IGNORECASE)
_HEDGED = re.compile(r"\bor\W*$", re.IGNORECASE)
_JOINT = re.compile(
    r"(?:[\s$,;.&{}]|\\[()\[\]]|\\q?quad|\\text|(?<![a-zA-Z])[a-zA-Z](?:_\{?\w\}?)?\s*=)*"
    r"(?:[^.\n]*(?<![a-zA-Z])and(?![a-zA-Z])(?:[\s$,;.&{}]|\\[()\[\]]|\\q?quad|[a-zA-Z](?:_\{?\w\}?)?\s*=)*)?"
)


def verify(response: str, target: Any, *, tolerance: float = 1e-6) -> Verdict:
    """1 if the answer equals `target`, else 0.

    `target`: a number, or a text in LaTeX or plain notation (of a worked solution its final answer counts),
    or a list of which any may be met. `tolerance`: relative to the target, where a decimal is involved.
    """
    try:
        truths = _truths(target)
    except ValueError as error:
        return bad_target(str(error))
    said = _answered(response)
    if said is None:
        return unparsed("no number or formula in the answer")
    if said in truths or any(equal(clean(said), truth, tolerance) for truth in truths):
        return Verdict(1.0, answer=said)
    return Verdict(0.0, answer=said, why=f"{said[:60]} is not {truths[0][:60]}")


def gold(target: Any, **_: Any) -> str:
    """The target, the first of several, in a box."""
    return f"\\boxed{{{_truths(target)[0]}}}"


def check_target(target: Any, **_: Any) -> None:
    """ValueError unless every target is a number, or a text with a number or formula in it."""
    _truths(target)


def _truths(target: Any) -> tuple[str, ...]:
    """The targets as clean expressions."""
    items = target if isinstance(target, list) else [target]
    for item in items:
        if isinstance(item, bool) or not isinstance(item, (str, int, float)):
            raise ValueError(f"target {str(item)[:60]!r} is neither a number nor a text; mend it")
        if isinstance(item, int) and abs(item) >= 10**answers.MAX_DIGITS:
            raise ValueError(f"target has more than {answers.MAX_DIGITS} digits; mend it")
    if not items:
        raise ValueError("target is an empty list; give the true answer")
    return tuple(_truth(str(item)) for item in items)


@lru_cache(maxsize=4096)
def _truth(text: str) -> str:
    said = _answered(text)
    truth = clean(said) if said else ""
    if not truth or is_prose(truth) or truth in ("nan", "inf", "-inf") or _answered(f"\\boxed{{{truth}}}") != truth:
        raise ValueError(f"target {text[:60]!r} holds no number or formula; mend it or take another verifier")
    return truth


# --- the answer in a response -----------------------------------------------------------------------------


def _answered(response: str) -> str | None:
    """The expression that a response answers, as it stands there; None if there is none."""
    text = answers.after_thinking(response)
    if text is None:
        return None
    for find in (answers.last_tagged, answers.last_box_token):
        span = find(text)
        text = span.text if span else text
    boxes = answers.boxes(text)
    said = _free(text[boxes[-1].end + 1 :] if boxes else text, only_after_cue=bool(boxes))
    if said is None and boxes:
        said = _joined_boxes(text, boxes)[:_LONGEST].strip()
    return said or None


def _joined_boxes(text: str, boxes: list[answers.Span]) -> str:
    """The last box with those before it that only "and", commas and names like `y_2 =` join to it, as a list."""
    run = [boxes[-1]]
    for box in reversed(boxes[-MAX_MEMBERS:-1]):
        between = text[box.end + 1 : run[0].start].removesuffix("\\boxed{").removesuffix("\\fbox{")
        if len(between) > 60 or not _JOINT.fullmatch(between):
            break
        run.insert(0, box)
    return ", ".join(box.text for box in run)


def _free(text: str, only_after_cue: bool) -> str | None:
    """The expression of an unmarked text: after the last "answer is", else all of it, or its last one."""
    cues = list(_CUE.finditer(text))
    if cues:
        text = text[cues[-1].end() :][:_LONGEST].lstrip()
        text = _SENTENCE_END.split(text, maxsplit=1)[0]
    elif only_after_cue:
        return None
    text = _LEAD_IN.sub("", text[-_LONGEST:].strip(" *`\n\t"))
    return _last_expression(text) if is_prose(clean(text)) else text or None


def _last_expression(text: str) -> str | None:
    """The last formula in words or, if it comes later, the last number; None if it is one of alternatives."""
    if text.count("$") == 1:
        text = text.replace("$", "")
    formula = max(_FORMULA.finditer(text), key=re.Match.end, default=None)
    number = max(answers.find_numbers(text), key=lambda found: found.end, default=None)
    if formula and (not number or number.start < formula.end()):
        start, end = formula.span()
        said = next(group for group in formula.groups() if group is not None)
    elif number:
        start, end = number.start, number.end
        said = text[start:end]
    else:
        return None
    if _HEDGED.search(text[max(0, start - 20) : start]):
        return None
    return said + ("\\%" if re.match(r"\s*\\?%", text[end:]) else "")
