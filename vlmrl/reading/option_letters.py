"""Option letters: which letters of the options does a piece of an answer name?

    at_start("B) because ...", options, several=False)          -> {"B"}
    loose("It is B, as A is too small", options)                -> {"A", "B"}
    without_negated("B, not A")                                 -> "B,  "

Spine of `vlmrl.reading.options`; `options` has the letters as keys.
"""

from __future__ import annotations

import re

from vlmrl.reading.markup import mentions
from vlmrl.reading.option_texts import OR, equal, named_in, normal

# An apostrophe joins a letter to a word, a quotation mark encloses it.
_END = r"(?![A-Za-z0-9°+#]|['’][A-Za-z])"
_START = r"(?<![A-Za-z0-9])(?<![A-Za-z]['’])"
_LETTER = rf"{_START}([A-Za-z]){_END}"
# Behind a bracket another letter needs a joint or a bracket of its own, and a letter with a verb begins a sentence.
_JOINT = r"\s*(?:[,，、/|&;+]\s*(?:\b(?:and|or)\b)?|\b(?:and|or)\b|或|和)\s*"
# "B, a dog" has an article.
_SENTENCE = r"(?!(?-i:[A-Za])\s+(?!(?:are|and|or|because|since|as)\b)(?-i:[a-z]))"
_LIST = re.compile(
    rf"[(\[{{]?\s*\"?{_LETTER}(?:(?:[\")\]}}]*{_JOINT}[(\[{{]?\s*\"?|[\")\]}}]*\s*[(\[{{]\s*\"?|\s+)"
    rf"{_SENTENCE}{_LETTER})*",
    re.IGNORECASE,
)
_RUN = re.compile(r"[(\[]?\s*([A-Z]{2,10})(?![A-Za-z0-9])")
_NAMED = r"(?:the\s+)?(?:option\s+|choice\s+|answer\s+)?[(\[*]{0,3}[A-Z](?![A-Za-z0-9'’])[)\]*]{0,3}"
_WRONG = r"(?:wrong|incorrect|false|invalid|impossible|not\b|eliminated|excluded|ruled out|out\b)"
_NEGATED = re.compile(
    r"(?i:\b(?:not|neither|nor|never|except|(?:any|every)thing but|all but|rather than|instead of|exclud(?:e|es|ing)"
    r"|eliminat(?:e|es|ing)|rul(?:e|es|ing) out|can\s?not be|isn['’]t)|n['’]t(?:\s+be)?|不是|不选|排除"
    r"|(?:\b(?:(?<!no )doubt|whether|unsure|not\s(?:sure|certain|think|believe))|n['’]t\s(?:know|think|believe))\b"
    r"(?:(?!\bbut\b)[^.,;!?\n]){0,40}?)"
    rf"\s*(?<!\w){_NAMED}(?:\s*,?\s*(?:or|nor|and)?\s*,?\s*(?<!\w){_NAMED}(?!\s+(?:is|was)\b))*"
    rf"|(?<![A-Za-z0-9])(?:{_NAMED}\s*(?:,\s*)?(?:(?:and|or)\s+)?(?<!\w)){{0,8}}{_NAMED}"
    rf"\s*(?:(?:is|are|was|seems|can\sbe)\s+(?:\w+\s+)?{_WRONG}|isn['’]t|can['’]?t\b|cannot"
    r"|does(?:n['’]t| not)|:\s*(?:no|wrong|false|incorrect)\b|(?:选项)?(?:是错|错误|不正确|不对))"
)
# A part of each of these, for a quick look.
_NEGATION = (
    *("not", "nor", "neither", "n't", "n’t", "never", "except", "but", "than", "instead", "exclud", "elimin", "rul"),
    *(
        "doubt",
        "whether",
        "unsure",
        "wrong",
        "incorrect",
        "false",
        "invalid",
        "impossible",
        "out",
        ": no",
        "排",
        "错",
        "不",
    ),
)
_UNSURE = re.compile(
    r"\b(?:(?:could|might|may|can)(?: \w+)? be|maybe|perhaps|possibly)[\s,]*(?:option\s+)?[(\[]?$", re.IGNORECASE
)
_VERB = r"\s+(?:is|was|seems|must|would|because|since|as it|and|or)\b"
_LOOSE = re.compile(rf"{_START}([B-HJ-Z]|A(?!\s+[a-z])|A(?={_VERB}))(?!\s*\?){_END}")
# What stands before a lone letter that is an answer.
_ANSWERING = re.compile(
    r"(?:^|[,;:.!?(\[\"'“*\n—-]|[\u4e00-\u9fff]|\b(?:is|be|was|it['’]?s|so|thus|therefore|hence|then|choose|chose|pick"
    r"|select|with|for|to|option|choice|letter|answer|think|say|guess|believe|and|or|but|either|both|probably"
    r"|definitely|clearly|only))\s*$",
    re.IGNORECASE,
)
_HEDGE = re.compile(
    rf"{_START}(?:(?-i:(?P<before>[A-Z]))[)\]]?\s+)?(?:or|maybe|perhaps|possibly|alternatively"
    r"|(?:could|might|may)(?: \w+)? be)\b[,\s]+"
    rf"(?:(?:maybe|perhaps|possibly|even|option)\s+)*[(\[]?(?P<other>[A-Z]){_END}"
    rf"|{_START}(?P<too>[A-Z])\)?\s+(?:is|could|may|might|can|would|seems|looks)\b"
    r"(?:(?!\bnot\b|n['’]t\b)[^.\n]){0,20}?\b(?:also|possible|right|correct|plausible|too(?=\s*(?:[.,;!\n]|$)))",
    re.IGNORECASE,
)
_CONCEDED = re.compile(r"\b(?:although|though|while|whereas|even if)\b[^.,;\n]*$", re.IGNORECASE)
_TURN = re.compile(
    r"\b(?:wait|hmm+|hold on|on second thoughts?|correction|scratch that|my mistake|i meant|sorry|no(?=\s*[,.;:-])"
    r"|actually[,\s]+(?=(?:it|the|option|no|i|that|(?-i:[A-Z]))\b))|不对|等等|更正|应该是",
    re.IGNORECASE,
)
# What a letter is said to stand for: "A. mitosis", "(B) 6 cm", "A (mitosis)", "B, which is the red one".
_STANDS_FOR = re.compile(
    rf"{_START}([A-Z])\s?[)\].:,;=(-][)\].:*\"'\s]{{0,5}}\(?"
    r"((?i:(?:(?:(?:which|that|it)(?:['’]s|\s(?:is|was|could be))|i\.e\.|namely|probably|either)[,\s]+){0,3}))"
    r"((?:[^,.;:()*\n]|[.,:](?=\d)|,(?=\s(?:or|maybe|perhaps|possibly)\b))+)"
)
_EXPLAINS = re.compile(
    r"\s?\b(?:because|since|as|not|unlike|rather than|instead of|while|whereas|but|than)\b", re.IGNORECASE
)
_ALTERNATIVES = re.compile(r",?\s?\b(?:or|maybe|perhaps|possibly)\b\s?|/|\?", re.IGNORECASE)
_ONE = re.compile(r"\s(?:one|option|choice|answer)$", re.IGNORECASE)
# "the red car" of "red", "the cat on the mat" of "cat"
_APPOSED = re.compile(r"(?:the|an?) (.*)")
_REST = re.compile(r" [^ ]+| (?:on|in|at|of|with|near|behind|under|beside|next to)\b.*|")
# A part of each of these, for a quick look.
_TURNS = (
    *("wait", "hm", "hold on", "thought", "correction", "scratch", "mistake", "meant", "sorry", "no", "actually"),
    *("不对", "等等", "更正", "应该是"),
)
_DONE = re.compile(r"[)\]\"'*}$]*\s*(?:$|[.!?\n])")
_LEADING = re.compile(rf"(?:[(\[]{_LETTER}[)\]]|{_LETTER}(?:[.:)*]|{_VERB}|[,，]|\s+-|(?=[^\x00-\x7f])|\s*$|\n))")


