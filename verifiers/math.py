r"""Math: does the answered number, expression, tuple, set, interval, matrix or equation equal the true one?

The answer is the last `<answer>`, box token or `\boxed{}` (boxes joined by "and" or "or" are one list) or what
follows a later "answer is ..." or "#### ...", unless the response takes that back; without any of these the whole
text if it is a formula, else the last whole formula of its last sentence ("9π - 18", never 18 alone; one in bold
first, digits before number words), unless it stands after "not", "at least", "might be" and the like.

Conventions, where public graders disagree:
- 33.5% equals 0.335 and 33.5 (`percent="share"`: 0.335 alone, `"number"`: 33.5 alone);
- a bare list has no order (`ordered=True`: it has one), a set has none, tuples, intervals and vectors have one;
  a bare list equals the set or tuple of its members, but a tuple or interval is not a set;
- several boxes are one answer only if words like "and" join them, else the last one counts;
- a unit may be missing; two units must be of one kind, and convert: 1 m is 100 cm;
- `x = 3` answers 3, `1 + 2 = 3` and `BD/DC = 3` too; an equation equals its multiples; 2:4 is 1:2 and 1/2;
  `4\sqrt{3} \approx 6.93` answers both if they agree as far as the decimals say; 204 is not 204_5;
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
from vlmrl.reading.numbers import MAX_DIGITS
from vlmrl.reading.quantities import PERCENT
from vlmrl.reading.sentences import WORDS, in_words, plain_bold, without_citations
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
    Example("The answer is **5**.", "5", 1.0),
    Example("There are 12 sequences that meet the three conditions.", "12", 1.0),
    Example("There are 12 sequences that meet the three conditions.", "3", 0.0),
    Example("The area equals 9π - 18.", r"9\pi-18", 1.0),
    Example("The area equals 9π - 18.", "18", 0.0),
    Example("Answer: 5. Wait, it is 7.", "5", 0.0),
    Example(r"\boxed{\frac{BD}{DC}=\frac23}", r"\frac{2}{3}", 1.0),
    Example("a number between 0 and 10", "10", 0.0),
    Example(r"\boxed{9^{9^{9^9}}}", "3", 0.0),
    Example("8", "7", 0.0),
    Example("no idea", "7", 0.0),
    Example("7", "the value of a", None),
]

_LONGEST = 2000
"""Characters of an answer that are read: of a marked one the first, of a free text the last."""

_TEXT = re.compile(r"\\text\{([^{}]*)\}")
_LABEL = re.compile(r"[*_]{0,2}[A-Z][a-z]{2,}(?: [a-z]+){0,3}[*_]{0,2}: *(?=\S)|[a-zA-Z]: (?=\S)|Answer\s+(?=[\\$\d])")
_DENIES = re.compile(
    r"(?<!\\)\b(?:not|rather than|instead of|unlike|wrong|incorrect|false)\b|n['’]t\b|\bdiff(?:er|erent)", re.IGNORECASE
)
_CONCLUDES = re.compile(r"\b(?:so|thus|hence|therefore)\b", re.IGNORECASE)
_DENYING = re.compile(r"(?:\bnot|n['’]t)\W*\\f?boxed?\W*$|(?:\bnot|n['’]t)\W*$", re.IGNORECASE)
_OR_ANOTHER = re.compile(r"[\s$,.}]*\(?or\s+[-$\\\d]", re.IGNORECASE)
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
        if isinstance(item, int) and abs(item) >= 10**MAX_DIGITS:
            raise ValueError(f"target has more than {MAX_DIGITS} digits; correct it")
    if not items:
        raise ValueError("target is an empty list; give the true answer")
    return tuple(_truth(str(item)) for item in items)


@lru_cache(maxsize=4096)
def _truth(text: str) -> str:
    is_text = "\\text" in text and not re.search(r"\d", text)
    said = _answered(f"\\boxed{{{text}}}" if is_text else text)
    truth = clean(said) if said else ""
    again = _answered(f"\\boxed{{{truth}}}") if truth and (is_text or not is_prose(truth)) else None
    if again is None or clean(again) != truth or truth in ("nan", "inf", "-inf"):
        raise ValueError(f"target {text[:60]!r} holds no number or formula; correct it or take another verifier")
    return truth


# --- the answer in a response -----------------------------------------------------------------------------


def _answered(response: str) -> str | None:
    """The expression that a response answers, as it stands there; None if there is none."""
    text = answers.after_thinking(response)
    if text is None:
        return None
    marked = _TEXT.fullmatch(text.strip(" \n$.")) is not None
    for find in (answers.last_tagged, answers.last_box_token):
        span = find(text)
        text, marked = (span.text, True) if span else (text, marked)
    boxes = [box for box in answers.boxes(text) if not _DENYING.search(text[max(0, box.start - 30) : box.start])]
    if boxes:
        later = answers.bare(answers.Answer(text[boxes[-1].end + 1 :], False))
        if later.cued:
            return _expression(later)
        if _OR_ANOTHER.match(text, boxes[-1].end + 1):
            return None
        text = _joined_boxes(text, boxes)
    return _expression(answers.bare(answers.Answer(text, marked or bool(boxes))))


def _joined_boxes(text: str, boxes: list[answers.Span]) -> str:
    """The last box with those before it that only "and", commas and names like `y_2 =` join to it, as a list."""
    run = answers.joined_boxes(text, boxes, lambda gap: len(gap) <= 60 and _JOINT.fullmatch(gap), MAX_MEMBERS)
    return ", ".join(dict.fromkeys(box.text for box in run))


def _expression(answer: answers.Answer) -> str | None:
    """The expression of an answer: all of it, but for a label, or what its words say."""
    text = without_citations(answer.text[:_LONGEST] if answer.marked or answer.cued else answer.text[-_LONGEST:])
    words = _TEXT.sub(r" \1 ", text).strip() if answer.marked and re.search(r"\d", text) else text
    before, digit, _ = re.split(r"(\d|$)", words, maxsplit=1)
    if (
        answer.cued
        or is_prose(clean(words))
        or (digit and _DENIES.search(words))
        or (digit and not answer.marked and (WORDS.search(before) or _CONCLUDES.search(words)))
    ):
        return in_words(words, cued=answer.cued, marked=answer.marked)
    lines = text.strip("#> \n").split("\n")
    text = plain_bold(lines[-1] if all("=" in line or not line.strip() for line in lines) else "\n".join(lines))
    return _LABEL.sub("", words, count=1) if _LABEL.match(words) else text or None
