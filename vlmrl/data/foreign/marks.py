r"""Marks of media in other toolkits' prompts: each medium gets one mark of a sample.

    media = placed(turns, media, row, False)         "<image 2> or <image 1>?" -> "<image> or <image>?", media in order

A mark that stands for no medium is an error, never text; `\<img>` is the text `<img>`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from vlmrl.data.foreign.prompts import NUMBERED, MediaLists, Turns
from vlmrl.data.foreign.row import Row
from vlmrl.errors import UserError
from vlmrl.sample import MARK, MARKS, Media

_UNKNOWN = (
    r"<\|?/?(?:start_of_|begin_of_|end_of_)?(?:image|img|video|vid|audio|picture|photo|vision)s?"
    r"(?:[\s_:/.-][^<>\n]{0,200}|(?:here|pad|start|end|context|token|content)[^<>\n]{0,20})?\|?>"
    r"|<(?:bbox|ref-object)>|!\[[^\]\n]{0,200}\]\([^)\n]{1,400}\)"
)
_KIND = r"(?:img|image|picture|video|audio)s?[ _-]?\d{0,2}"
_BESIDE_MEDIA = (
    rf"(?<![\w}}\]])(?:\[{_KIND}\]|\{{{_KIND}\}})|<(?:img|pic|picture|image|photo|video|frame)s?\d{{0,3}}>"
    r"|</?(?:im_start|im_end)>|&lt;\|?(?:image|img|video|audio)[\w ]{0,12}\|?&gt;"
)
_ALWAYS_MARKS = re.compile(rf"(\\?)({_UNKNOWN})", re.IGNORECASE)
_ALL_MARKS = re.compile(rf"(\\?)({_UNKNOWN}|{_BESIDE_MEDIA})", re.IGNORECASE)
"""The marks of other toolkits beside media; without any, some may be text."""
_PICTURE = r"(?:image|picture|photo|photograph|screenshot|video|clip|diagram|figure|chart)s?"
_SPEAKS = re.compile(
    rf"\b(?:in|from|of|at|see|to|on|using|given|consider|describe) (?:the|this|these|that|each)(?: \w+)? {_PICTURE}\b"
    r"(?!\s+of\b)"
    rf"|\b(?:does|do|did|is|are|was|were|can|has|have|what) (?:the|this|these) {_PICTURE}\b(?! of\b)"
    rf"|\bthe (?:attached|following|given|above|below|provided|accompanying) (?:{_PICTURE}|graphs?|tables?|maps?)\b"
    rf"|\b(?:the|this) {_PICTURE} (?:above|below|shows?|depicts|about)\b"
    r"|\b(?:image|picture|photo|video) \d\b|\bas (?:shown|pictured|depicted|illustrated)\b(?! by\b)"
    r"|\b(?:shown|pictured|depicted) (?:above|below|here)\b"
    r"|(?:图片?|视频|图像|照片)(?:中|里)|如图|看图|下图|上图|(?:这张|这幅|该)(?:图|照片)",
    re.IGNORECASE,
)
_WRITTEN = re.compile(r"\|[^\n]*\||\\begin\{(?:tabular|array)|\\begin\{tikz|\[asy\]|<table|\t")
"""A table or a drawing that the prompt writes as text."""


def placed(turns: Turns, media: MediaLists, row: Row, text_only: bool) -> MediaLists:
    """Gives every medium one mark in the turns, which are changed; returns the media in the order of the marks.

    Numbered marks are placed where they are first mentioned. A kind without marks is put before the first turn of the
    user. `UserError` for marks without a medium, and for a prompt that speaks of media that it does not get.
    """
    prompt = turns[:-1] if turns[-1]["role"] == "assistant" else turns
    front = ""
    ordered: MediaLists = {}
    for kind, mark in MARKS.items():
        items = media.get(kind, [])
        marks = sum(MARK.findall(turn["content"]).count(mark) for turn in prompt)
        order = _number(prompt, kind, items, row, marks)
        unplaced = [n for n in range(len(items)) if n not in order] if marks == 0 else []
        front += mark * len(unplaced)
        if items:
            ordered[kind] = [items[n] for n in (*unplaced, *order)] if marks == 0 else items
        elif marks:
            raise UserError(
                f"{row.where}: prompt: {mark} without {kind} in the row; name their column with --map {kind}=COLUMN, "
                rf"or write \{mark} where it is text"
            )
    unknown = _ALL_MARKS if ordered else _ALWAYS_MARKS
    for turn in prompt:
        turn["content"] = unknown.sub(lambda match: _known(match, row), turn["content"])
    for turn in prompt:
        if turn["role"] == "user":
            turn["content"] = f"{front}{turn['content']}"
            break
    _check_mentions(prompt, ordered, row, text_only)
    return ordered


def _number(prompt: Turns, kind: str, items: list[Media], row: Row, marks: int) -> list[int]:
    """Replaces the numbered marks of a kind; returns the indices of the media in the order of their first mention."""
    one = kind.removesuffix("s")
    numbers = row.numbers.get(kind, [])
    mentioned = {int(m[2]) for turn in prompt for m in NUMBERED.finditer(turn["content"]) if m[1].lower() == one}
    if 0 in mentioned and 0 not in numbers:
        numbers = [number - 1 for number in numbers]
    if mentioned - set(numbers):
        unknown = min(mentioned - set(numbers))
        held = f"{kind} {str(numbers)[1:-1]:.60}" if numbers else f"no {kind}"
        raise UserError(
            f"{row.where}: prompt: unknown mark <{one} {unknown}>, the row has {held}; name their columns with "
            f"--map {kind}=A,B, or write \\<{one} {unknown}> where it is text"
        )
    order: list[int] = []

    def replaced(match: re.Match[str]) -> str:
        if match[1].lower() != one:
            return match[0]
        index = numbers.index(int(match[2]))
        if marks or index in order:
            return f"{one} {match[2]}"
        # A medium that is not mentioned follows the one before it.
        more = range(index, next((n for n in range(index + 1, len(items)) if numbers[n] in mentioned), len(items)))
        order.extend(more)
        return MARKS[kind] * len(more)

    for turn in prompt:
        turn["content"] = NUMBERED.sub(replaced, turn["content"])
    return order


def without_numbers(text: str) -> str:
    """The text with numbered marks as words: `<image 2>` becomes `image 2`."""
    return NUMBERED.sub(lambda match: f"{match[1].lower()} {match[2]}", text)


def _known(match: re.Match[str], row: Row) -> str:
    escaped, mark = match[1], match[2]
    if mark in MARKS.values():
        return match[0]
    if escaped:
        return mark
    raise UserError(
        f"{row.where}: prompt: unknown mark {mark!r:.60}; say what it stands for, as in "
        rf"--replace '{mark[:60]}=<image>', or write \{mark[:60]} where it is text"
    )


def _check_mentions(prompt: Turns, media: Mapping[str, list[Media]], row: Row, text_only: bool) -> None:
    """`UserError` for a prompt without media that speaks of a picture or a video."""
    if text_only or any(media.values()):
        return
    for turn in prompt:
        if (match := _SPEAKS.search(turn["content"])) and not _WRITTEN.search(turn["content"]):
            raise UserError(
                f"{row.where}: prompt: speaks of {match[0]!r} but the row has no media; name their column with "
                "--map images=COLUMN, or say --text-only if the rows are complete"
            )
