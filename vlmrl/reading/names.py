"""Names: of coordinates (`x1`, `left`, `width`), of the keys of objects, and the labels in front of places in prose.

coordinates([("left", 10), ("top", 20), ("width", 30), ("height", 40)])  -> [10.0, 20.0, 40.0, 60.0]
coordinates([("x", 140), ("y", 50)])                                     -> [140.0, 50.0]
label_before("- car: ")                                                  -> "car"
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from vlmrl.reading.structures import NUMBER, Extent, is_pair, number

# A range ("x from 1 to 3") names both ends.
NAMED = (
    r"\b(?P<name>[xy](?:[ _-]?(?:min|max|\d{1,3}))?|left|top|right|bottom|width|height)"
    r"(?:[ -]?(?:coordinate|value|position))?[\"']?\s?(?:[=:≈~]|\bis\b|\bfrom\b|\bbetween\b)"
    r"\s?(?:(?:about|around|approximately)\s)?[\"']?"
    rf"(?P<named>{NUMBER})(?P<percent>\s?%)?(?:\s?px\b)?[\"']?(?:\s?(?:to|and|-)\s?(?P<until>{NUMBER})(?!\s?%))?"
)
_CORNERS = (
    ("x1", "y1", "x2", "y2"),
    ("xmin", "ymin", "xmax", "ymax"),
    ("left", "top", "right", "bottom"),
    ("x0", "y0", "x1", "y1"),
)
_SIZED = tuple((x, y, w, h) for x, y in (("x", "y"), ("left", "top")) for w, h in (("width", "height"), ("w", "h")))
_AXIS = re.compile(r"[xy]\d{0,4}")
_BREAK = re.compile(r"[.!?]\s|\n\s*\n|\bor\b", re.IGNORECASE)
_NEAR = 40


class Run:
    """Coordinates by name that stand together in a text."""

    def __init__(self) -> None:
        self.pairs: list[tuple[str, Any]] = []
        self.start = self.end = 0

    def __bool__(self) -> bool:
        return bool(self.pairs)

    def add(self, match: re.Match[str], extent: Extent | None) -> None:
        """The match of `NAMED`; what it says in per cent is a share of the largest x or y."""
        self.start = self.start if self.pairs else match.start()
        self.end = match.end()
        value = float(match["named"])
        if match["percent"]:
            value = value * extent[match["name"][0] in "yYtTbBhH"] / 100 if extent else None
        self.pairs.append((match["name"], value))
        if match["until"]:
            self.pairs.append((match["name"], float(match["until"])))

    def ends(self, gap: str) -> bool:
        """Whether the text up to the next name begins something else."""
        return len(gap) > _NEAR or bool(_BREAK.search(gap))


def coordinates(pairs: Sequence[tuple[str, Any]]) -> list[Any] | None:
    """Named numbers as a list: a box [x1, y1, x2, y2], a point [x, y], or [[x, y], ...]; None if they are neither.

    Width and height count only where they are called so. `x, x, y, y` are the sides of a box.
    """
    named = [(re.sub(r"[ _-]", "", name.lower()), value) for name, value in pairs]
    corners = dict(named)
    if is_pair(corners.get("topleft")) and is_pair(corners.get("bottomright")):
        return [*corners["topleft"], *corners["bottomright"]]
    known = [(name, value) for name, raw in named if (value := number(raw)) is not None]
    values = dict(known)
    axes = [(name, value) for name, value in known if _AXIS.fullmatch(name)]
    if len(values) == len(known) and len(axes) <= 4:
        for names in _CORNERS:
            if all(name in values for name in names):
                return [values[name] for name in names]
        for x, y, width, height in _SIZED:
            if {x, y, width, height} <= values.keys():
                return [values[x], values[y], values[x] + values[width], values[y] + values[height]]
    order = "".join(name[0] for name, _ in axes)
    if order == "xxyy":
        (_, x1), (_, x2), (_, y1), (_, y2) = axes
        return [x1, y1, x2, y2]
    if order == "xy":
        return [axes[0][1], axes[1][1]]
    if order and order == "xy" * (len(order) // 2):
        return [[axes[n][1], axes[n + 1][1]] for n in range(0, len(axes), 2)]
    return None


# --- objects ------------------------------------------------------------------------------------------------

_LABEL_KEYS = ("label", "category", "class", "class_name", "category_name", "name", "object", "object_name")


def key_of(item: dict[str, Any], keys: Sequence[str]) -> str | None:
    """The object's own spelling, in any case, of the first of the keys that it has with a value."""
    if item.get(keys[0]) is not None:
        return keys[0]
    own = [name for name, value in item.items() if value is not None and str(name).lower() in keys]
    return min(own, key=lambda name: keys.index(str(name).lower())) if len(own) > 1 else own[0] if own else None


