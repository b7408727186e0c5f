r"""Mathematical notation: one spelling for LaTeX, Unicode and plain text.

    clean(r"\dfrac12\,\text{cm}")     -> r"\frac{1}{2}\text{cm}"
    is_prose("the largest n is 34")   -> True

Texts are a few thousand characters at most; `vlmrl.verifiers.math` sees to that. Nothing here loads sympy.
"""

from __future__ import annotations

import re
import unicodedata

from vlmrl.reading.markup import fold
from vlmrl.reading.quantities import is_unit
from vlmrl.reading.symbols import latex_symbols

_BASES = {
    name: base for base, name in enumerate(("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"), 2)
}
_GREEK = (
    "alpha|beta|gamma|delta|epsilon|theta|lambda|mu|pi|rho|sigma|tau|phi|varphi|omega|Alpha|Gamma|Delta|Theta|Lambda"
    "|Sigma|Phi|Omega"
)
_FUNCTIONS = "arc(?:sin|cos|tan)|sinh|cosh|tanh|sin|cos|tan|cot|csc|ln|log|exp"
_GROUP = r"\{ ?([^{}]*) ?\}"

_PLAIN = re.compile(r"(?:[\d\s,:+\-*/()]|\.(?!\.))*")
"""Texts that no rewrite changes."""


def _python_matrix(match: re.Match[str]) -> str:
    """`[[1, 2], [3, 4]]` as a matrix of LaTeX."""
    rows = [row.replace(",", "&") for row in re.findall(r"\[([^\[\]]*)\]", match[1])]
    return "\\begin{pmatrix}" + "\\\\".join(rows) + "\\end{pmatrix}"


