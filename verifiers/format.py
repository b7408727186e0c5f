"""Format: is the response laid out as asked? A part with a low weight beside the verifier of the answer.

Each tag stands exactly once, in order, with nothing but white space outside; newlines do not matter.

    think_answer           <think>...</think><answer>...</answer>                       (DeepSeek-R1)
    answer                 <answer>...</answer>
    observe_think_answer   <observe>...</observe><think>...</think><answer>...</answer>
    info_think_answer      <info>...</info><think>...</think><answer>...</answer>       (Visionary-R1)
    think_boxed            <think>...</think> and then text with one \\boxed{...}        (ViCrit)
    boxed                  any text with exactly one \\boxed{...}
    box_tokens             any text with exactly one <|begin_of_box|>...<|end_of_box|>  (GLM-4.1V)

The answer must hold something; the other sections may be empty. `wrap` puts an answer into a layout.

    vlmrl check format
"""

from __future__ import annotations

import re
from typing import Any

from vlmrl import answers
from vlmrl.verdict import Example, Verdict, bad_target

LAYOUTS: dict[str, tuple[str, ...]] = {
    "think_answer": ("think", "answer"),
    "answer": ("answer",),
    "observe_think_answer": ("observe", "think", "answer"),
    "info_think_answer": ("info", "think", "answer"),
    "think_boxed": ("think", "boxed"),
    "boxed": ("boxed",),
    "box_tokens": ("box_tokens",),
}

EXAMPLES = [
    Example("<think>1 + 1</think><answer>2</answer>", "think_answer", 1.0),
    Example(" <think>\n1 + 1\n</think>\n\n<answer>\n2\n</answer>\n", "think_answer", 1.0),
    Example("<answer>2</answer>", "think_answer", 0.0),
    Example("<think>a</think><answer>2</answer><answer>3</answer>", "think_answer", 0.0),
    Example("<think>a</think> so <answer>2</answer>", "think_answer", 0.0),
    Example("<think>a</think><answer> </answer>", "think_answer", 0.0),
    Example("<answer>2</answer><think>a</think>", "think_answer", 0.0),
    Example("<answer>2</answer>", "answer", 1.0),
    Example("<observe>a cat</observe><think>b</think><answer>2</answer>", "observe_think_answer", 1.0),
    Example("<info>a cat</info><think>b</think><answer>2</answer>", "info_think_answer", 1.0),
    Example(r"<think>a</think>So \boxed{2}.", "think_boxed", 1.0),
    Example(r"So \boxed{\frac{1}{2}}.", "boxed", 1.0),
    Example(r"\boxed{1} or \boxed{2}", "boxed", 0.0),
    Example("It is <|begin_of_box|>2<|end_of_box|>.", "box_tokens", 1.0),
    Example("2", "haiku", None),
]

_TAG = re.compile(r"<(/?)(think|answer|observe|info)>")
_BOX_TOKEN = re.compile(r"<\|(?:begin|end)_of_box\|>")


def verify(response: str, target: Any = "think_answer") -> Verdict:
    """1 if the response has the layout named `target`, else 0; each section has a part: it stands once."""
    try:
        check_target(target)
    except ValueError as error:
        return bad_target(str(error))
    sections = LAYOUTS[target]
    parts = {section: float(_stands_once(response, section)) for section in sections}
    tags = [section for section in sections if section not in ("boxed", "box_tokens")]
    body = _after_tags(response, tags) if tags else response
    right = all(parts.values()) and body is not None and _body_fits(body, sections[-1])
    return Verdict(float(right), parts=parts, why="" if right else f"not laid out as {target}")


def gold(target: Any = "think_answer", **_: Any) -> str:
    """A smallest response of the layout."""
    return wrap("...", target)


def check_target(target: Any = "think_answer", **_: Any) -> None:
    """ValueError unless the target names a layout."""
    if not isinstance(target, str) or target not in LAYOUTS:
        raise ValueError(f"target {str(target)[:60]!r} is no layout; use one of {', '.join(LAYOUTS)}")


def wrap(answer: str, target: str) -> str:
    """The answer in the layout, with the other sections empty: the gold of a composite reward."""
    *before, last = LAYOUTS[target]
    wrapped = {
        "boxed": f"\\boxed{{{answer}}}",
        "box_tokens": f"<|begin_of_box|>{answer}<|end_of_box|>",
    }.get(last, f"<{last}>{answer}</{last}>")
    return "".join(f"<{section}></{section}>" for section in before) + wrapped


def _stands_once(response: str, section: str) -> bool:
    if section == "boxed":
        return response.count("\\boxed") == 1 and len(answers.boxes(response)) == 1
    if section == "box_tokens":
        return _BOX_TOKEN.findall(response) == ["<|begin_of_box|>", "<|end_of_box|>"]
    return response.count(f"<{section}>") == 1 and response.count(f"</{section}>") == 1


def _after_tags(response: str, tags: list[str]) -> str | None:
    """What follows the last tag, if the tags stand in order with only white space between; else None."""
    found = list(_TAG.finditer(response))
    wanted = [pair for tag in tags for pair in (("", tag), ("/", tag))]
    if [(match[1], match[2]) for match in found[: len(wanted) + 1]] != wanted:
        return None
    end = 0
    for opening, closing in zip(found[::2], found[1::2], strict=True):
        if response[end : opening.start()].strip():
            return None
        end = closing.end()
    holds = response[found[-2].end() : found[-1].start()].strip()
    return response[end:] if holds or tags[-1] != "answer" else None


def _body_fits(body: str, last: str) -> bool:
    """Whether the text after the tags is a box of the asked kind that holds something, or else blank."""
    if last == "boxed":
        box = answers.last_boxed(body)
    elif last == "box_tokens":
        box = answers.last_box_token(body)
    else:
        return not body.strip()
    return box is not None and bool(box.text.strip())
