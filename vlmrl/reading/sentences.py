r"""Sentences: the number or formula that a text in words answers.

    in_words("The area equals 9π - 18.")                            -> "9π - 18"
    in_words("There are 12 sequences that meet the three rules.")   -> "12"
    in_words("It is not 5.")                                        -> None
    in_words("12, since 3 of 4 rows are full.", cued=True)          -> "12"

It is the last formula of the last sentence that has one. The only one in bold comes before the others, and digits come
before number words. After a cue ("The answer is") it is what the text begins with. Texts are a few thousand characters
at most; `vlmrl.verifiers.math` sees to that.
"""

from __future__ import annotations

import re
from itertools import pairwise

from vlmrl.reading.answers import Span
from vlmrl.reading.assertion import asserted
from vlmrl.reading.denials import is_denied, is_rejected, may_deny
from vlmrl.reading.formulas import DELIMITED, formulas, in_digits, with_parts
from vlmrl.reading.markup import peeled
from vlmrl.reading.quantities import follows_number

MAX_JOINED = 20
"""Formulas that "and" joins to one list."""

_SENTENCE_END = re.compile(r"\n|(?<!\d)\.\s+|(?<=\d)\.\s+(?=[A-Z*\\$])|。")
_BOLD = re.compile(r"(?<![\w)}\]])\*\*(?=\S)([^*\n]+)\*\*|(?<!\w)__(?=\S)([^_\n]+)__")
# A word, or several that are not the name of something.
WORDS = re.compile(
    r"(?<![\\A-Za-z{])(?!(?:sin|cos|tan|cot|log|ln|exp|sqrt|mod|max|min|lim|gcd|lcm|and|or)(?![a-z]))[A-Za-z]*[a-z]{2,}(?![A-Za-z}(])"
)
_ADVERB = re.compile(
    r"(?:(?:approximately|about|roughly|exactly|equals?|to|simply|just|probably|definitely|clearly|indeed)\b[\s*_]*)+",
    re.IGNORECASE,
)
_LEADING = re.compile(rf"[\s*_`\"'=:({{]*(?:{_ADVERB.pattern})?", re.IGNORECASE)
# Words that explain an answer and are not part of it: after a cue, and in any sentence.
_REASON = re.compile(
    r"[,;]?\s*\(not\b.*|[,;]?\s+(?:since|because|as|not|where|though|although|but|while|however)\s.*",
    re.IGNORECASE | re.DOTALL,
)
_CIRCUMSTANCE = re.compile(
    r"[,;]?\s+(?:since|because|when|where|(?:at|for|in) which"
    r"|which (?:occurs|happens|is (?:achieved|attained|reached)))\s(?!.*\b(?:else|otherwise|or|if)\b).*"
    r"|\s*[,;(]\s*(?:and )?not\s.*",
    re.IGNORECASE | re.DOTALL,
)
_JOINT = re.compile(r"[\s*]*,?\s*(and|or|,)[\s*]*", re.IGNORECASE)
# Words that leave the expression after them open, deny it, or calculate with it.
_OPEN = re.compile(
    r"(?:\b(?:or|not|either|neither|nor|none of|at (?:least|most)|(?:more|less|fewer|greater|larger|smaller) than|up to"
    r"|else|between|from\s+\S{1,20}\s+to|any (?:of|number)(?:\s+\S{1,20},)*|(?:could|might|may|can) be|maybe|perhaps"
    r"|possibly|almost|nearly|over|under|if|suppose|assume|assuming|unless|negative|minus|plus|times|twice|divided by"
    r"|(?:root|half|third|quarter|power|logarithm|sine|cosine|tangent|percent|square|cube|factorial)s? of)|n['’]t)\W*$",
    re.IGNORECASE,
)
_LEFT_OPEN = re.compile(
    r"[\s$,.}*]*\(?(?:if|when|unless|or|through)\b|[\s*]*\?"
    r"|[\s$}*]+(?:squared|cubed|factorial|plus|minus|times|divided by|over|percent of|to the power"
    r"|or (?:so|more|less)|(?:is|are|was|were)(?: \w+ly)? (?:impossible|wrong|incorrect|false|not)|cannot|can['’]t)\b"
    r"|[\s$}*]*不",
    re.IGNORECASE,
)
_TAKEN_BACK = re.compile(r"\b(?:wait|actually|correction|sorry|hmm|oops|mistake|rather|instead)\b", re.IGNORECASE)
_REFERRING = re.compile(
    r"\b(?:step|fig(?:ure|\.)|case|problem|question|equation|part|table|example|method|theorem|lemma|condition|row"
    r"|column)s?\W{0,3}$",
    re.IGNORECASE,
)
# "by (1) and (2)" cites equations.
_LABEL = r"(?:(?:eqs?\.|equations?)\s)?\$?\(\d{1,2}\)\$?"
_CITED = re.compile(
    r"[,;]?\s*(\((?=[^()]*\())?(?<!\w)(?:(?:which\s)?follows\sfrom|because\sof|thanks\sto|according\sto|from|(?<!divided\s)"
    r"(?<!multiplied\s)by|using|see|with|via|applying|combining|adding|subtracting|substituting)\s+"
    rf"{_LABEL}(?:(?:\s*(?:,|-|,?\s(?:and|into|to|from))\s*){_LABEL})*(?(1)\)|)",
    re.IGNORECASE,
)
# "negative five" is a number, "ten minus five" a calculation.
_SIGN = re.compile(r"(^|[^\w\s]\s*|\b(?:is|equals|be)\s)(?:minus|negative)\s(?=[\d$]|[a-z]+\b)", re.IGNORECASE)
_NAME = re.compile(r"\\?[a-zA-Z]{1,4}'?(?:_\w)?|\\(?:angle|triangle) ?[A-Z]{1,3}")


