r"""Math: is the answered value, expression, tuple, set, interval, matrix or equation equal to the true one?

The answer is the last `<answer>`, box token or `\boxed{}` (boxes joined by "and" are one list); without a
mark, what follows the last "answer is", or the last formula or number. Both sides are then taken apart by
their outer shape (lists, tuples, sets, intervals, matrices, equations, inequalities) and their pieces
compared exactly where they are equal strings or numbers. Only what is left is read by the LaTeX parser of
math-verify and compared by value at fixed points; it is refused before that if it is too long, nested too
deep, or would grow too large (`9^{9^9}`). So no input stalls, and no signal or thread is needed.

Conventions: 33.5% equals 0.335 and 33.5; a unit may be missing, but two different units differ; lists and
sets have no order, tuples and intervals do; an equation `x = 3` answers 3; alternatives ("3 or 4") are a
list, so they never equal one value; whole numbers compare exactly, decimals within `tolerance`.

    vlmrl check math
"""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction
from typing import Any, NamedTuple

from vlmrl import answers
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
    Example(r"\boxed{(1, 2)}", "(2, 1)", 0.0),
    Example(r"\boxed{\{2, 1\}}", r"\{1, 2\}", 1.0),
    Example(r"\boxed{3 \text{ or } 4}", "3", 0.0),
    Example(r"\boxed{9^{9^{9^9}}}", "3", 0.0),
    Example("8", "7", 0.0),
    Example("no idea", "7", 0.0),
    Example("7", "the value of a", None),
]

_LONGEST = 2000
"""Characters of an answer or a target that are looked at; a longer marked answer is refused."""


def verify(response: str, target: Any, *, tolerance: float = 1e-6) -> Verdict:
    """1 if the answer equals `target` (a number, a LaTeX or plain text, or a list: any of them), else 0.

    `tolerance` is relative to the target and holds where a decimal is involved; it does not hold for two
    whole numbers or two exact fractions.
    """
    try:
        truths = _truths(target)
    except ValueError as error:
        return bad_target(str(error))
    said = _answered(response)
    if said is None:
        return unparsed("no number or formula in the answer")
    for truth in truths:
        if _equal(_clean(said), truth, tolerance):
            return Verdict(1.0, answer=said)
    return Verdict(0.0, answer=said, why=f"{said[:60]} is not {truths[0][:60]}")


def gold(target: Any, **_: Any) -> str:
    """The target, the first of several, in a box."""
    return f"\\boxed{{{_truths(target)[0]}}}"


def check_target(target: Any, **_: Any) -> None:
    """ValueError unless every target is a number or a text with a number or formula in it."""
    _truths(target)


def _truths(target: Any) -> list[str]:
    """The targets as clean expressions."""
    cleaned = []
    for item in target if isinstance(target, list) else [target]:
        said = _answered(str(item)) if _is_scalar(item) else None
        text = _clean(said) if said else ""
        box = answers.last_boxed(f"\\boxed{{{text}}}")
        if not text or _is_prose(text) or box is None or box.text != text:
            raise ValueError(f"target {str(item)[:60]!r} holds no number or formula; mend it or use another verifier")
        cleaned.append(text)
    if not cleaned:
        raise ValueError("target is an empty list; give the true answer")
    return cleaned


def _is_scalar(item: Any) -> bool:
    if isinstance(item, int) and not isinstance(item, bool):
        return abs(item) < 10**answers.MAX_DIGITS
    return isinstance(item, (str, float)) and str(item) not in ("nan", "inf", "-inf")


# --- the answer in a response -----------------------------------------------------------------------------

