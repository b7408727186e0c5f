"""`vlmrl check`: what it says of good and of broken verifiers; hostile strings through every verifier of ours.

VLMRL_HOSTILE=100000 pytest tests/rewards/audit/test_check.py -k hostile      the full number (the suite runs 400 each)
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmrl import catalog
from vlmrl.errors import UserError
from vlmrl.rewards.audit import check, hostile_text
from vlmrl.rewards.calls import Call
from vlmrl.rewards.workers import Workers
from vlmrl.verdict import Member

COUNT = int(os.environ.get("VLMRL_HOSTILE", "400"))
DEADLINE = 1.0
GOOD = '''
"""Colour: is the answer the colour?"""
from vlmrl.verdict import Example, Verdict, bad_target
EXAMPLES = [Example("red", "red", 1.0), Example("blue", "red", 0.0), Example("blue", "blue", 1.0),
            Example("red", 3, None)]
def check_target(target):
    if not isinstance(target, str) or not target.strip():
        raise ValueError(f"target {target!r:.40} is no colour; give one")
def gold(target):
    return target
def verify(response, target):
    try:
        check_target(target)
    except ValueError as error:
        return bad_target(str(error))
    return Verdict(float(response == target))
'''
JUDGED = "    return Verdict(float(response == target))"


@contextmanager
def nothing_is_left_named() -> Iterator[None]:
    """Forgets the verifier files that are named meanwhile."""
    before = dict(catalog._ADDED)
    yield
    catalog._ADDED.clear()
    catalog._ADDED.update(before)
    catalog.load.cache_clear()


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    with nothing_is_left_named():
        yield


@pytest.fixture
def checked(tmp_path, capsys):
    """`checked(source)`: whether it holds, and the lines on standard error."""

    def run(source: str) -> tuple[bool, list[str]]:
        path = tmp_path / "mine.py"
        path.write_text(source)
        holds = check.run(str(path))
        return holds, capsys.readouterr().err.splitlines()

    return run


def test_a_good_file_holds(checked) -> None:
    assert checked(GOOD) == (True, [])


ONE_TARGET = ', Example("blue", "blue", 1.0)'
"""What GOOD has beside the examples of one target."""


@pytest.mark.parametrize("accepts", ["response == target", "target in response", "response.startswith(target)"])
def test_a_verifier_with_one_target_is_asked_for_more_examples(tmp_path, capsys, accepts: str) -> None:
    """Its probes that repeat the right answer are right."""
    assert ONE_TARGET in GOOD
    source = GOOD.replace(ONE_TARGET, "", 1).replace("response == target", accepts)
    path = tmp_path / "mine.py"
    path.write_text(source)
    assert check.run(str(path))
    out, err = capsys.readouterr()
    assert not err
    assert out.splitlines()[-1].endswith("the same right answer: add examples with other targets")
    assert "\t1.00\n" in out


def test_an_answer_of_nothing_is_refused_with_one_target_too(checked) -> None:
    source = GOOD.replace(ONE_TARGET, "", 1).replace("response == target", "response in (target, '')")
    assert checked(source) == (
        False,
        ["vlmrl: mine: probe 'empty' earns 1.00, without an answer in it (the one target of its EXAMPLES)"],
    )


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"""Colour: is the answer the colour?"""', "", "has no docstring"),
        ("def verify(response, target):", "def verify(target, response):", "begin with verify(response, target"),
        ("def verify(response, target):", "def verify(response, target, *, near):", "near has no default"),
        ("EXAMPLES = [", "EXAMPLES = ['red', ", "EXAMPLES: expected a list of vlmrl.verdict.Example"),
        ('Example("red", 3, None)', 'Example("red", "red", 1.0)', "None for a target that cannot be judged"),
        ('Example("blue", "red", 0.0)', 'Example("red", "red", 0.0)', "EXAMPLES[1]: scores 1.0, not 0.0"),
        ("Verdict(float(response == target))", "float(response == target)", "EXAMPLES[0]: verify gives 1.0; give a"),
        ("float(response == target)", "2.0 * (response == target)", "score 2.0 is outside [0, 1]"),
        ("    return target\n", "    return target.upper()\n", "gold 'RED' scores 0.0, not 1.0"),
        ("    return target\n", "    return 7\n", "gold is 7, no text"),
        ("    if not isinst", "    if target == 3: 3 / 0\n    if not isinst", "verify raises ZeroDivision"),
        ("    try:\n        check_target(target)", "    try:\n        target + ''", "verify raises TypeError"),
        ("raise ValueError(", "raise KeyError(", "EXAMPLES[3]: verify raises KeyError"),
        ("        return bad_target(str(error))", "        return Verdict(0.0)", "EXAMPLES[3]: scores 0.0, not None"),
        ("not isinstance(target, str) or not target.strip()", "target == 3", "target None: gold is None, no text"),
        (JUDGED, f"    assert len(response) < 9999\n{JUDGED}", "error (", ),
        (JUDGED, f"    while len(response) > 50_000: pass\n{JUDGED}", "timeout ("),
        (JUDGED, f"{JUDGED}\nRUNS = 'here'", "RUNS is 'here'; use 'thread'"),
        (JUDGED, "    return Verdict(float(target in response))", "probe 'every answer' earns 1.00"),
        (JUDGED, f"    import time\n    if response[9999:]: return Verdict(time.time() % 1)\n{JUDGED}", "the second"),
        (JUDGED, f"    import os\n    if response == 'red': os._exit(3)\n{JUDGED}", "end the process (exit code 3)"),
    ],
)  # fmt: skip
def test_a_broken_file_is_told_in_one_line(checked, old: str, new: str, says: str) -> None:
    assert old in GOOD
    holds, lines = checked(GOOD.replace(old, new, 1))
    assert not holds
    assert any(says in line for line in lines), lines
    assert all(line.startswith("vlmrl: mine: ") for line in lines)


@pytest.mark.parametrize(
    ("source", "says"),
    [("import nothing_of_the_kind", "cannot be loaded"), ("verify = 1", "has no EXAMPLES, gold, check_target")],
)
def test_a_file_that_is_no_verifier(checked, source: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        checked(source)


def test_a_name_that_is_none() -> None:
    with pytest.raises(UserError, match="did you mean 'counting'"):
        check.run("countng")
    with pytest.raises(UserError, match=r"not a verifier file"):
        check.run("none/of/these.py")


def test_ours_by_name_and_by_path(capsys) -> None:
    assert check.run("counting")
    by_name = capsys.readouterr().out
    assert check.run(str(catalog.folder("verifiers") / "counting.py"))
    by_path = capsys.readouterr().out
    rows = [line.split("\t") for line in by_name.splitlines()[1:] if "\t" in line]
    assert {row[0] for row in rows} >= {"a range", "two answers with or", "placeholder"}
    assert [line for line in by_name.splitlines() if "\t" in line] == [x for x in by_path.splitlines() if "\t" in x]
    assert "µs an answer" in by_name


# --- hostile strings --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def workers():
    """Workers that judge with our verifiers as with a user's: each answer in a process that can be killed."""
    with nothing_is_left_named():
        catalog.add_verifiers(catalog.folder("verifiers"))
        with Workers(1, deadline=DEADLINE) as running:
            yield running


