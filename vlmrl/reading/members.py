"""Members of a group: their lengths, and which of them are correct. For group-level verifiers.

length(Member("one, two"))                                  -> 3
correct([Member("a", score=0.9), Member("b", score=0.1)])   -> [True, False]
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from vlmrl.verdict import Member

_WORD = re.compile(r"\w+|[^\w\s]")


def length(member: Member) -> int:
    """Tokens of the policy; where nobody counted them, words and punctuation marks."""
    return len(_WORD.findall(member.response)) if member.tokens is None else member.tokens


def correct(members: Sequence[Member], above: float = 0.5) -> list[bool | None]:
    """Whether the other verifiers give a response more than `above`; None where they could not judge it.

    Where they judged none of the members, there are no other verifiers, and each member counts as correct.
    """
    if all(member.score is None for member in members):
        return [True] * len(members)
    return [None if member.score is None else member.score > above for member in members]