_CUE = re.compile(r"answer(?:\s+is|\s*[:：=])\s*|答案(?:是|为|[:：])\s*", re.IGNORECASE)
_FORMULA = re.compile(r"\$\$(.+?)\$\$|\$([^$]+)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_CURRENCY_OR_JOIN = re.compile(r"[\s$,;.&]|\\[()\[\]]|\\quad|\\text|[{}]|(?:\b[a-zA-Z](?:_\{?\w\}?)?\s*=)")


def _answered(text: str) -> str | None:
    """The expression a response answers, as it stands there; None if there is none."""
    after = answers.after_thinking(text)
    if after is None:
        return None
    for find in (answers.last_tagged, answers.last_box_token):
        span = find(after)
        after = span.text if span else after
    boxed = _box_run(after)
    if boxed is not None:
        return boxed if boxed.strip() and len(boxed) <= _LONGEST else None
    after = after.strip()[-_LONGEST:]
    cues = list(_CUE.finditer(after))
    if cues:
        after = after[cues[-1].end() :].partition("\n")[0] or after
    after = after.strip(" *`\n")
    return _last_expression(after) if _is_prose(_clean(after)) or "$" in after or "\\(" in after else after or None


def _box_run(text: str) -> str | None:
    """The last box, or the boxes that only "and", commas and names like `y_2 =` join to it, as a list."""
    boxes = answers.boxes(text)
    if not boxes:
        return None
    run = [boxes[-1]]
    for box in reversed(boxes[:-1]):
        between = text[box.end + 1 : run[0].start]
        joint = _CURRENCY_OR_JOIN.sub(" ", between[:80].removesuffix("\\boxed{")).split()
        if len(between) > 80 or not (joint == [] or joint[-1] == "and"):
            break
        run.insert(0, box)
    return ", ".join(box.text for box in run)


def _last_expression(text: str) -> str | None:
    """The last formula, with a percent sign after it, or the last number outside formulas."""
    if text.count("$") == 1:
        text = text.replace("$", "")
    formulas = list(_FORMULA.finditer(text))
    numbers = answers.find_numbers(text)
    if formulas and (not numbers or numbers[-1].start < formulas[-1].end()):
        last = formulas[-1]
        percent = "\\%" if re.match(r"\s*\\?%", text[last.end() :]) else ""
        return next(group for group in last.groups() if group is not None) + percent
    if not numbers:
        return None
    percent = re.match(r"\s*\\?%", text[numbers[-1].end :])
    return text[numbers[-1].start : numbers[-1].end] + ("\\%" if percent else "")


def _is_prose(clean: str) -> bool:
    r"""Whether a text is words rather than a formula; `\text{...}` alone is a formula."""
    words = re.findall(r"(?<![\\A-Za-z])[A-Za-z]{2,}(?![A-Za-z(])", re.sub(r"\\text\{[^}]*\}", "", clean))
    return len([word for word in words if word not in _UNITS]) >= 2


# --- cleaning ---------------------------------------------------------------------------------------------

_CHARACTERS = {
    **{
        c: f"\\{name} "
        for c, name in zip("π∞≤≥≠∪∩∅·×√", "pi infty le ge ne cup cap emptyset cdot times sqrt".split(), strict=True)
    },
    **{c: f"^{{{d}}}" for c, d in zip("⁰¹²³⁴⁵⁶⁷⁸⁹", range(10), strict=True)},
    "÷": "/",
    "∖": "\\setminus ",
    "°": "^\\circ ",
}
_REWRITES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\[$]|[$]|\\[()\[\]!,;:> ](?![0-9a-zA-Z]*\})|\\(?:left|right|displaystyle|limits)(?![a-zA-Z])|[~]", ""),
        (r"\\q?quad|\\\\,", " "),
        (r"\\[dtc]frac", r"\\frac"),
        (r"\\frac\s*(\d)\s*(\d|\{)", r"\\frac{\1}\2"),
        (r"(\\frac\{[^{}]*\})\s*(\d)", r"\1{\2}"),
        (r"\\frac\s+\{", r"\\frac{"),
        (r"\\sqrt\s*([0-9a-zA-Z])", r"\\sqrt{\1}"),
        (r"(?<![\\a-zA-Z])sqrt\(([^()]*)\)", r"\\sqrt{\1}"),
        (r"\\(?:mathrm|mathbf|textbf|textnormal|textrm|mbox|operatorname)\s*\{", r"\\text{"),
        (r"\\text\{\s*,?\s*(?:and|or)\s*\}|(?<![a-zA-Z\\]),?\s*\b(?:and|or)\b", ","),
        (r"\^\s*(?:\\circ|\{\s*\\circ\s*\})|\\degree", " degrees "),
        (r"(?:\\text\{)?\s*(?:percent(?:age)?|pct)\b\s*\}?|(?<!\\)%", r"\\%"),
        (r"\\([bpvBV]?)matrix", r"\\pmatrix"),
        (r"\{[bBvV]matrix\}", "{pmatrix}"),
        (r"\\(?:leq|leqslant)(?![a-zA-Z])|<=", r"\\le "),
        (r"\\(?:geq|geqslant)(?![a-zA-Z])|>=", r"\\ge "),
        (r"\\lt(?![a-zA-Z])", "<"),
        (r"\\gt(?![a-zA-Z])", ">"),
        (r"\*\*", "^"),
        (r"\\(?:approx|simeq)(?![a-zA-Z]).*", ""),
        (r"^\s*\\?[a-zA-Z]\s*\\in(?![a-zA-Z])", ""),
        (r"\s+", " "),
    )
]  # fmt: skip


