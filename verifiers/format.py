"""Format: is the response laid out as asked? A part with a low weight beside the verifier of the answer.

Each tag stands exactly once, in order, with nothing but white space outside; newlines do not matter.

    think_answer              <think>...</think><answer>...</answer>                         DeepSeek-R1
    answer                    <answer>...</answer>
    observe_think_answer      <observe>...</observe><think>...</think><answer>...</answer>   Observe-R1
    info_think_answer         <info>...</info><think>...</think><answer>...</answer>         Visionary-R1
    think_answer_boxed        think_answer, with one \\boxed{...} in the answer              VL-Cogito
    think_answer_box_tokens   think_answer, with one pair of box tokens in the answer        GLM-4.1V
    think_boxed               <think>...</think>, then text with one \\boxed{...}            ViCrit
    think_box_tokens          <think>...</think>, then text with one pair of box tokens      GLM-4.5V
    boxed                     any text with exactly one \\boxed{...}
    box_tokens                any text with exactly one <|begin_of_box|>...<|end_of_box|>

The answer must hold something; the other sections may be empty. An empty thought is a skipped one (TON, arXiv
2505.16854): the part `skipped_thought` is 1, and its mean the share of the responses that skip theirs. The observation
may also stand inside the thinking. `wrap` puts an answer into a layout.

    vlmrl check format
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from vlmrl.reading import answers
from vlmrl.verdict import Example, Verdict, bad_target

LAYOUTS: dict[str, tuple[str, ...]] = {
    "think_answer": ("think", "answer"),
    "answer": ("answer",),
    "observe_think_answer": ("observe", "think", "answer"),
    "info_think_answer": ("info", "think", "answer"),
    "think_answer_boxed": ("think", "answer", "boxed"),
    "think_answer_box_tokens": ("think", "answer", "box_tokens"),
    "think_boxed": ("think", "boxed"),
    "think_box_tokens": ("think", "box_tokens"),
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
    Example("<think><observe>a cat</observe>b</think><answer>2</answer>", "observe_think_answer", 1.0),
    Example("<info>a cat</info><think>b</think><answer>2</answer>", "info_think_answer", 1.0),
    Example(r"<think>a</think><answer>So \boxed{2}.</answer>", "think_answer_boxed", 1.0),
    Example(r"<think>\boxed{2}</think><answer>2</answer>", "think_answer_boxed", 0.0),
    Example(r"<think>a</think>So \boxed{2}.", "think_boxed", 1.0),
    Example(r"So \boxed{\frac{1}{2}}.", "boxed", 1.0),
    Example(r"\boxed{1} or \boxed{2}", "boxed", 0.0),
    Example("It is <|begin_of_box|>2<|end_of_box|>.", "box_tokens", 1.0),
    Example("2", "haiku", None),
]

_TAG = re.compile(r"<(/?)(think|answer|observe|info)>")
_SKIPPED = re.compile(r"<think>\s*</think>")
_BOXES = ("boxed", "box_tokens")
_BOX_TOKEN = re.compile(r"<\|(?:begin|end)_of_box\|>")


def verify(response: str, target: Any = "think_answer") -> Verdict:
    """1 if the response has the layout named `target`, else 0; each section has a part: it stands once."""
    try:
        check_target(target)
    except ValueError as error:
        return bad_target(str(error))
    sections = LAYOUTS[target]
    parts = {section: float(_stands_once(response, section)) for section in sections}
    right = all(parts.values()) and _in_order(response, sections)
    if "think" in sections:
        parts["skipped_thought"] = float(parts["think"] == 1 and _SKIPPED.search(response) is not None)
    return Verdict(float(right), parts=parts, why="" if right else f"not laid out as {target}")


def gold(target: Any = "think_answer", **_: Any) -> str:
    """A smallest response of the layout."""
    return wrap("...", target)


def check_target(target: Any = "think_answer", **_: Any) -> None:
    """ValueError unless the target names a layout."""
    if not isinstance(target, str) or target not in LAYOUTS:
        raise ValueError(f"target {str(target)[:60]!r} is not a layout; use one of {', '.join(LAYOUTS)}")


def wrap(answer: str, target: str) -> str:
    """The answer in the layout, with the other sections empty: the gold of a composite reward."""
    for section in reversed(LAYOUTS[target]):
        if section == "boxed":
            answer = f"\\boxed{{{answer}}}"
        elif section == "box_tokens":
            answer = f"<|begin_of_box|>{answer}<|end_of_box|>"
        elif section == "answer":
            answer = f"<answer>{answer}</answer>"
        else:
            answer = f"<{section}></{section}>{answer}"
    return answer


def _stands_once(response: str, section: str) -> bool:
    if section == "boxed":
        return response.count("\\boxed") == 1 and len(answers.boxes(response)) == 1
    if section == "box_tokens":
        return _BOX_TOKEN.findall(response) == ["<|begin_of_box|>", "<|end_of_box|>"]
    return response.count(f"<{section}>") == 1 and response.count(f"</{section}>") == 1


def _in_order(response: str, sections: tuple[str, ...]) -> bool:
    """Whether the tags stand in order, nothing stands outside, and the answer or box holds something."""
    tags = [section for section in sections if section not in _BOXES]
    inner, rest = "", response
    if tags:
        marks = list(_TAG.finditer(response))
        if [match[1] + match[2] for match in marks] not in _orders(tags) or _between(response, marks).strip():
            return False
        inner, rest = response[marks[-2].end() : marks[-1].start()], response[marks[-1].end() :]
    if "answer" not in tags:
        return _holds(rest, sections[-1])
    return not rest.strip() and _holds(inner, sections[-1])


def _orders(tags: list[str]) -> list[list[str]]:
    order = [side + tag for tag in tags for side in ("", "/")]
    if tags[0] != "observe":
        return [order]
    return [order, ["think", "observe", "/observe", "/think", *order[4:]]]


def _between(response: str, marks: list[re.Match[str]]) -> str:
    """The text before the last tag that is in no section."""
    outside, depth, end = "", 0, 0
    for tag in marks:
        if depth == 0:
            outside += response[end : tag.start()]
        depth += -1 if tag[1] else 1
        end = tag.end()
    return outside


def _holds(text: str, last: str) -> bool:
    """Whether the text holds a box of the asked kind that is not empty, or, where none is asked, anything."""
    if last in _BOXES:
        box = answers.last_boxed(text) if last == "boxed" else answers.last_box_token(text)
        return box is not None and _is_visible(box.text)
    return _is_visible(text)


def _is_visible(text: str) -> bool:
    """Whether there is anything to see: not only spaces, marks without width, and control characters."""
    return any(map(str.isalnum, text)) or any(unicodedata.category(char)[0] not in "CMZ" for char in text)
