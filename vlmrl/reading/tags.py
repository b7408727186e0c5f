r"""Tags: the text of an answer with coordinates in plain characters and brackets.

plain("<box>(1,2),(3,4)</box>")            -> '{"bbox": [(1,2),(3,4)]}'
plain('<point x="1" y="2" alt="a cup">')   -> "[[1, 2]]"
plain("| x | y |\\n|---|---|\\n| 1 | 2 |")     -> '{"x": 1, "y": 2}'
plain(r"1. **\left(1,\, 2\right)**")       -> "• (1,  2 )"
"""

from __future__ import annotations

import re

from vlmrl.reading.markup import fold
from vlmrl.reading.structures import NUMBER

_BRACKETS = str.maketrans("、【】", ",[]")
_EMPHASIS = re.compile(r"(?<=\S)\*{1,3}|\*{1,3}(?=\S)|`")
_TEX = re.compile(r"\\(?:left|right|quad|qquad|displaystyle|[,;:! ])(?![A-Za-z])|\\[()\[\]]|\\(?=[{}])|\$")
_TEX_TEXT = re.compile(r"\\(?:text|mathrm|mathbf|textbf|mathit|operatorname)\s?\{([^{}]{0,200})\}")
_TEX_TO = re.compile(r"\\(?:to|rightarrow)(?![A-Za-z])")
_MARKER = re.compile(r"^[ \t]*(?:\(?\d{1,3}[.)](?=\s|$)|[-•+*](?=\s))", re.MULTILINE)
_MOLMO = re.compile(r"<point(s?)\s([^<>]{0,20000})>(?:[^<>]{0,300}</points?>)?", re.IGNORECASE)
_ATTRIBUTE = re.compile(rf"\b[xy]\d{{0,4}}\s?=\s?[\"']?\s?({NUMBER})(\s?%)?")
_TAG = re.compile(r"<(?:\|)?(/?)(?:(bbox|box)|point|quad|polygon|poly)(?:_(start|end))?(?:\|)?>", re.IGNORECASE)


_TABLE = re.compile(
    r"^[ \t]*\|(?P<head>[^\n]+)\|[ \t]*\n[ \t]*\|(?:[ \t]*:?-+:?[ \t]*\|)+[ \t]*(?P<rows>(?:\n[ \t]*\|[^\n]*)+)",
    re.MULTILINE,
)
_COORDINATE = re.compile(
    r"[xy](?:_?(?:min|max|\d))?|left|top|right|bottom|width|height|(?:start|begin|end)(?:_?(?:time|second|frame)s?)?",
    re.IGNORECASE,
)


def plain(text: str) -> str:
    """The text in plain characters, without LaTeX and emphasis; coordinates in tags as lists and objects."""
    if not text.isascii():
        text = fold(text).translate(_BRACKETS)
    if "|" in text:
        text = _TABLE.sub(_objects, text)
    if "*" in text or "`" in text:
        text = _EMPHASIS.sub("", text)
    if "\\" in text or "$" in text:
        text = _TEX_TO.sub(" to ", _TEX_TEXT.sub(r"\1", _TEX.sub(" ", text))).replace("\\%", "%")
    if "<" in text:
        text = _TAG.sub(_bracket, _MOLMO.sub(_attributes, text))
    return _MARKER.sub("•", text).strip()


def _objects(table: re.Match[str]) -> str:
    """The rows of a Markdown table with columns of coordinates or times, as objects; another table as it stands."""
    names = [re.sub(r"\W+", "_", cell.partition("(")[0].strip(" *`")) for cell in table["head"].split("|")]
    if sum(bool(_COORDINATE.fullmatch(name)) for name in names) < 2:
        return table[0]
    rows = [
        [cell.strip(' \t*`"') for cell in row.strip().strip("|").split("|")] for row in table["rows"].split("\n")[1:]
    ]
    return "\n".join(f"{{{', '.join(map(_member, names, row))}}}" for row in rows)


def _member(name: str, cell: str) -> str:
    return f'"{name}": {cell}' if cell[:1].isdigit() else f'"{name}": "{cell}"'


def _attributes(tag: re.Match[str]) -> str:
    """`<points x1="1" y1="2" x2="3" y2="4">` as `[[1, 2], [3, 4]]`."""
    values = [number + percent for number, percent in _ATTRIBUTE.findall(tag[2])]
    pairs = zip(values[::2], values[1::2], strict=False)
    return f"[{', '.join(f'[{x}, {y}]' for x, y in pairs)}]" if values else " "


def _bracket(tag: re.Match[str]) -> str:
    closes = tag[1] or (tag[3] or "").lower() == "end"
    if tag[2]:
        return "]}" if closes else '{"bbox": ['
    return "]" if closes else "["