def _clean(text: str) -> str:
    """One spelling for the many of LaTeX, Unicode and plain text."""
    text = answers.fold(unicodedata.normalize("NFC", text))
    text = "".join(_CHARACTERS.get(c) or _vulgar(c) for c in text)
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    inner = re.fullmatch(r"\s*\\text\{([^{}]*)\}\s*", text)
    text = inner[1] if inner and len(inner[1].split()) < 2 else text
    return text.strip().rstrip(".,;:\\").strip().removeprefix("+").strip()


def _vulgar(char: str) -> str:
    r"""`½` as ` \frac{1}{2}`."""
    parts = unicodedata.normalize("NFKC", char).split("⁄") if not char.isascii() else [char]
    return f" \\frac{{{parts[0]}}}{{{parts[1]}}}" if len(parts) == 2 else char


# --- numbers ----------------------------------------------------------------------------------------------

_UNITS = frozenset(
    "mm cm dm km in ft yd mi mg kg lb oz ml cl sec min hr hrs rad deg mph kph rpm hz pm am sq cubic square per "
    "inch inches foot feet yard yards mile miles meter meters metre metres gram grams liter liters litre litres "
    "second seconds minute minutes hour hours day days week weeks month months year years degree degrees radian "
    "radians dollar dollars cent cents euro euros yuan rupees pounds pound unit units people students ways "
    "m s g h l k".split()
)
_DECIMAL = r"(?:\d{1,3}(?:[, ]\d{3})+(?!\d)|\d{1,300})(?:\.\d{0,300})?|\.\d{1,300}"
_NUMBER = re.compile(
    rf"(?P<sign>-?)\s*(?:(?P<mixed>\d{{1,15}})?\s*\\frac\{{\s*(?P<a>-?\d{{1,300}})\s*\}}\{{\s*(?P<b>\d{{1,300}})\s*\}}"
    rf"|(?:(?P<whole>\d{{1,15}}) )?(?P<c>\d{{1,300}})\s*/\s*(?P<d>\d{{1,300}})"
    rf"|(?P<decimal>{_DECIMAL})(?:\s*(?:\\times|\\cdot|\*)\s*10\^\{{?(?P<power>-?\d{{1,3}})\}}?|[eE](?P<exp>[+-]?\d{{1,3}}))?)"
    r"(?P<unit>(?:\s*(?:\\text\{[^{}]*\}|\\%|[a-zA-Z]+(?![a-zA-Z(\\])|(?<=[a-zA-Z}])\s*\^\{?[23]\}?|/))*)"
)


class _Quantity(NamedTuple):
    value: Fraction
    exact: bool
    """Written without a decimal point."""
    percent: bool
    unit: str