def without_negated(text: str) -> str:
    """The text without options that it denies: "not A", "B is wrong"."""
    return _NEGATED.sub(" ", text) if mentions(text, _NEGATION) else text


def leading(text: str) -> str:
    """The letter that a text begins with as an answer does ("B.", "(b)", "B because ..."), in upper case, or ""."""
    head = _LEADING.match(text)
    return (head[1] or head[2]).upper() if head else ""


def run_together(text: str, options: dict[str, str]) -> set[str]:
    """The letters of a text that is nothing but several of them: "AC"."""
    run = _RUN.fullmatch(text)
    return set(run[1]) if run and set(run[1]) <= set(options) else set()


def loose(text: str, options: dict[str, str]) -> set[str]:
    """All the option letters of a text, but for articles and pronouns."""
    return set(_LOOSE.findall(text)) & set(options)


def stands_as_answer(letter: str, text: str) -> bool:
    """Whether the letter stands where an answer does: "so B", but not "vitamin B" or "it could be B"."""
    before = [text[max(0, match.start() - 30) : match.start()] for match in _LOOSE.finditer(text) if match[1] == letter]
    return any(_ANSWERING.search(words) and not _UNSURE.search(words) for words in before[-9:])


def adds_another(said: set[str], text: str, options: dict[str, str]) -> bool:
    """Whether the text after a committed letter offers another one, or turns to it: "A. Or B.", "A. No, B."."""
    if len(text) < 4:
        return False
    text = without_negated(text)
    for hedge in _HEDGE.finditer(text[:300]):
        other = (hedge["other"] or hedge["too"]).upper()
        # "It makes no sense for it to be B or C": both are others.
        among_others = hedge["before"] in options and hedge["before"] not in said
        conceded = _CONCEDED.search(text[max(0, hedge.start() - 30) : hedge.start()])
        if other in options and other not in said and not (among_others or conceded):
            return True
    if has_other_text(said, text, options):
        return True
    turns = list(_TURN.finditer(text)) if mentions(text, _TURNS) else []
    turn = turns[-1] if turns else None
    if turn is None:
        return False
    after = text[turn.end() :]
    last = [letter for letter in _LOOSE.findall(after) if letter in options][-1:]
    return not set(last) <= said or bool((named_in(after, options, several=False) or said) - said)


