"""Hostile text: strings that have broken parsers, made from a seed, to be judged by any verifier.

    for text in strings(100_000, seed=0, seeds=["<answer>3</answer>"]): ...

Grammars of what policies and adversaries write: tags in any order, boxes, JSON and LaTeX nested too deep, towers of
powers and radicals, endless digits, alternatives, times, every kind of Unicode, and mutations of right answers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from random import Random

TOKENS = (
    "<think>", "</think>", "<answer>", "</answer>", "<info>", "</info>", "<observe>", "<glue>", "</glue>", "<ANSWER>",
    "<|begin_of_box|>", "<|end_of_box|>", "\\boxed{", "\\fbox{", "}", "{", "[", "]", "(", ")", "```", "```json\n", "$",
    "$$", "\\frac{", "\\sqrt{", "\\sqrt[3]{", "\\binom{", "\\text{", "\\left(", "\\right)", "\\begin{bmatrix}", "\\\\",
    "&", "\\end{bmatrix}", "\\cup", "\\infty", "\\pi", "\\int", "\\sum_{k=1}^{", "\\pm", "^", "^{", "_", "!", "\\%",
    "\\,", "0", "1", "7", "10", "3.5", "-2", "1e999", "1e-999", "0x1F", "NaN", "Infinity", "-inf", "1,000", "½", "²",
    "①", "Ⅳ", "one", "twenty", "hundred", "million", "A", "B", "(C)", "D.", "A.", "yes", "no", "none", "true", "not",
    "n't", "or", "and", "between", "at least", "about", "answer:", "Answer is", "the answer is", "答案：", "option",
    "because", "是", "或", "00:10", "1:02:03.5", "10s", "5 seconds", "to", "from", "-", "–", "%", "°", "cm", "$5", "€",
    "<", ">", "≤", "~", "=", '{"bbox_2d": [', '"label": "', "'", '"', ",", ", ", ":", ";", "|", "/", "\\", ".", "...",
    "?", "*", "**", "#", "`", "\n", "\n\n", "\t", "\r", "\x00", "\x1b[31m", "\u2028", "\u200b", "\u200d", "\u202e",
    "\ufeff", "\u0301", "\ud800", "\udfff", "А", "В", "Ａ", "３", "٣", "३", "三", "🙂",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467", "ﷺ", "ß", "İ", "\U0010ffff", "[[", "]]", "[]", "{}", "null",
    '"point_2d": [', '"start_time": ', '"choice": "', "<quad>", "<box>", "x=", "polygon", "(1,2),(3,4)",
    "[1, 2, 3, 4]",
)  # fmt: skip
_PAIRS = (
    ('(', ')'), ('[', ']'), ('{', '}'), ('{"a":', '}'), ('[[1,', ']]'), ('\\boxed{', '}'), ('\\sqrt{', '}'),
    ('9^{', '}'), ('\\frac{1}{', '}'), ('x^{', '}'), ('\\left(', '\\right)'), ('<think>', '</think>'),
    ('<answer>', '</answer>'), ('\\sin(', ')'), ('-(', ')'), ('\\text{', '}'), ('\\binom{9}{', '}'), ("'", "'"),
    ('"', '"'), ('$', '$'), ('not ', ''), ('\\log_{2}{', '}'), ('(', ')!'), ('|', '|'), ('{"answer": ', '}'),
    ('one hundred and ', ''), ('e^{e^', '}'),
)  # fmt: skip
_WRAPS = ("{}", "<answer>{}</answer>", "\\boxed{{{}}}", "<think>x</think>{}", "${}$", "```json\n{}\n```", "Answer: {}")
_DEEP = (3, 12, 60, 400, 3000)
_LONG = (10, 100, 1000, 10_000)


def strings(count: int, seed: int, seeds: Sequence[str] = ()) -> Iterator[str]:
    """`count` strings, most under 300 characters and some of tens of thousands; mutations of `seeds` among them."""
    random = Random(seed)
    for _ in range(count):
        inner = random.choice(_KINDS)(random, seeds)
        yield random.choice(_WRAPS).format(inner) if random.random() < 0.6 else inner


def _soup(random: Random, _: Sequence[str]) -> str:
    tokens = random.choices(TOKENS, k=random.randint(1, 40))
    return random.choice(("", " ")).join(tokens)


def _nested(random: Random, _: Sequence[str]) -> str:
    pairs = random.choices(_PAIRS, k=random.randint(1, 3))
    # Deep ones are rare: a string of a thousand levels costs as much as fifty others.
    depth = random.choices(_DEEP, weights=(30, 20, 10, 3, 1))[0] // len(pairs) + 1
    core = random.choice(TOKENS)
    opened, closed = "".join(a for a, _ in pairs), "".join(b for _, b in reversed(pairs))
    return opened * depth + core + closed * (depth if random.random() < 0.7 else random.randrange(depth))


def _repeated(random: Random, _: Sequence[str]) -> str:
    unit = "".join(random.choices(TOKENS, k=random.randint(1, 4)))
    return unit * random.choices(_LONG, weights=(60, 30, 5, 1))[0]


def _digits(random: Random, _: Sequence[str]) -> str:
    length = random.choices(_LONG, weights=(60, 30, 8, 1))[0]
    digits = "".join(random.choices("0123456789", k=min(length, 100))) * (length // 100 + 1)
    return random.choice(
        ("{0}", "-{0}", "0.{0}", "{0}.{0}", "1e{0}", "{0}/{0}", "{0}^{0}", "{0}%", "[{0}, {0}]")
    ).format(digits[:length])


def _unicode(random: Random, _: Sequence[str]) -> str:
    tops = random.choices((0x80, 0x800, 0x3000, 0xFFFF, 0x10FFFF), k=random.randint(1, 60))
    return "".join(chr(random.randint(0, top)) for top in tops)


def _json(random: Random, _: Sequence[str]) -> str:
    return json.dumps(_value(random, random.randint(1, 4)), ensure_ascii=random.random() < 0.5)


def _value(random: Random, depth: int) -> object:
    if depth == 0:
        leaves = (None, True, 0, -1, 1e308, 10**30, float("nan"), float("inf"), "", "A", "12", "car", "00:10", "\ud800")
        return random.choice((*leaves, random.randint(0, 1000), random.random()))
    if random.random() < 0.5:
        return [_value(random, depth - 1) for _ in range(random.choice((0, 1, 2, 4, 4, 5, 8)))]
    keys = (
        "bbox_2d",
        "bbox",
        "label",
        "point_2d",
        "polygon",
        "start_time",
        "end_time",
        "choice",
        "answer",
        "x",
        "y",
        "0",
    )
    return {random.choice(keys): _value(random, depth - 1) for _ in range(random.randint(0, 4))}


def _mutated(random: Random, seeds: Sequence[str]) -> str:
    text = list(random.choice(seeds) if seeds else "<think>a</think><answer>[1, 2, 3, 4]</answer>")[:2000]
    for _ in range(random.randint(1, 6)):
        at = random.randrange(len(text) + 1)
        edit = random.randrange(4)
        if edit == 0:
            text[at : at + random.randint(1, 8)] = []
        elif edit == 1:
            text[at:at] = random.choice(TOKENS)
        elif edit == 2:
            text[at : at + 1] = text[at : at + random.randint(1, 30)] * random.randint(2, 5)
        else:
            text[at : at + 1] = chr(
                random.choice((0x30, 0x41, 0x2D, 0x200B, 0xFF11, 0xD800, 0x202E)) + random.randrange(3)
            )
    return "".join(text)


_KINDS: tuple[Callable[[Random, Sequence[str]], str], ...] = (
    *(_soup, _soup, _soup, _nested, _nested, _repeated, _digits, _unicode, _json, _json, _mutated, _mutated, _mutated),
)