# What a text must contain for a rewrite to change it, the pattern, and what replaces it.
_REWRITES = [
    (needed, re.compile(pattern), replacement)
    for needed, pattern, replacement in (
        ("", r"\s+", " "),
        # What an expression follows from.
        ("\\", r"^.*\\(?:Rightarrow|Longrightarrow|implies|therefore)(?![a-zA-Z])", ""),
        ("=>", r"^ ?=>", ""),
        # Delimiters, currency, thin spaces, sizes, colours.
        ("\\", r"(?<=\d) ?,? ?\\! ?,? ?(?=\d{3}(?!\d))|\\\\,", ","),
        (";", r";(?! ?$)", ","),
        ("{", r" ?(?<![_^}\]])\{ ?([,:.;=<>]) ?\} ?", r"\1"),
        ("\\$", r"\\\$ ?(?=-?[\d.])", r"\\dollar "),
        ("$", r"^ ?\$(?=-?\d[\d,.]* ?$)", r"\\dollar "),
        ("\\", r"(?<!\\)\\[,;:> ](?=[a-zA-Z])", " "),
        ("\\", r"(?<!\\)(?<!\\mathbb\{R\})(?<!\\mathbb\{R\} )\\[()\[\]!,;:> ]", ""),
        ("$", r"\\?\$", ""),
        ("~", r"~", ""),
        ("\\", r"\\(?:left|right|[bB]igg?[lrm]?|(?:display|text)style|(?:no)?limits|ensuremath)(?![a-z])", ""),
        ("\\", r"\\(?:tiny|small|large|Large|LARGE|huge|Huge|normalsize|bf|rm|it|sf|tt)(?![a-zA-Z])", " "),
        ("\\", r"\\(?:hspace|vspace|phantom|tag|label|color) ?\*?\{[^{}]*\}|\\textcolor ?\{[^{}]*\}", ""),
        ("\\", r"\\(?:q?quad|thinspace)(?![a-zA-Z])", " "),
        ("\\", r"\\(?:lbrace|rbrace)(?![a-zA-Z])", lambda match: "\\{" if match[0] == "\\lbrace" else "\\}"),
        ("\\", r"\\(?:langle|rangle)(?![a-zA-Z])", lambda match: "(" if match[0] == "\\langle" else ")"),
        ("\\colon", r"\\colon(?![a-zA-Z])", ":"),
        ("\\mathbb", r"\\mathbb ?([A-Z])", r"\\mathbb{\1}"),
        ("\\mathbb", r"(?<=\\mathbb\{R\}) ?\\ ?(?=\\?\{)", r"\\setminus "),
        ("[", r"^ ?\[ ?(\[[^\[\]]*\](?: ?, ?\[[^\[\]]*\])*) ?\] ?$", _python_matrix),
        # Fractions and roots without braces, and those of Python.
        ("frac", r"\\(?:[dtc]frac|nicefrac|sfrac)(?![a-zA-Z])", r"\\frac"),
        ("\\over", r"\{ ?([^{}]+?) ?\\over(?![a-zA-Z]) ?([^{}]+?) ?\}", r"\\frac{\1}{\2}"),
        ("\\frac", r"\\frac ?(\d) ?([0-9a-zA-Z{])", r"\\frac{\1}\2"),
        ("\\frac", r"(\\frac ?\{[^{}]*\}) ?([0-9a-zA-Z])", r"\1{\2}"),
        ("\\choose", r"\{ ?([^{}]*?) ?\\choose(?![a-zA-Z]) ?([^{}]*?) ?\}", r"\\binom{\1}{\2}"),
        ("\\frac {", r"\\frac \{", r"\\frac{"),
        ("\\surd", r"\\surd(?![a-zA-Z])", r"\\sqrt"),
        ("\\sqrt", r"\\sqrt ?(\[[^\[\]]*\])? ?([0-9]+|[a-zA-Z])", r"\\sqrt\1{\2}"),
        # Commands without their backslash, and the letters and functions that are written as text.
        ("cbrt", r"(?<![\\a-zA-Z])cbrt ?(?=[{\d])", r"\\sqrt[3]"),
        ("", r"(?<![\\a-zA-Z])(frac|sqrt) ?(?=[{\d])", r"\\\1"),
        ("", rf"(?<![\\a-zA-Z{{])({_GREEK})(?![a-zA-Z])", r"\\\1 "),
        ("\\var", r"\\var(?=(?:phi|theta|epsilon|rho|sigma|kappa|pi)(?![a-z]))", r"\\"),
        ("\\", rf"\\(?:mathrm|operatorname|text) ?\*?\{{ ?({_FUNCTIONS}|lg|lcm|gcd|[ei](?=[ }}]*\^)) ?\}}", r"\\\1 "),
        ("", rf"(?<![\\a-zA-Z{{])({_FUNCTIONS}|lg)(?![a-zA-Z])|(?<![\\a-zA-Z])(sec|max|min)(?= ?[(^])", r"\\\1\2 "),
        ("\\", r"\\([ei])(?= ?\^)", r"\1"),
        ("\\lg", r"\\lg(?![a-zA-Z])", r"\\log_{10}"),
        ("\\exp", r"\\exp(?![a-zA-Z]) ?\(([^()]*)\)", r"e^{\1}"),
        ("\\", r"\\(?:ast|star)(?![a-zA-Z])", r"\\cdot "),
        ("dots", r"\\[lcv]?dots[bcimo]?(?![a-zA-Z])", "..."),
        # Words: fonts, conjunctions, ordinals, degrees, percent.
        ("\\", r"\\(?:mathrm|mathbf|mathit|mathsf|mathtt|textbf|textnormal|textrm|textit|textsf|mbox|hbox|operatorname"
         r"|boldsymbol|underline|vec|bm) ?\{", r"\\text{"),
        ("\\text", r"\\text ?\{ ?([\d.,]+|[a-zA-Z]|\\[a-z]+) ?\}(?!\^)", r" \1 "),
        ("", r"(?<=\d)(?: ?\^ ?)?\{? ?(?:\\text ?\{ ?)?(?:st|nd|rd|th)(?![a-zA-Z]) ?\}{0,2}", ""),
        ("", r"\\text ?\{ ?,? ?(?:and|or) ?\}|,? ?(?<![a-zA-Z\\])(?:and|or)(?![a-zA-Z])|\\(?:lor|land)(?![a-z])", ","),
        ("\\text", r"(?<=\d) ?\\text ?\{ ?to ?\} ?(?=\d)", ":"),
        ("\\", r"\^ ?(?:\\circ(?![a-zA-Z])|\{ ?\\circ ?\})|\\degree(?![a-zA-Z])", " degrees "),
        ("p", r"\\text ?\{ ?(?:percent(?:age)?|pct) ?\}|(?<![a-zA-Z])(?:percent(?:age)?|pct)(?![a-zA-Z])", "%"),
        ("%", r"\\?%", r"\\%"),
        # One name each for matrices, relations, powers, the empty set.
        ("matrix}", r"\{(?:[bB]|small)matrix\}", "{pmatrix}"),
        ("{matrix}", r"\\begin ?\{matrix\}(.*?)\\end ?\{matrix\}", r"\\begin{pmatrix}\1\\end{pmatrix}"),
        ("\\begin{pmatrix}", r"[\[(] ?(\\begin\{pmatrix\}(?:(?!\\end).)*\\end\{pmatrix\}) ?[\])]", r"\1"),
        ("{array}", r"\(? ?\\begin ?\{array\} ?\{[lcr| ]*\}(.*?)\\end ?\{array\} ?\)?",
         r"\\begin{pmatrix}\1\\end{pmatrix}"),
        ("{cases}", r"\\begin ?\{cases\}([^&]*?)\\end ?\{cases\}", lambda match: match[1].replace("\\\\", ",")),
        ("\\leq", r"\\leq(?:slant)?(?![a-zA-Z])", r"\\le "),
        ("\\geq", r"\\geq(?:slant)?(?![a-zA-Z])", r"\\ge "),
        ("\\n", r"\\neq(?![a-zA-Z])|\\not ?=", r"\\ne "),
        ("<=", r"<=", r"\\le "),
        (">=", r">=", r"\\ge "),
        (" != ", r" != ", r"\\ne "),
        ("\\lt", r"\\lt(?![a-zA-Z])", "<"),
        ("\\gt", r"\\gt(?![a-zA-Z])", ">"),
        (" x ", r"(?<=\d) x (?=10 ?\^)", r"\\times "),
        ("_", r"(?<=\d)_ ?\{? ?(?:\\text ?\{)? ?(two|three|four|five|six|seven|eight|nine|ten) ?\}{0,2}",
         lambda match: f"_{_BASES[match[1]]}"),
        ("_", r"_ ?\{ ?(\w) ?\}", r"_\1"),
        ("+", r"\+ ?(?=\\infty)", ""),
        ("infinity", r"(?<![a-zA-Z\\])infinity(?![a-zA-Z])|\\text ?\{ ?infinity ?\}", r"\\infty"),
        ("\\", r"\\\{ ?\\\}|\\varnothing(?![a-zA-Z])", r"\\emptyset"),
        # A remark, a rounded value alone, or after an exact one, and the variable that lies in a set.
        ("\\text", r"(?<=\S) ?\\text ?\{ ?\([a-z ]{5,40}\) ?\}$", ""),
        ("", r"^ ?(?:approximately|approx\.?|about|roughly|around) (?=\S)", ""),
        ("\\", r"^ ?\\(?:approx|simeq)(?![a-zA-Z]) ?", ""),
        ("\\", r"((?:^|,) ?\\?[a-zA-Z](?:_\w)? ?)\\(?:approx|simeq)(?![a-zA-Z]) ?", r"\1= "),
        ("\\simeq", r"\\simeq(?![a-zA-Z])", r"\\approx "),
        ("\\in", r"^ ?\\?[a-zA-Z] ?\\in(?![a-zA-Z])", ""),
        ("...", r"(?=.{0,60}$)(\d{1,9}?)\1{2,} ?\.\.\.$", r"\\overline{\1}"),
    )
]  # fmt: skip
_SYNONYMS = {
    "no solution": "\\emptyset", "no solutions": "\\emptyset", "no real solution": "\\emptyset",
    "no real solutions": "\\emptyset", "empty set": "\\emptyset", "the empty set": "\\emptyset",
    "all real numbers": "\\mathbb{R}", "all reals": "\\mathbb{R}", "\\R": "\\mathbb{R}",
}  # fmt: skip


