"""What a prompt says of the coordinates that it asks for.

asked_coords("Locate it. Coordinates run from (0,0) to (1000,1000).")      "relative_1000"
asked_coords("Rate it from 0 to 1000.")                                    None
"""

from __future__ import annotations

import re

_TO = r"\s*(?:-|–|~|to|and|到)\s*"
_RANGES = {
    "relative_1000": re.compile(
        rf"\b0{_TO}(?:1,?000|999)\b|[\[(]\s*0\s*,\s*(?:1,?000|999)\s*[\])]|\(\s*0\s*,\s*0\s*\){_TO}\(\s*1000\s*,\s*1000\s*\)"
        r"|\bper[- ]?mill?e\b|\bnormali[sz]ed (?:to|by) (?:a )?1,?000\b|千分",
        re.IGNORECASE,
    ),
    "relative_100": re.compile(
        rf"\b0{_TO}100\b|\(\s*0\s*,\s*0\s*\){_TO}\(\s*100\s*,\s*100\s*\)|\bper ?cent(?:age)?s?\b",
        re.IGNORECASE,
    ),
    "relative_1": re.compile(
        rf"\b0(?:\.0+)?{_TO}1(?:\.0+)?(?![\d,]|\.\d)|[\[(]\s*0(?:\.0)?\s*,\s*1(?:\.0)?\s*[\])]"
        rf"|\(\s*0\s*,\s*0\s*\){_TO}\(\s*1\s*,\s*1\s*\)",
        re.IGNORECASE,
    ),
}
_ABOUT = re.compile(
    r"coordinat|bounding|bbox|\bbox(?:es)?\b|\bpoints?\b|\bcorners?\b|normali[sz]ed|\bx_?1\b|\bx_?min\b"
    r"|relative to the (?:image|picture|width|size)|\(\s*0\s*,\s*0\s*\)|坐标|框",
    re.IGNORECASE,
)
_OF_OTHERS = re.compile(r"confidence|scores?\b|probabilit|\brat(?:e|ing)\b|pixel values|intensit|置信", re.IGNORECASE)
_PARTS = re.compile(
    r"(?<!\d)\.\s|[!?;\n。；]|\band (?=confidence|score)|,(?= (?:confidence|with a? ?score))", re.IGNORECASE
)


def asked_coords(prompt: str) -> str | None:
    """The coordinates that the prompt asks for, where it says so of coordinates; None if it does not."""
    for part in _PARTS.split(prompt):
        if _ABOUT.search(part) and not _OF_OTHERS.search(part):
            for coords, expression in _RANGES.items():
                if expression.search(part):
                    return coords
    return None
