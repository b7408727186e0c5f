"""Soft threads: a verifier that hangs, ends its thread or is no longer wanted holds back nobody."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator

import pytest

from vlmrl import catalog
from vlmrl.rewards import soft_threads
from vlmrl.rewards.calls import Call, run_calls
from vlmrl.rewards.soft_threads import THREADS, SoftThreads
from vlmrl.rewards.workers import SOFT_DEADLINES, Workers
from vlmrl.verdict import Member

SOFT = '''
"""A soft verifier that waits for an event, or does what the response says."""
import threading
from vlmrl.verdict import Verdict
RUNS = "thread"
EXAMPLES = []
hanging = threading.Event()
begun = []
def check_target(target=None): pass
def gold(target=None): return ""
def verify(response, target=None):
    begun.append(response)
    if response == "hang":
        hanging.wait()
    if response == "exit":
        raise SystemExit("leaving")
    return Verdict(0.5, answer=response)
'''


@pytest.fixture
def soft(tmp_path) -> Iterator[object]:
    (tmp_path / "waiting.py").write_text(SOFT)
    catalog.add_verifiers(tmp_path)
    module = catalog.load("verifiers", "waiting")
    yield module
    module.hanging.set()
    del catalog._ADDED["waiting"]
    catalog.load.cache_clear()


def ask(response: str) -> Call:
    return Call("waiting", (Member(response),), None, {})


def test_calls_that_hang_time_out_and_leave_their_threads_to_others(soft) -> None:
    threads = SoftThreads(0.3)
    calls = [ask("hang")] * THREADS + [ask(f"answer {i}") for i in range(100)]
    found = threads.collect(threads.submit(calls))
    assert {(v.score, v.status, v.why) for (v,) in found[:THREADS]} == {
        (None, "timeout", "waiting: no verdict after 0.3 s")
    }
    assert found[THREADS:] == run_calls(calls[THREADS:])
    assert threads.left_behind == THREADS
    soft.hanging.set()
    assert threads.collect(threads.submit([ask("more")])) == run_calls([ask("more")])


def test_the_threads_that_hang_are_bounded(soft, monkeypatch) -> None:
    monkeypatch.setattr(soft_threads, "THREADS", 4)
    monkeypatch.setattr(soft_threads, "LEFT_BEHIND", 6)
    threads = SoftThreads(1.0)
    found = threads.collect(threads.submit([ask("hang")] * 20))
    assert [v.status for (v,) in found].count("timeout") == 6
    assert {v.why for (v,) in found if v.status == "error"} == {"waiting: 6 calls hang; no more are begun"}
    assert len(soft.begun) == 6


def test_a_verifier_that_ends_its_thread(soft) -> None:
    threads = SoftThreads(60)
    ((verdict,), *others) = threads.collect(threads.submit([ask("exit"), ask("a"), ask("b")]))
    assert (verdict.score, verdict.status) == (None, "error")
    assert "SystemExit" in verdict.why
    assert others == run_calls([ask("a"), ask("b")])


def test_what_nobody_wants_any_more_is_not_begun(soft) -> None:
    threads = SoftThreads(600)
    dropped = threading.Event()
    tasks = threads.submit([ask("hang")] * (THREADS + 50))
    threading.Timer(0.2, dropped.set).start()
    assert {v.status for (v,) in threads.collect(tasks, dropped)} == {"error"}
    assert len(soft.begun) == THREADS
    assert threads.collect(threads.submit([ask("a")])) == run_calls([ask("a")])


def test_rules_are_judged_beside_them_and_the_deadline_is_that_of_the_workers(soft) -> None:
    rule = Call("counting", (Member("3"),), 3, {})
    with Workers(1, deadline=0.5 / SOFT_DEADLINES) as workers:
        hanging, fine = workers([ask("hang"), rule])
    assert hanging[0].status == "timeout"
    assert fine[0].score == 1.0


def test_a_call_that_hangs_does_not_keep_the_process_from_ending(tmp_path) -> None:
    (tmp_path / "waiting.py").write_text(SOFT)
    script = f"""
        import threading
        from vlmrl import catalog
        from vlmrl.rewards.calls import Call
        from vlmrl.rewards.workers import Workers
        from vlmrl.verdict import Member
        catalog.add_verifiers({str(tmp_path)!r})
        dropped = threading.Event()
        threading.Timer(0.5, dropped.set).start()
        with Workers(1, deadline=600) as workers:
            print(workers([Call("waiting", (Member("hang"),), None, {{}})], dropped)[0][0].status)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "error\n", "")
