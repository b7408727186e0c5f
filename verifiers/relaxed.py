"""Relaxed: numbers may be 5 % off, all else must be equal; and the open-answer rules of MMMU and MathVista.

    chartqa     a number within `tolerance` of the true one, else the same text (ChartQA, arXiv 2203.10244;
                percent as in pix2struct: 5% is 0.05)
    mmmu_open   MMMU's published rule (arXiv 2311.16502): the phrases after "is", "so", "answer" and the like,
                and all numbers, rounded to two places; the true text inside such a phrase, or the true number
                among them, is enough
    mathvista   MathVista's published rule (arXiv 2310.02255) for an extracted answer: the option of that letter
                or the nearest spelling; a whole number cut, a decimal one rounded to `decimals` places

The last two exist so that benchmark numbers can be compared with published ones. Both reward guesses (a response
that lists many numbers, a choice that resembles none), so train with `chartqa`, `numeric` or `choice`.

Under `chartqa` the answer is the marked one, else the whole response or what follows its last "answer:" or "answer
is"; it has to be the number or the text and nothing more. A target in square brackets is a list: as many items, in
order, each of them right. Several targets: any may be met.

    vlmrl check relaxed
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from vlmrl.reading import answers
from vlmrl.reading.checks import one_of
from vlmrl.reading.numbers import parse_number
from vlmrl.reading.published_rules import letter, right_in_mathvista, right_in_mmmu
from vlmrl.reading.texts import readings
from vlmrl.verdict import Example, Verdict, bad_target, unparsed

_ANGLES = {"rule": "mathvista", "choices": ["40°", "50°", "80°"]}

EXAMPLES = [
    Example("<answer>104</answer>", "100", 1.0),
    Example("The answer is Blue.", "blue", 1.0),
    Example("$1,040", 1000, 1.0),
    Example("[2014, red]", "[2015, Red]", 1.0),
    Example("2014", "2015", 0.0, {"exact_years": True}),
    Example("106", "100", 0.0),
    Example("5%", "5", 0.0),
    Example("5%", "5", 1.0, {"percent": "either"}),
    Example("Blue or red", "blue", 0.0),
    Example("The throughput is 60 Mbps.", "60", 1.0, {"rule": "mmmu_open"}),
    Example("B", "50°", 1.0, _ANGLES),
    Example("1.414", "1.41", 1.0, {"rule": "mathvista", "answer_type": "float", "decimals": 2}),
    Example("1", "", None),
]

_POLICIES = {
    "rule": ("chartqa", "mmmu_open", "mathvista"),
    "percent": ("share", "ignore", "either"),
    "answer_type": ("text", "integer", "float", "list"),
}
_LONGEST = 20_000
"""Characters of an answer that are read, from its end."""

_NUMBER = re.compile(
    r"(?:(?:about|approximately|around|roughly)\s|[≈~]\s?)?(?P<sign>[+-]?)\s?[$€£¥]?\s?(?P<digits>(?:\d{1,3}(?:,\d{3}){1,20}|\d{1,100})(?:\.\d{0,100})?|\.\d{1,100})"
    r"(?:e(?P<power>[+-]?\d{1,2}))?\s?(?P<percent>%|percent)?",
    re.ASCII,
)
_ITEM = re.compile(r"\"([^\"]*)\"|'([^']*)'|([^,]+)")


class Rule(NamedTuple):
    """How an answer is compared; the params of `verify`."""

    rule: str = "chartqa"
    tolerance: float = 0.05
    percent: str = "share"
    exact_years: bool = False
    choices: Sequence[str] | None = None
    answer_type: str = "text"
    decimals: int = 2


def verify(
    response: str,
    target: Any,
    *,
    rule: str = "chartqa",
    tolerance: float = 0.05,
    percent: str = "share",
    exact_years: bool = False,
    choices: Sequence[str] | None = None,
    answer_type: str = "text",
    decimals: int = 2,
) -> Verdict:
    """1 if the answer is right under the `rule`, else 0.

    `target`: a number, a text, or a list of which any may be met. For `chartqa`: `tolerance`, a share of the
    target; `percent`: 5% is 0.05 (`share`), 5 (`ignore`), or against a number without the sign one of them
    (`either`); `exact_years`: whole numbers of 1000 to 3000 must be equal. For `mathvista`: `choices`, the
    options' texts; without them `answer_type` (`text`, `integer`, `float`, `list`) and `decimals`.
    """
    how = Rule(rule, tolerance, percent, exact_years, choices, answer_type, decimals)
    try:
        truths = _truths(target, how)
    except ValueError as error:
        return bad_target(str(error))
    texts = _read(response, how)
    if not texts:
        return unparsed("the thinking never ended")
    said = next((text for text in texts for truth in truths if _right(text, truth, how)), None)
    if said is not None:
        return Verdict(1.0, answer=said)
    return Verdict(0.0, answer=texts[-1], why=f"{texts[-1][:60]!r} is not {truths[0][:60]!r}")


def gold(target: Any, **params: Any) -> str:
    """The target, the first of several; of options, the letter."""
    how = Rule(**params)
    return _gold(_truths(target, how)[0], how)


def check_target(target: Any, **params: Any) -> None:
    """ValueError unless every target is a number or a text that the rule can find right."""
    _truths(target, Rule(**params))


def _truths(target: Any, how: Rule) -> list[str]:
    for name, known in _POLICIES.items():
        one_of(name, getattr(how, name), known)
    if not isinstance(how.tolerance, (int, float)) or not 0 <= how.tolerance < 1:
        raise ValueError(f"tolerance {how.tolerance!r} is not a share; give a number in [0, 1)")
    items = target if isinstance(target, list) else [target]
    return [_truth(item, how) for item in items or [None]]


def _truth(item: Any, how: Rule) -> str:
    usable = isinstance(item, str) or (type(item) in (int, float) and abs(item) < 1e30)
    text = str(item).strip() if usable else ""
    if not text or len(text) > _LONGEST:
        raise ValueError(
            f"target of type {type(item).__name__} is neither a number nor a text; give one that is not empty"
        )
    if how.rule == "mathvista" and how.choices is not None and text not in how.choices:
        raise ValueError(f"target {text[:60]!r} is none of the choices; give the text of one")
    if not any(_right(said, text, how) for said in _read(_gold(text, how), how)):
        raise ValueError(f"target {text[:60]!r} could not be found right by the rule {how.rule}; give a plain answer")
    return text


def _gold(text: str, how: Rule) -> str:
    return f"({letter(how.choices.index(text))})" if how.rule == "mathvista" and how.choices else text


def _read(response: str, how: Rule) -> list[str]:
    """The texts that the response may answer; the published rules read the marked one as it stands."""
    texts = readings(response)
    return [text[-_LONGEST:] for text in (texts if how.rule == "chartqa" else texts[:1])]


def _right(said: str, true: str, how: Rule) -> bool:
    if how.rule == "mmmu_open":
        return right_in_mmmu(said, true)
    if how.rule == "mathvista":
        return right_in_mathvista(said, true, how.choices, how.answer_type, how.decimals)
    return _same(said, true, how)


# --- ChartQA ----------------------------------------------------------------------------------------------


def _same(said: str, true: str, how: Rule) -> bool:
    if true.startswith("[") and true.endswith("]"):
        pairs = list(zip(*(_items(text) for text in (said, true)), strict=False))
        return len(_items(said)) == len(_items(true)) and all(_same_item(a, b, how) for a, b in pairs)
    return _same_item(said, true, how)


def _items(text: str) -> list[str]:
    text = _normal(text).removeprefix("[").removesuffix("]")
    return [next(filter(None, match.groups()), "") for match in _ITEM.finditer(text)]


def _same_item(said: str, true: str, how: Rule) -> bool:
    a, b = _number(_normal(said)), _number(_normal(true))
    if a is None or b is None:
        return _normal(said) == _normal(true)
    (value, signed), (truth, true_signed) = a, b
    if how.exact_years and all(n.denominator == 1 and 1000 <= abs(n) <= 3000 for n in (value, truth)):
        return value == truth
    scales = [Fraction(1)]
    if signed != true_signed and how.percent != "ignore":
        share = Fraction(1, 100) if signed else Fraction(100)
        scales = [share] if how.percent == "share" else [share, Fraction(1)]
    return any(abs(value * scale - truth) <= Fraction(str(how.tolerance)) * abs(truth) for scale in scales)


def _normal(text: str) -> str:
    folded = " ".join(answers.fold(text).casefold().split())
    return folded.lstrip(" *`\"'").rstrip(" .*`\"'") or folded


def _number(text: str) -> tuple[Fraction, bool] | None:
    """The number that a normal text is, and whether it is in percent."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        word = parse_number(text)
        return None if word is None else (word, False)
    value = Fraction(match["digits"].replace(",", ""))
    if match["power"]:
        value *= Fraction(10) ** int(match["power"])
    return (-value if match["sign"] == "-" else value), bool(match["percent"])