def _quantity(text: str) -> _Quantity | None:
    """The number a clean text is, perhaps with a unit; None if it is anything else."""
    match = _NUMBER.fullmatch(text.strip("() ") if text.count("(") == text.count(")") <= 1 else text)
    if match is None:
        return None
    words = re.findall(r"[a-zA-Z]+", re.sub(r"\\text\{([^{}]*)\}", r" \1 ", match["unit"]))
    is_text = "\\text" in match["unit"]
    if not is_text and any(word not in _UNITS and word + "s" not in _UNITS for word in words):
        return None
    above, below = (match["a"], match["b"]) if match["a"] else (match["c"], match["d"])
    whole = match["mixed"] or match["whole"]
    if above:
        if int(below) == 0:
            return None
        value = Fraction(int(above), int(below)) + int(whole or 0)
    else:
        value = Fraction(re.sub("[, ]", "", match["decimal"])) * Fraction(10) ** int(
            match["power"] or match["exp"] or 0
        )
    exact = "." not in (match["decimal"] or "")
    unit = " ".join(word.lower().removesuffix("s") for word in words)
    return _Quantity(-value if match["sign"] else value, exact, "\\%" in match["unit"], unit)


def _equal_quantities(said: _Quantity, true: _Quantity, tolerance: float) -> bool:
    if said.unit and true.unit and said.unit != true.unit:
        return False
    slack = 0 if said.exact and true.exact else Fraction(tolerance) * abs(true.value)
    scales = [Fraction(1)]
    if said.percent != true.percent:
        scales.append(Fraction(1, 100) if said.percent else Fraction(100))
    return any(abs(said.value * scale - true.value) <= slack * max(scale, 1) for scale in scales)


# --- shapes -----------------------------------------------------------------------------------------------

_OPEN, _CLOSE = "([{", ")]}"
_RELATION = re.compile(r"\\le(?![a-zA-Z])|\\ge(?![a-zA-Z])|[<>=]")
_NAME = re.compile(r"[^0-9+\-*/^<>=]*(?:_\{?[\w ]+\}?)?[^0-9+\-*/^<>=]*(?:\([\w, ]*\))?\s*")
_MATRIX = re.compile(r"\s*\\begin\{pmatrix\}(.*)\\end\{pmatrix\}\s*", re.DOTALL)


def _equal(said: str, true: str, tolerance: float) -> bool:
    """Whether two clean texts are the same answer."""
    if _squeezed(said) == _squeezed(true):
        return True
    ours, theirs = _quantity(true), _quantity(said)
    if ours and theirs:
        return _equal_quantities(theirs, ours, tolerance)
    if len(said) > _LONGEST // 4 or len(true) > _LONGEST // 4:
        return False
    return _equal_shapes(said, true, tolerance)


def _squeezed(text: str) -> str:
    return re.sub(r"\\text\{([^{}]*)\}|\s", r"\1", text).replace("\\{", "{").replace("\\}", "}").replace(" ", "")


def _equal_shapes(said: str, true: str, tolerance: float) -> bool:
    matrices = _MATRIX.fullmatch(said), _MATRIX.fullmatch(true)
    if matrices[0] and matrices[1] and said.count("pmatrix") == true.count("pmatrix") == 2:
        rows = [[row.split("&") for row in match[1].strip().strip("\\").split("\\\\")] for match in matrices if match]
        return _all_equal([c for r in rows[0] for c in r], [c for r in rows[1] for c in r], tolerance) and [
            len(r) for r in rows[0]
        ] == [len(r) for r in rows[1]]
    mine, theirs = _split(said, ","), _split(true, ",")
    if len(mine) > 1 or len(theirs) > 1:
        if len(mine) == 1 and _brackets(said):
            mine = _split(said[1:-1], ",")
        return len(mine) == len(theirs) and _same_members(mine, theirs, tolerance)
    pieces = _split(said, "\\cup"), _split(true, "\\cup")
    if len(pieces[0]) > 1 or len(pieces[1]) > 1:
        return len(pieces[0]) == len(pieces[1]) and _same_members(*pieces, tolerance)
    said, true = _as_interval(said), _as_interval(true)
    kinds = _brackets(said), _brackets(true)
    if kinds[0] and kinds[1]:
        if kinds[0] != kinds[1]:
            return False
        mine, theirs = _split(said[1:-1], ","), _split(true[1:-1], ",")
        if kinds[0] == "{}":
            return len(mine) == len(theirs) and _same_members(mine, theirs, tolerance)
        return _all_equal(mine, theirs, tolerance)
    return _equal_relations(said, true, tolerance)


