"""Location tokens: the grids of PaliGemma and Kosmos-2, written out as plain numbers.

spell_out("<loc0512><loc0000><loc0768><loc0256> cat", (1000, 1000))
-> "<ref>cat</ref>[0.0, 500.0, 250.0, 750.0]"
"""

from __future__ import annotations

import re

_LOC = re.compile(r"<loc(\d{4})><loc(\d{4})><loc(\d{4})><loc(\d{4})>\s{0,9}([^<;]{0,300})")
_PATCH = re.compile(r"<patch_index_(\d{4})><patch_index_(\d{4})>")
_PHRASE = re.compile(r"<(/?)phrase>")
_PATCHES = 32


def spell_out(text: str, extent: tuple[float, float] | None) -> str:
    """The text with the location tokens of PaliGemma (y first, of 1024) and Kosmos-2 (32 x 32 patches) as boxes.

    The tokens state their own grid, so the boxes are given in the coordinates of this extent. Without it, they stay.
    """
    if extent is None or not ("<loc" in text or "<patch_index" in text):
        return text
    width, height = extent

    def loc(found: re.Match[str]) -> str:
        y1, x1, y2, x2 = (int(token) / 1024 for token in found.groups()[:4])
        ref = f"<ref>{found[5].strip()}</ref>" if found[5].strip() else ""
        return f"{ref}[{x1 * width}, {y1 * height}, {x2 * width}, {y2 * height}]"

    def patches(found: re.Match[str]) -> str:
        (y1, x1), (y2, x2) = (divmod(int(token), _PATCHES) for token in found.groups())
        # The middles of the two corner patches; of patches in one row or column, the outer edges.
        inset = 0.5 if x1 != x2 and y1 != y2 else 0.0
        sides = (x1 + inset, width), (y1 + inset, height), (x2 + 1 - inset, width), (y2 + 1 - inset, height)
        return str([place / _PATCHES * side for place, side in sides])

    return _PATCH.sub(patches, _LOC.sub(loc, _PHRASE.sub(r"<\1ref>", text)))
