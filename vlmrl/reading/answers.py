r"""What did the model answer: the outside of a response.

    extract("<think>2 + 1</think><answer>3</answer>")     -> Answer("3", marked=True)
    extract(r"so it is \boxed{\text{Blue}}.")             -> Answer("Blue", marked=True)
    extract("**Final Answer:** 3 dogs. Two are black.")   -> Answer("3 dogs. Two are black.", False, cued=True)

Every function is total and linear in the length of its text: no input makes it raise or stall.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from vlmrl.reading import assertion
from vlmrl.reading.markup import fold, peeled, unfenced

_THINK = re.compile(r"(?:<|◁)(/?)think(?:ing)?(?:>|▷)", re.IGNORECASE)
_ANSWER = re.compile(r"<(/?)answer>", re.IGNORECASE)
_BOX_TOKEN = re.compile(r"<\|(begin|end)_of_box\|>")
_BRACE = re.compile(r"\\(?:boxed|fbox)\s*\{|\\[{}]|[{}]")
_CLOSES = re.compile(r"^(?:\}|</answer>|<\|end_of_box\|>)", re.IGNORECASE)
_OPENS = re.compile(r"(?:\\(?:boxed|fbox)\s*\{|<answer>|<\|begin_of_box\|>)$", re.IGNORECASE)
_OR = re.compile(r"\bor\b", re.IGNORECASE)
_JOINED = re.compile(r"[\s$,;&/|]*(?:\\text\s*\{\s*)?(?:and|or)?[\s$}]*", re.IGNORECASE)
# What leads to an answer; a match ends where the answer begins, but for white space.
_CUE = re.compile(
    r"(?<![a-z])ans(?:wers?)?(?![a-z])(?:\s+(?:to|for)\s[^.:：\n]{1,60}?)?[\"'*_`\])】]{0,4}\s*"
    r"(?:[:：=][*_`]{0,3}|(?<=\s)(?:is|are|was|(?:w|sh)ould be|must be)\b[*_]{0,2}\s*(?:[:：][*_]{0,2})?)"
    r"|^[ \t#>*_]*(?:(?:my|the|final|correct)\s){0,2}answer[ \t*_:：]*\n"
    r"|^[ \t#>*_]*(?:(?:my|the|final|correct)\s){0,2}answer[*_]{0,2}\s[-–—]\s"
    r"|^[ \t#>*_]*(?:final\s)?result[*_]{0,2}\s*[:：][*_]{0,2}"
    r"|^####(?=[ \t][^\n]*+\s*+\Z)"
    r"|答案(?:[】\]]|应该?)?\s*(?:是|为|选|[:：=]|(?<=[】\]]))[*_]{0,2}[:：]?|结果(?:是|为|[:：])",
    re.IGNORECASE | re.MULTILINE,
)
_CUE_WORD = re.compile(r"ans|result|####|答案|结果", re.IGNORECASE)
# Before a cue: the answer that it leads to is denied, doubted, or one of several.
_UNASSERTED = re.compile(
    r"(?:\b(?:not|never|doubt|whether|if|unless|unsure|or|maybe|perhaps)\b|n['’]t\b)"
    r"(?:\W+(?:that|what|sure|true|certain|know|think|the|my|final|correct|right))*\W*$",
    re.IGNORECASE,
)


class Answer(NamedTuple):
    """What a response answers."""

    text: str
    marked: bool
    """Whether the response marked it (answer tags, box tokens, `\\boxed{}`), rather than being all of it."""
    cued: bool = False
    """Whether the text is all that follows the last "answer:", "the answer is", heading or the like."""


class Span(NamedTuple):
    """A piece of a text, with its place there."""

    text: str
    start: int
    end: int


def extract(response: str) -> Answer | None:
    """What a response answers, bare; None if its thinking never ended.

    It is the last marked span after the thinking (`marked`), or all of it; of that, what follows the last cue
    ("Answer:", "The answer is", a heading "Final answer"); of that, the last code fence; and of that, the inside of
    emphasis, ticks, quotes, formula delimiters or a font that encloses all of it. Of a JSON object it is the value of
    "answer", or the only value. What follows a cue is not cut: the text may go on to explain, or to take it back.
    """
    found = marked(response)
    return bare(found) if found else None


def marked(response: str) -> Answer | None:
    """The last marked span after the thinking as it stands, or all that follows the thinking; None if it never ended.

    Different boxes in a row, or with only "and" or "or" between them, are one span: `3 or 4`.
    """
    text = after_thinking(response)
    if text is None:
        return None
    mark = last_mark(text) if "<" in text or "\\" in text else None
    return Answer((mark.text if mark else text).strip(), mark is not None)


def last_mark(text: str) -> Span | None:
    """The last marked span, and its place: within the last answer tags, within those the last box tokens, then boxes.

    Different ones in a row, or with only "and" or "or" between them, are one: `3 or 4`.
    """
    mark = None
    for find in (tagged, box_tokens, boxes) if "<" in text else (boxes,):
        inside = mark.text if mark else text
        found = find(inside)
        if len(found) == 1:
            joined, run = found[0].text.strip(), found
        elif found:
            run = joined_boxes(inside, found, _JOINED.fullmatch, most=9)
            joint = " or " if any(_OR.search(inside[a.end : b.start]) for a, b in pairwise(run)) else ", "
            joined = joint.join(dict.fromkeys(span.text.strip() for span in run))
        else:
            continue
        mark = mark._replace(text=joined) if mark else Span(joined, run[0].start, run[-1].end)
        if "<" not in joined and "\\" not in joined:
            break
    return mark


def bare(answer: Answer) -> Answer:
    """The answer without what leads to it and encloses it: see `extract`."""
    text = peeled(answer.text)
    if text[:1] in "{`":
        value = _json_answer(unfenced(text).strip())
        if value is not None:
            return Answer(peeled(value), answer.marked, cued=True)
    rest = _after_cue(text)
    if rest is None:
        return Answer(peeled(unfenced(text)) if "```" in text else text, answer.marked)
    return Answer(peeled(unfenced(rest)), answer.marked, cued=True)


def _json_answer(text: str) -> str | None:
    """The value of "answer" in a JSON object, or the only text or number in it; None if there is none."""
    if not (text.startswith("{") and text.endswith("}")):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    for key, inner in value.items():
        if key.lower().replace(" ", "_") in ("answer", "final_answer"):
            return inner if isinstance(inner, str) else json.dumps(inner)
    only = next(iter(value.values())) if len(value) == 1 else None
    return str(only) if isinstance(only, (str, int, float)) and not isinstance(only, bool) else None


def _after_cue(text: str) -> str | None:
    """What follows the last cue that asserts something; None if there is none."""
    folded = fold(text)
    word = _CUE_WORD.search(folded)
    if not word:  # most answers, and far quicker than the pattern
        return None
    line = folded.rfind("\n", 0, word.start()) + 1
    for cue in reversed(list(_CUE.finditer(folded, line))[-9:]):
        rest = text[cue.end() :]
        asserts = not is_doubted(text, cue.start()) and assertion.is_asserted(text, cue.start())
        if asserts and rest.strip(" \t\n*_`\"'.}"):
            # The emphasis that the cue began goes on: "**Answer: C**".
            return rest.replace("**", "", 1) if rest.count("**") % 2 else rest
    return None


def is_doubted(text: str, place: int) -> bool:
    """Whether the words before a cue deny it, doubt it or make it one of several: "I doubt that", "maybe", "or"."""
    before = text[max(0, place - 60) : place]
    return bool(before) and _UNASSERTED.search(before) is not None


def after_thinking(response: str) -> str | None:
    """The text after the last `</think>`; where a `<think>` stays open, what stands between, None if nothing does."""
    start, open_at = response.rfind("</think>") + len("</think>"), -1
    start = start if start >= len("</think>") else 0
    if "<" not in response[start:] and "◁" not in response[start:]:  # most responses
        return response[start:]
    for match in _THINK.finditer(response, start):
        if match[1]:
            start, open_at = match.end(), -1
        elif open_at < 0:
            open_at = match.start()
    if open_at < 0:
        return response[start:]
    before = response[start:open_at]
    return before if before.strip() else None


def tagged(text: str) -> list[Span]:
    """The insides of all `<answer>...</answer>`, in order; an unclosed last one (a truncated response) to the end."""
    start, found = -1, []
    for match in _ANSWER.finditer(text):
        if not match[1]:
            start = match.end()
        elif start >= 0:
            found.append(Span(text[start : match.start()], start, match.start()))
            start = -1
    return found if start < 0 else [*found, Span(text[start:], start, len(text))]


def box_tokens(text: str) -> list[Span]:
    """The insides of all `<|begin_of_box|>...<|end_of_box|>` (GLM-4.1V), in order."""
    start, found = -1, []
    for match in _BOX_TOKEN.finditer(text):
        if match[1] == "begin":
            start = match.end()
        elif start >= 0:
            found.append(Span(text[start : match.start()], start, match.start()))
            start = -1
    return found


def last_tagged(text: str) -> Span | None:
    """The inside of the last `<answer>`."""
    return next(reversed(tagged(text)), None)


def last_box_token(text: str) -> Span | None:
    """The inside of the last `<|begin_of_box|>...<|end_of_box|>`."""
    return next(reversed(box_tokens(text)), None)


def boxes(text: str) -> list[Span]:
    r"""The insides of all outermost balanced `\boxed{}` and `\fbox{}`, in order."""
    if "\\boxed" not in text and "\\fbox" not in text:
        return []
    open_braces: list[tuple[bool, int, int]] = []
    found: list[Span] = []
    for match in _BRACE.finditer(text):
        token = match[0]
        if token in ("\\{", "\\}"):
            continue
        if token == "}":
            if not open_braces:
                continue
            is_box, at, inside = open_braces.pop()
            if is_box:
                while found and found[-1].start > at:
                    found.pop()
                found.append(Span(text[inside : match.start()], inside, match.start()))
        else:
            open_braces.append((token != "{", match.start(), match.end()))
    return found


def joined_boxes(text: str, found: Sequence[Span], joins: Callable[[str], object], most: int) -> list[Span]:
    """The last marked span and those before it that the text between joins to it, in order; at most `most`."""
    run = list(found[-1:])
    for box in reversed(found[-most:-1]):
        if not joins(_OPENS.sub("", _CLOSES.sub("", text[box.end : run[0].start]))):
            break
        run.insert(0, box)
    return run


def last_boxed(text: str) -> Span | None:
    r"""The inside of the last outermost balanced `\boxed{}`."""
    found = boxes(text)
    return found[-1] if found else None