def _equal_relations(said: str, true: str, tolerance: float) -> bool:
    """Equations and inequalities; `x = 3` against 3 compares 3."""
    ours, theirs = _RELATION.findall(true), _RELATION.findall(said)
    left, right = _RELATION.split(said), _RELATION.split(true)
    if ours and set(ours) == {"="} and (not theirs or left[0].strip() == right[0].strip()):
        return bool(_NAME.fullmatch(right[0])) and _equal(left[-1].strip(), right[-1].strip(), tolerance)
    if theirs and set(theirs) == {"="} and not ours:
        return _equal(left[-1].strip(), true, tolerance)
    if not ours and not theirs:
        return _equal_values(said, true, tolerance)
    return len(ours) == len(theirs) == 1 and _same_relation(left, theirs[0], right, ours[0])


def _as_interval(text: str) -> str:
    r"""`a < x \le b` as `(a, b]`; a set in `\{ \}` as `{ }`; all else as it is."""
    sides, signs = _RELATION.split(text), _RELATION.findall(text)
    if len(signs) == 2 and set(signs) <= {"<", "\\le"} and _NAME.fullmatch(sides[1]):
        ends = "(" if signs[0] == "<" else "[", ")" if signs[1] == "<" else "]"
        return f"{ends[0]}{sides[0].strip()}, {sides[2].strip()}{ends[1]}"
    if text.startswith("\\{") and text.endswith("\\}"):
        return "{" + text[2:-2] + "}"
    return text


def _brackets(text: str) -> str:
    """The brackets that enclose all of a text with a comma or in braces, else ""."""
    if len(text) < 2 or text[0] not in _OPEN or text[-1] not in _CLOSE:
        return ""
    depth = 0
    for place, char in enumerate(text):
        depth += (char in _OPEN) - (char in _CLOSE)
        if depth == 0 and place < len(text) - 1:
            return ""
    kind = text[0] + text[-1]
    return kind if kind == "{}" or len(_split(text[1:-1], ",")) > 1 else ""


def _split(text: str, separator: str) -> list[str]:
    """The pieces between the separators that stand in no bracket."""
    pieces, depth, start, place = [], 0, 0, 0
    while place < len(text):
        depth += (text[place] in _OPEN) - (text[place] in _CLOSE)
        if depth == 0 and text.startswith(separator, place):
            pieces.append(text[start:place].strip())
            start = place = place + len(separator)
        else:
            place += 1
    return [piece for piece in (*pieces, text[start:].strip()) if piece]


def _all_equal(said: list[str], true: list[str], tolerance: float) -> bool:
    return len(said) == len(true) and all(
        _equal(a.strip(), b.strip(), tolerance) for a, b in zip(said, true, strict=True)
    )


def _same_members(said: list[str], true: list[str], tolerance: float) -> bool:
    """Whether two lists of up to 20 members hold the same, in any order."""
    if len(true) > 20:
        return False
    left = list(said)
    for member in true:
        found = next((i for i, piece in enumerate(left) if _equal(piece, member, tolerance)), None)
        if found is None:
            return False
        left.pop(found)
    return not left


# --- values -----------------------------------------------------------------------------------------------