def clean(text: str) -> str:
    """The text in one spelling; texts that are spelled differently may still be equal in value."""
    text = fold(unicodedata.normalize("NFC", text))
    text = _braced(_undoubled(latex_symbols(text)))
    if not _PLAIN.fullmatch(text):
        for needed, pattern, replacement in _REWRITES:
            if needed in text:
                text = pattern.sub(replacement, text)
    text = " ".join(text.split())
    text = _unwrapped(text).rstrip(".,;:\\ ").removeprefix("+").strip()
    return _SYNONYMS.get(text.lower(), text)


def _undoubled(text: str) -> str:
    """With one backslash before each command, where a stored text has two; rows of a matrix keep theirs."""
    if "\\\\" not in text:
        return text
    if re.search(r"(?<!\\)\\begin", text):
        return re.sub(r"(?<!\\)\\\\(?=[dtc]?frac|sqrt|text|pi(?![a-z]))", r"\\", text)
    if "\\begin" in text:
        return text.replace("\\\\", "\\")
    return re.sub(r"\\\\(?=[a-zA-Z{}%!$])", r"\\", text)


_GROUPED = re.compile(r"(?:\^|(?<![a-zA-Z])(?:sqrt|cbrt)(?: ?\[\d\])?) ?$")


def _braced(text: str) -> str:
    r"""The exponent of `x**(1/2)` and the radicand of `sqrt(2)` in braces, as LaTeX has them."""
    text = text.replace("**", "^")
    if "(" not in text:
        return text
    chars = list(text)
    stack: list[int] = []
    for place, char in enumerate(text):
        if char == "(":
            stack.append(place)
        elif char == ")" and stack:
            start = stack.pop()
            if _GROUPED.search(text, max(0, start - 12), start):
                chars[start], chars[place] = "{", "}"
    return "".join(chars)