def local_verifiers() -> list[str]:
    names = catalog.names("verifiers")
    return [name for name in names if not catalog.is_soft(name)]


def calls(name: str, texts: list[str]) -> list[Call]:
    examples = [e for e in catalog.load("verifiers", name).EXAMPLES if e.score is not None]
    asked = [examples[i % len(examples)] for i in range(len(texts))]
    return [Call(name, (Member(t),), e.target, e.params) for t, e in zip(texts, asked, strict=True)]


@pytest.mark.timeout(36_000)
@pytest.mark.parametrize("name", local_verifiers())
def test_hostile_strings_get_a_verdict(workers, name: str) -> None:
    seeds = [example.response for example in catalog.load("verifiers", name).EXAMPLES]
    texts = list(hostile_text.strings(COUNT, seed=len(name), seeds=seeds))
    lost = [
        (text[:200], verdicts[0].status, verdicts[0].why)
        for text, verdicts in zip(texts, workers(calls(name, texts)), strict=True)
        if verdicts[0].score is None
    ]
    assert not lost, f"{len(lost)} of {len(texts)}: {lost[:3]}"


@pytest.mark.parametrize("name", local_verifiers())
@settings(max_examples=100, deadline=None)
@given(
    pieces=st.lists(
        st.text(st.characters(codec=None), max_size=20) | st.sampled_from(hostile_text.TOKENS) | st.integers().map(str),
        max_size=12,
    )
)
def test_any_pieces_get_a_verdict(name: str, pieces: list[str]) -> None:
    module = catalog.load("verifiers", name)
    for example in module.EXAMPLES[:3]:
        verdict = module.verify("".join(pieces), example.target, **example.params)
        assert (verdict.score is None) == (verdict.status == "bad_target")


def test_no_process_is_left() -> None:

    def judging() -> set[int]:
        children = psutil.Process().children(recursive=True)
        return {child.pid for child in children if child.status() != psutil.STATUS_ZOMBIE}

    with Workers(1, deadline=DEADLINE):
        pass  # whatever serves all workers runs from here on
    before = judging()
    with Workers(1, deadline=DEADLINE) as running:
        running(calls("counting", list(hostile_text.strings(200, seed=1))))
    assert judging() <= before