# Arbitrary positive points: two expressions that agree on all of them are equal.
_POINTS = (
    (0.7134, 1.3271, 0.4219, 1.1173),
    (1.9021, 0.2313, 1.7177, 0.8087),
    (0.3343, 2.1391, 0.9151, 1.6067),
)
_DEEPEST = 8
_REFUSED = re.compile(r"\\(?:int|sum|prod|lim|binom)|\\(?:frac|sqrt)?\{?\d{40}|[^\x00-\x7f]")


def _equal_values(said: str, true: str, tolerance: float) -> bool:
    mine, theirs = _read(said), _read(true)
    if mine is None or theirs is None or mine.free_symbols != theirs.free_symbols:
        return False
    slack = tolerance if re.search(r"\d*\.\d+", said + true) else 1e-12
    for point in _POINTS:
        a, b = _value(mine, point), _value(theirs, point)
        if a is None or b is None or abs(a - b) > slack * max(abs(b), 1e-9):
            return False
    return True


def _same_relation(said: list[str], sign: str, true: list[str], true_sign: str) -> bool:
    """Whether two equations or inequalities say the same: their differences are proportional."""
    flip = {"<": ">", ">": "<", "\\le": "\\ge", "\\ge": "\\le", "=": "="}
    mine, theirs = (_read(f"({sides[0]})-({sides[1]})") for sides in (said, true))
    if mine is None or theirs is None or mine.free_symbols != theirs.free_symbols:
        return False
    ratios = []
    for point in _POINTS:
        a, b = _value(mine, point), _value(theirs, point)
        if not a or not b:
            return False
        ratios.append(a / b)
    if any(abs(ratio - ratios[0]) > 1e-9 * abs(ratios[0]) or abs(ratio.imag) > 1e-12 for ratio in ratios):
        return False
    return true_sign == "=" == sign or true_sign == (sign if ratios[0].real > 0 else flip[sign])


def _read(text: str) -> Any:
    """The sympy expression of a clean text; None if it is too large to touch or not an expression."""
    if _REFUSED.search(text) or _depth(text) > _DEEPEST or len(text) > 300:
        return None
    import sympy
    from latex2sympy2_extended.latex2sympy2 import ConversionConfig, latex2sympy

    try:
        expression = latex2sympy(text, conversion_config=ConversionConfig(lowercase_symbols=False))
    except Exception:  # the parser raises bare exceptions for what it cannot read
        return None
    if not isinstance(expression, sympy.Expr) or _magnitude(expression) > 1e4:
        return None
    return expression


def _depth(text: str) -> int:
    depth = deepest = 0
    for char in text:
        depth += (char in _OPEN) - (char in _CLOSE)
        deepest = max(deepest, depth)
    return deepest


def _magnitude(expression: Any) -> float:
    """An upper bound of log10 |value| and of its parts, taking every symbol as 10; inf for what is unknown."""
    import sympy

    inner = [_magnitude(arg) for arg in expression.args]
    if expression.is_Number:
        return float(sympy.log(abs(expression) + 1, 10)) if expression.is_finite else 1.0
    if isinstance(expression, sympy.Pow):
        base, exponent = inner
        return (base + 1) * 10**exponent if exponent < 6 else float("inf")
    if isinstance(expression, (sympy.factorial, sympy.exp, sympy.sinh, sympy.cosh)):
        return 10 ** (inner[0] + 1) if inner[0] < 6 else float("inf")
    if isinstance(expression, sympy.core.function.AppliedUndef) or not isinstance(expression, sympy.Expr):
        return float("inf")
    return sum(inner) + 1


def _value(expression: Any, point: tuple[float, ...]) -> complex | None:
    """The value with the symbols, by name, at a point; None if there is none."""
    names = sorted(expression.free_symbols, key=str)
    values = {name: point[i % len(point)] + i // len(point) for i, name in enumerate(names)}
    try:
        value = complex(expression.subs(values).evalf(25))
    except (TypeError, ValueError, OverflowError, ArithmeticError, RecursionError, AttributeError):
        return None
    return value if abs(value) < float("inf") else None