def _unwrapped(text: str) -> str:
    r"""Without `\text{}` around one word or an amount, or braces around something that is not a list."""
    wrapped = _WRAPPED.fullmatch(text)
    text = _balanced(wrapped[1] if wrapped else text.replace("{}", ""))
    braced = re.fullmatch(_GROUP, text)
    return braced[1] if braced and not re.search(r"[,|:]|\\mid", braced[1]) else text


_WRAPPED = re.compile(r"\\text ?\{ ?([^{} ]*|[-+(]?\d[^{}]*|[nN]o [a-z ]*|[a-z ]*real[a-z ]*|[a-z ]*empty set) ?\}[.]?")


def _balanced(text: str) -> str:
    """With the braces closed that the end leaves open, and without those at the end that close nothing."""
    depth = len(_OPENED.findall(text)) - len(_CLOSED.findall(text))
    if depth == -1 and text.startswith("\\{"):
        return text[:-1] + "\\}"
    return text.removesuffix("}" * -depth) if depth < 0 else text + "}" * depth


_OPENED, _CLOSED = re.compile(r"(?<!\\)\{"), re.compile(r"(?<!\\)\}")


# Words of two letters that make prose; "ab" and "dx" are mathematics.
_SHORT_WORDS = frozenset({
    "is", "of", "to", "in", "we", "it", "or", "at", "by", "so", "if", "as", "an", "be", "do", "no", "on", "up", "us",
    "my", "he", "am", "are",
})  # fmt: skip
_NAMES = frozenset({
    "sin", "cos", "tan", "sec", "csc", "cot", "log", "exp", "max", "min", "gcd", "lcm", "mod", "sinh", "cosh", "tanh",
    "arcsin", "arccos", "arctan", "sqrt", "and",
})  # fmt: skip


def is_prose(text: str) -> bool:
    r"""Whether a clean text is words rather than a formula; what stands in `\text{}` does not count."""
    bare = re.sub(r"\\(?:text|begin|end) ?\{[^{}]*\}", " ", text)
    found = re.findall(r"(?<![\\A-Za-z^_{])[A-Za-z]{2,}(?![A-Za-z(^_}])", bare)
    words = [word.lower() for word in found if len(word) > 2 or word.lower() in _SHORT_WORDS]
    foreign = re.search(r"[^\W\d_\x00-\x7fα-ωΑ-Ω①-⓿]{2}", bare)
    return bool(foreign) or len([word for word in words if word not in _NAMES and not is_unit(word)]) >= 2
