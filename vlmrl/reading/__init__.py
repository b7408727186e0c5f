"""Reading: what a verifier reads in an answer or a target, and how it compares that. Pure functions, no torch.

    texts.py              plain texts, and the texts that a response may give as its answer
    amounts.py            numbers of free text with their units; commitments.py which of them the text commits to
    options.py            options of a question: option_letters.py their letters, option_texts.py their texts
    published_rules.py    open answers as MMMU and MathVista compare them
    expressions.py        mathematical expressions, equal in bounded time; its parts:
                          notation.py one spelling, quantities.py numbers with units, listings.py lists and tuples,
                          regions.py intervals and inequalities, latex.py to sympy, values.py by value
    frames.py             coordinates of a target and of an answer; location_tokens.py those written as tokens
    places.py             coordinates in an answer, for boxes.py, points.py and polygons.py (rotated boxes, masks); its
                          parts: structures.py JSON and what looks like it, names.py of coordinates and labels, tags.py
    commitment.py         which places or times of a text are its answer, and whether it says that there is none
    detection.py          regions matched one to one, and what the match is worth
    timespans.py          spans of a video; timelines.py their units and overlaps
    members.py            the responses of a group: length, correctness
    checks.py             parameters and targets

Before all of these come `answers.py`: which part of a response is its answer; `assertion.py`: what a text asserts;
`markup.py`: what it says without emphasis, quotes and the delimiters of formulas; and `numbers.py`.
"""