def keyed(item: dict[str, Any], keys: Sequence[str]) -> Any:
    """The value under the first of the keys that the object has, or None."""
    key = key_of(item, keys)
    return None if key is None else item[key]


def label_of(item: dict[str, Any]) -> str | None:
    """What an object of an answer or a target says it shows."""
    return said_label(keyed(item, _LABEL_KEYS))


def is_label(name: str) -> bool:
    """Whether an object says under this name what it shows."""
    return name.lower() in _LABEL_KEYS


def said_label(value: Any) -> str | None:
    """The label, if it is a text that says something."""
    return value if isinstance(value, str) and value.strip() else None


# --- labels -------------------------------------------------------------------------------------------------

_NOUN = (
    r"(?:b?box(?:es)?|points?|coords?|coordinates?|objects?|detections?|results?|answers?|outputs?|locations?|positions?|"
    r"regions?|annotations?|predictions?|polygons?|arguments?|parameters?|params|data|items?|clicks?|actions?|targets?|"
    r"segmentations?|corners?|cent(?:er|re)|vertices|contours?|quads?|list|area|places?|note|image|size|buttons?|icons?|elements?)"
)
_GENERIC = re.compile(
    rf"(?:(?:bounding|start|end|final|detected|all|predicted|click|the|my|{_NOUN})[ _-]?){{0,3}}{_NOUN}?"
    r"(?:[ _-]?(?:2d|xyxy))?"
    r"|(?:the )?(?:top|bottom|upper|lower)[ -](?:left|right)(?: corner)?",
    re.IGNORECASE,
)
_ARTICLE = r"(?:an?\s|the\s)?[\"']?"
_LABEL = re.compile(
    rf"(?:^|[\n,;|.!])[\s•]{{0,9}}(?:and\s)?{_ARTICLE}(?P<label>[^\W\d](?:[\w'/-]|[ ](?! )){{0,60}}?)[\"']?"
    r"\s?(?:[:=|]|->|-)\s{0,3}[\"']?$"
    rf"|•\s{{0,3}}{_ARTICLE}(?P<item>[^\W\d](?:[\w'/-]|[ ](?! )){{0,40}}?)[\"']?\s{{0,3}}$",
    re.IGNORECASE,
)
_NO_LABEL = re.compile(
    r"\b(?:is|are|at|of|in|for|to|be|click|tap|i|it|answer|location|coordinates?|position|locate[ds]?|bounding|here"
    r"|so|thus|therefore|hence|then|found|solution|json|roi|conclusion|summary|step|format|given|following|response)\b"
    r"|坐标|框|位置|答案|结果|目标|区域|点击",
    re.I,
)


_SEPARATORS = frozenset(":=|>-")


def is_generic(name: str) -> bool:
    """Whether a name in an object or in front of a place says nothing of what is there: `boxes`, `top-left`."""
    return bool(_GENERIC.fullmatch(name))


def label_before(text: str) -> str | None:
    """The label at the end of a text that leads to a place: `car: `, `| car | `, or the item of a list."""
    if "•" not in text and text.rstrip(" \"'")[-1:] not in _SEPARATORS:
        return None
    found = _LABEL.search(text)
    label = re.sub(r"\s?#?\d{1,4}\s*$", "", found["label"] or found["item"]) if found else None
    if not label or is_generic(label) or len(label.split()) > 5 or _NO_LABEL.search(label):
        return None
    return label.strip()