def in_words(text: str, cued: bool = False, marked: bool = False) -> str | None:
    """The formula that a text answers, as it stands there; None if there is none, or it is left open.

    `cued`: the text follows a cue, so that it begins with its answer; a later sentence may take that back. What is
    `cued` or `marked` may be an answer in words alone.
    """
    text = DELIMITED.sub(lambda match: match[0].replace("\n", " "), asserted(text))
    text = _SIGN.sub(r"\1-", text)
    sentences = [with_parts(sentence.strip(" }")) for sentence in _SENTENCE_END.split(text) if sentence.strip(" *_}")]
    if cued:
        later = [sentence for sentence in sentences[1:] if _TAKEN_BACK.search(sentence)]
        sentences = later or [peeled(_REASON.sub("", sentence)) for sentence in sentences[:1]]
        cued = not later
    if cued and sentences and not WORDS.search(sentences[0]):
        return plain_bold(_ADVERB.sub("", sentences[0]))
    rejected: set[str] = set()
    denies, denied = may_deny(text), False
    for sentence in reversed(sentences):
        for spelled in (sentence, in_digits(sentence)):
            found = formulas(spelled)
            if denies and found and not (found := _undenied(spelled, found, rejected)):
                denied = True
            values = [span for span in found if not _NAME.fullmatch(span.text) and not _is_reference(spelled, span)]
            if values or (found and spelled != sentence and not _is_reference(spelled, found[-1])):
                first = cued and _LEADING.fullmatch(spelled, 0, found[0].start) is not None
                return _chosen(spelled, values or found, first)
    return _words_alone(sentences[-1], cued or marked or len(text.split()) <= 3) if sentences and not denied else None


def without_citations(text: str) -> str:
    """`x = 9, using (1) and (2)` as `x = 9`."""
    return _CITED.sub("", text).lstrip(", ") if "(" in text and _CITED.search(text) else text


def _undenied(sentence: str, found: list[Span], rejected: set[str]) -> list[Span]:
    """The formulas without those that the sentence denies, or that it or a later one rejects."""
    for place, span in enumerate(found):
        if is_rejected(sentence, span.end):
            joined = place and _JOINT.fullmatch(sentence[found[place - 1].end : span.start])  # "5 or 6 is wrong"
            rejected |= {span.text, found[place - 1].text} if joined else {span.text}
    return [span for span in found if span.text not in rejected and not is_denied(sentence, span.start, span.end)]


def _is_reference(sentence: str, span: Span) -> bool:
    """Whether a number says which step, figure or equation is meant."""
    before = sentence[max(0, span.start - 16) : span.start]
    return bool(_REFERRING.search(before))


def plain_bold(text: str) -> str:
    """The text without the marks of bold in it; `2**3` is a power."""
    return _BOLD.sub(lambda match: match[1] or match[2], text)


def _words_alone(sentence: str, all_of_it: bool) -> str | None:
    """The last words in bold, or all of the sentence."""
    bold = list(_BOLD.finditer(sentence))
    if bold and ":" not in bold[-1][0] and not _OPEN.search(sentence[: bold[-1].start()]):
        return bold[-1][0].strip("*_. ")
    return sentence if all_of_it else None


def _chosen(sentence: str, found: list[Span], first: bool) -> str | None:
    """The first or the last formula with those that "and" joins to it; None if the words around leave it open."""
    reason = _CIRCUMSTANCE.search(sentence, found[0].end)
    found = [span for span in found if not reason or span.end <= reason.start()]
    stop = reason.start() if reason else len(sentence)
    bold = [span for match in _BOLD.finditer(sentence) if (span := _whole(match, found))]
    run = found[:1] if first else bold if len(bold) == 1 else found[-1:]
    start = end = found.index(run[0])
    joints = [_JOINT.fullmatch(sentence[a.end : b.start]) for a, b in pairwise(found)]
    given = ["=" in span.text for span in found]
    while not first and start > 0 and (joint := joints[start - 1]):
        if joint[1] == "," and start == end and not (given[start] and given[start - 1]):
            break
        start -= 1
    while first and end < len(joints) and joints[end]:
        end += 1
    if any(joint and joint[1] != "," for joint in joints[start:end]) or all(given[start : end + 1]):
        run = found[start : end + 1][-MAX_JOINED:]
    if _OPEN.search(sentence[max(0, run[0].start - 60) : run[0].start]) or _LEFT_OPEN.match(
        sentence, run[-1].end, stop
    ):
        return None
    return ", ".join(span.text for span in run)


def _whole(match: re.Match[str], found: list[Span]) -> Span | None:
    """The one formula that a span in bold is, but for a unit."""
    inside = [span for span in found if match.start() <= span.start and span.end <= match.end()]
    if len(inside) != 1:
        return None
    rest = (match[0][: inside[0].start - match.start()] + match[0][inside[0].end - match.start() :]).strip("*_ .")
    return inside[0] if all(map(follows_number, rest.split())) else None