def has_other_text(said: set[str], text: str, options: dict[str, str]) -> bool:
    """Whether a committed letter stands with the text of another option, alone or as an alternative: "A. meiosis"."""
    for match in _STANDS_FOR.finditer(text[:2000]):
        own = options[match[1]] if match[1] in said else ""
        shown = _EXPLAINS.split(match[3], maxsplit=1)[0].strip() if own else ""
        if shown and not any(equal(text, {"own": own}) for text in (shown, match[2] + shown)):
            parts = (part.strip() for part in _ALTERNATIVES.split(shown))
            if any(_is_of_another(part, own, options) for part in parts if part):
                return True
    return False


def _is_of_another(shown: str, own: str, options: dict[str, str]) -> bool:
    """Whether a phrase is the text of another option than its own: "meiosis", "6 cm" for 6, "the red one" for red."""
    amount = re.match(r"[\d.,]+(?=\s\S+$)", shown)
    named = equal(_ONE.sub("", shown), options) or (equal(amount[0], options) if amount else None)
    if named is None and (apposed := _APPOSED.fullmatch(normal(shown))):
        heads = [letter for letter, text in options.items() if text and apposed[1].startswith(text)]
        longest = max(heads, key=lambda letter: len(options[letter]), default="")
        named = longest if longest and _REST.fullmatch(apposed[1][len(options[longest]) :]) else None
    return named is not None and options[named] != own and equal(shown, {"own": own}) is None


def at_start(text: str, options: dict[str, str], several: bool) -> set[str] | None:
    """The option letters a text begins with; empty if it names several and one is asked; None if it has none."""
    run = _RUN.match(text)
    if several and run and set(run[1]) <= set(options):
        return set(run[1])
    match = _LIST.match(text)
    if match is None:
        return None
    first = match[1]
    follows = text[match.end(1) :]
    if first.upper() == "A" and re.match(r"\s+[a-z]", follows) and not re.match(_VERB, follows):
        return None  # an article
    if first.islower() and re.match(r"\s+[a-z]", follows):
        return None
    said = {letter.upper() for letter in re.findall(_LETTER, match[0])}
    if not said <= set(options):
        if first.upper() not in options:
            return None
        if len(said) > 1 and _DONE.match(text[match.end() :]):
            return set()  # a list of letters, of which one is an option
        return set() if several else {first.upper()}
    if several:
        return set() if OR.search(match[0]) else said
    return said if len(said) == 1 else set()
