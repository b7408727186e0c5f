r"""Math: does the answered number, expression, tuple, set, interval, matrix or equation equal the true one?

The answer is the last `<answer>`, box token or `\boxed{}` (boxes joined by "and" or "or" are one list) or a
later "answer is ..." or "#### ..."; without any of these the whole text if it is a formula, else its last
formula or number, unless it stands after "not", "at least", "between ... and" and the like.

Conventions, where public graders disagree:
- 33.5% equals 0.335 and 33.5 (`percent="share"`: 0.335 alone, `"number"`: 33.5 alone);
- a bare list has no order (`ordered=True`: it has one), a set has none, tuples, intervals and vectors have one;
  a bare list equals the set or tuple of its members, but a tuple or interval is not a set;
- several boxes are one answer only if words like "and" join them, else the last one counts;
- a unit may be missing; two units must be of one kind, and convert: 1 m is 100 cm;
- `x = 3` answers 3, `1 + 2 = 3` too; an equation equals its multiples; 2:4 is 1:2; 204 is not 204_5;
- alternatives ("3 or 4") are a list, which never equals one value; `\pm 3` is 3 and -3;
- whole numbers and fractions compare exactly, decimals within `tolerance`; names keep their case, words do not.
Equal strings and numbers never load sympy; the rest goes to `vlmrl.reading.expressions`, which nothing can stall.

    vlmrl check math
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from vlmrl.reading import answers
from vlmrl.reading.checks import one_of
from vlmrl.reading.expressions import MAX_MEMBERS, Rules, equal
from vlmrl.reading.notation import clean, is_prose
from vlmrl.reading.quantities import PERCENT
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
    Example("5%", "0.05", 1.0, {"percent": "share"}),
    Example("5%", "5", 0.0, {"percent": "share"}),
    Example("2, 1", "1, 2", 1.0),
    Example("2, 1", "1, 2", 0.0, {"ordered": True}),
    Example(r"\boxed{x < 2 \text{ or } x > 3}", r"(-\infty, 2) \cup (3, \infty)", 1.0),
    Example("12", ["a dozen apples: 12", 13], 1.0),
    Example(r"\boxed{(1, 2)}", "(2, 1)", 0.0),
    Example(r"\boxed{3 \text{ or } 4}", "3", 0.0),
    Example("it is 3 or 4", "4", 0.0),
    Example("a number between 0 and 10", "10", 0.0),
    Example(r"\boxed{9^{9^{9^9}}}", "3", 0.0),
    Example("8", "7", 0.0),
    Example("no idea", "7", 0.0),
    Example("7", "the value of a", None),
]

_LONGEST = 2000
"""Characters of an answer that are read: of a marked one the first, of a free text the last."""

_CUE = re.compile(
    r"(?:answer\W{0,3}(?:\s+(?:is|was|equals)\b\W{0,3}?(?=[\s\\$(\[{*\-+.\w])|\s*[:：=])[\s*_]*|(?:^|\n)[ \t]*####\s*"
    r"|答案(?:是|为|[:：])[\s:：]*)"
    r"(?:(?:probably|definitely|clearly|simply|exactly|indeed)\s+)?",
    re.IGNORECASE,
)
_TEXT = re.compile(r"\\text\{([^{}]*)\}")
_FORMULA = re.compile(r"\$\$(.+?)\$\$|\$([^$]+)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_SENTENCE_END = re.compile(r"\n|\.\s+(?=[A-Z])|。")
# Words that explain an answer and are not part of it.
_REASON = re.compile(
    r"[,;]?\s*\(not\b.*|[,;]?\s+(?:since|because|as|not|which|where|though|although|but|while|however)\s.*",
    re.IGNORECASE | re.DOTALL,
)
_LEAD_IN = re.compile(r"^(?:(?:final )?answer|so|thus|hence|therefore)\b[\s:,*]*", re.IGNORECASE)
# Words that leave the expression after them open, or deny it.
_OPEN = re.compile(
    r"(?:\b(?:or|not|either|neither|nor|none of|at (?:least|most)|(?:more|less|fewer|greater|larger|smaller) than|up to"
    r"|else|between|from\s+\S{1,20}\s+to|any (?:of|number)(?:\s+\S{1,20},)*)|n['’]t)\W*$",
    re.IGNORECASE,
)
_DENIED = re.compile(r"^\W*(?:not|n['’]t|neither|none|any|either|between|at (?:least|most))\b", re.IGNORECASE)
_CONDITION = re.compile(r"\s*\(?(?:if|when|unless|or)\b", re.IGNORECASE)
_OR_ANOTHER = re.compile(r"[\s$,.}]*\(?or\s+[-$\\\d]", re.IGNORECASE)
# What is written to a number without a space: 3π, 1/3, n=5, 2+2=4.
_BEFORE = re.compile(r"(?:[a-zA-Zπ√\\^*/+={}\d.]|(?<=\w)-){1,20}$")
_AFTER = re.compile(r"(?:[\w+*/^=√π²³°%\\{}]|[-.](?=\d))*")
_DENYING = re.compile(r"(?:\bnot|n['’]t)\W*\\f?boxed?\W*$|(?:\bnot|n['’]t)\W*$", re.IGNORECASE)
_AND = re.compile(r"\s*,?\s*(?:and|or)\s*", re.IGNORECASE)
_JOINT = re.compile(
    r"(?:[\s$,;.&{}]|\\[()\[\]]|\\q?quad|\\text|(?<![a-zA-Z])[a-zA-Z](?:_\{?\w\}?)?\s*=)*"
    r"(?:[^.\n]*(?<![a-zA-Z])(?:and|or)(?![a-zA-Z])"
    r"(?:[\s$,;.&{}]|\\[()\[\]]|\\q?quad|[a-zA-Z](?:_\{?\w\}?)?\s*=)*)?"
)


def verify(
    response: str, target: Any, *, tolerance: float = 1e-6, percent: str = "either", ordered: bool = False
) -> Verdict:
    """1 if the answer equals `target`, else 0.

    `target`: a number, or a text in LaTeX or plain notation (of a worked solution its final answer counts),
    or a list of which any may be met. `tolerance`: relative to the target, where a decimal is involved.
    `percent`: what 5% equals, `either` (0.05 and 5), `share` (0.05) or `number` (5). `ordered`: whether a
    list without brackets has an order.
    """
    try:
        check_target(target, percent=percent)
        truths = _truths(target)
    except ValueError as error:
        return bad_target(str(error))
    said = _answered(response)
    if said is None:
        return unparsed("no number or formula in the answer")
    rules = Rules(tolerance, percent, ordered)
    if said in truths or any(equal(clean(said), truth, rules) for truth in truths):
        return Verdict(1.0, answer=said)
    return Verdict(0.0, answer=said, why=f"{said[:60]} is not {truths[0][:60]}")


def gold(target: Any, **_: Any) -> str:
    """The target, the first of several, in a box."""
    return f"\\boxed{{{_truths(target)[0]}}}"


def check_target(target: Any, *, percent: str = "either", **_: Any) -> None:
    """ValueError unless every target is a number, or a text with a number or formula in it."""
    one_of("percent", percent, PERCENT)
    _truths(target)


def _truths(target: Any) -> tuple[str, ...]:
    """The targets as clean expressions."""
    items = target if isinstance(target, list) else [target]
    for item in items:
        if isinstance(item, bool) or not isinstance(item, (str, int, float)):
            raise ValueError(f"target {str(item)[:60]!r} is neither a number nor a text; correct it")
        if isinstance(item, int) and abs(item) >= 10**answers.MAX_DIGITS:
            raise ValueError(f"target has more than {answers.MAX_DIGITS} digits; correct it")
    if not items:
        raise ValueError("target is an empty list; give the true answer")
    return tuple(_truth(str(item)) for item in items)


@lru_cache(maxsize=4096)
def _truth(text: str) -> str:
    said = _answered(text)
    truth = clean(said) if said else ""
    if not truth or is_prose(truth) or truth in ("nan", "inf", "-inf") or _answered(f"\\boxed{{{truth}}}") != truth:
        raise ValueError(f"target {text[:60]!r} holds no number or formula; correct it or take another verifier")
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
    boxes = [box for box in answers.boxes(text) if not _DENYING.search(text[max(0, box.start - 30) : box.start])]
    said = _free(text[boxes[-1].end + 1 :] if boxes else text, only_after_cue=bool(boxes))
    if said is None and boxes:
        if _OR_ANOTHER.match(text, boxes[-1].end + 1):
            return None
        said = _joined_boxes(text, boxes)[:_LONGEST].strip(" *`")
        words = _TEXT.sub(r" \1 ", said)
        if _CUE.search(words) or (re.search(r"\d", words) and is_prose(clean(words))):
            said = _free(words, only_after_cue=False)
    return said or None


def _joined_boxes(text: str, boxes: list[answers.Span]) -> str:
    """The last box with those before it that only "and", commas and names like `y_2 =` join to it, as a list."""
    run = answers.joined_boxes(text, boxes, lambda gap: len(gap) <= 60 and _JOINT.fullmatch(gap), MAX_MEMBERS)
    return ", ".join(box.text for box in run)


def _free(text: str, only_after_cue: bool) -> str | None:
    """The expression of an unmarked text: after the last "answer is", else all of it, or its last one."""
    cues = list(_CUE.finditer(text))
    if cues:
        text = text[cues[-1].end() :][:_LONGEST].lstrip()
        text = _REASON.sub("", _SENTENCE_END.split(text.lstrip("*_ \n"), maxsplit=1)[0])
        text = text if "{" in text else text.rstrip("}\"'")
        if _DENIED.match(text):
            return None
    elif only_after_cue:
        return None
    text = _LEAD_IN.sub("", text[-_LONGEST:].strip(" *`\n\t"))
    return _last_expression(text) if is_prose(clean(text)) else text or None


def _last_expression(text: str) -> str | None:
    """The last formula or number in words, with those that "and" joins to it; None if it is left open."""
    if text.count("$") == 1:
        text = text.replace("$", "")
    spans = _expressions(text)
    if not spans or _CONDITION.match(text, spans[-1].end):
        return None
    run = [spans[-1]]
    for span in reversed(spans[-MAX_MEMBERS:-1]):
        between = text[span.end : run[0].start]
        if not _AND.fullmatch(between) and not (len(run) > 1 and between.strip() == ","):
            break
        run.insert(0, span)
    if _OPEN.search(text[max(0, run[0].start - 60) : run[0].start]):
        return None
    return ", ".join(span.text for span in run)


def _expressions(text: str) -> list[answers.Span]:
    """The formulas between delimiters, and the numbers elsewhere with what is written to them, in order."""
    spans = [
        answers.Span(next(group for group in match.groups() if group is not None), match.start(), match.end())
        for match in _FORMULA.finditer(text)
    ]
    for number in answers.find_numbers(text):
        before, after = _BEFORE.search(text[max(0, number.start - 20) : number.start]), _AFTER.match(text, number.end)
        start = number.start - (len(before[0]) if before else 0)
        end = after.end() if after else number.end
        spans.append(answers.Span(text[start:end], start, end))
    apart: list[answers.Span] = []
    for span in sorted(spans, key=lambda span: (span.start, -span.end)):
        if not apart or span.start >= apart[-1].end:
            apart.append(span)
    percent = re.compile(r"\s*\\?%")
    return [
        answers.Span(span.text + "\\%", span.start, match.end()) if (match := percent.match(text, span.end)) else span
        for span in apart
    ]
