"""Workers: what an answer can do to a verifier, and that it costs nobody else a verdict."""

import itertools
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import psutil
import pytest

from vlmrl import catalog
from vlmrl.errors import UserError
from vlmrl.rewards import soft_threads
from vlmrl.rewards import workers as workers_module
from vlmrl.rewards.calls import Call, run_call, run_calls
from vlmrl.rewards.workers import LONGEST_HERE, STRETCH, Workers
from vlmrl.verdict import Member, Verdict

DEADLINE = 1.0
HOSTILE = '''
"""A verifier that does to its process what the response says."""
import ctypes, os, time
from vlmrl.verdict import Example, Verdict
EXAMPLES = [Example("fine", None, 1.0)]
def check_target(target=None): pass
def gold(target=None): return "fine"
def verify(response, target=None):
    if response == "loop":
        while True: pass
    if response == "pow":
        9 ** 9 ** 9
    if response == "sleep":
        time.sleep(3600)
    if response == "slow":
        time.sleep(0.7)
    if response == "memory":
        return Verdict(float(len([bytes(2**20) for _ in range(2**14)]) > 0))
    if response.endswith("exit"):
        time.sleep(0.8 if response.startswith("late") else 0.0)
        os._exit(7)
    if response == "segfault":
        ctypes.string_at(0)
    if response == "raise":
        raise KeyError("no such key")
    if response == "pid":
        return Verdict(1.0, answer=str(os.getpid()))
    return Verdict(1.0, answer=response)
'''


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    path = tmp_path_factory.mktemp("verifiers") / "hostile_verifier.py"
    path.write_text(HOSTILE)
    catalog.add_verifiers(path)
    yield "hostile_verifier"
    del catalog._ADDED["hostile_verifier"]
    catalog.load.cache_clear()


@pytest.fixture(scope="module")
def workers(hostile):
    with Workers(2, deadline=DEADLINE, memory_mb=512) as running:
        running([call("fine")])
        yield running


def call(response: str) -> Call:
    return Call("hostile_verifier", (Member(response),), None, {})


def counting(n: int) -> Call:
    return Call("counting", (Member(f"there are {n}"),), 3, {})


def test_verdicts_are_those_of_this_process_and_in_order(workers) -> None:
    calls = [counting(i % 5) if i % 3 else Call("math", (Member(rf"\boxed{{{i}}}"),), "3", {}) for i in range(300)]
    assert workers(calls) == run_calls(calls)


@pytest.mark.parametrize(
    ("response", "status", "why"),
    [
        ("loop", "timeout", "no verdict after 1 s"),
        ("pow", "timeout", "no verdict after 1 s"),
        ("sleep", "timeout", "no verdict after 1 s"),
        ("memory", "error", "MemoryError"),
        ("exit", "error", "exit code 7"),
        ("segfault", "error", "exit code -11"),
        ("raise", "error", "KeyError"),
    ],
)
def test_a_hostile_answer_costs_its_own_verdict_only(workers, response, status, why) -> None:
    calls = [call(f"answer {i}") for i in range(40)]
    calls[17] = call(response)
    started = time.monotonic()
    verdicts = [found[0] for found in workers(calls)]
    assert time.monotonic() - started < DEADLINE + 10
    assert (verdicts[17].score, verdicts[17].status) == (None, status)
    assert why in verdicts[17].why
    assert [v.answer for i, v in enumerate(verdicts) if i != 17] == [f"answer {i}" for i in range(40) if i != 17]


def test_many_hostile_answers_at_once(workers) -> None:
    kinds = ["loop", "exit", "raise", "segfault", "memory"]
    calls = [call(kinds[i // 8] if i % 8 == 5 else f"answer {i}") for i in range(40)]
    verdicts = [found[0] for found in workers(calls)]
    assert [i for i, v in enumerate(verdicts) if v.score is None] == [5, 13, 21, 29, 37]
    assert all(v.answer == f"answer {i}" for i, v in enumerate(verdicts) if i % 8 != 5)


def test_slow_answers_before_and_after_one_that_hangs(workers) -> None:
    """A process that was slow at an earlier answer has a successor that knows only part of what came before."""
    responses = [f"answer {i}" for i in range(40)]
    responses[4] = responses[9] = responses[22] = "slow"
    responses[14] = "loop"
    verdicts = [found[0] for found in workers([call(response) for response in responses])]
    assert [i for i, v in enumerate(verdicts) if v.score is None] == [14]
    assert all(v.answer == r for i, (v, r) in enumerate(zip(verdicts, responses, strict=True)) if i != 14)


def test_a_process_that_dies_late_leaves_no_reply_behind(hostile) -> None:
    """Its successor has judged the responses before it by then; they must not pass for those of the next calls."""
    with Workers(1, deadline=DEADLINE) as alone:
        first = alone([call("a"), call("b"), call("late exit"), call("c")])
        assert [v.answer for (v,) in first if v.score] == ["a", "b", "c"]
        assert first[2][0].status == "error"
        for one in "defg":
            assert alone([call(one), call(one + one)]) == run_calls([call(one), call(one + one)])


def test_idle_processes_may_be_killed(workers) -> None:
    for _ in range(3):
        pids = {int(found[0].answer or 0) for found in workers([call("pid")] * 50)}
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        verdicts = workers([counting(3)] * 50)
        assert all(found[0].score == 1.0 for found in verdicts)


def test_several_threads_share_the_workers(workers) -> None:
    results: dict[int, list[str | None]] = {}

    def ask(name: int) -> None:
        calls = [call("exit" if (name, i) == (2, 3) else f"{name}/{i}") for i in range(60)]
        results[name] = [found[0].answer for found in workers(calls)]

    threads = [threading.Thread(target=ask, args=(name,)) for name in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in range(6):
        expected = [None if (name, i) == (2, 3) else f"{name}/{i}" for i in range(60)]
        assert results[name] == expected


def test_a_group_level_verifier_sees_its_group(workers) -> None:
    members = tuple(Member("word " * n, tokens=n, score=1.0) for n in (3, 9, 27))
    calls = [Call("brevity_bonus", members, None, {})]
    assert workers(calls) == run_calls(calls)
    assert len(workers(calls)[0]) == 3


def test_closing_leaves_no_process_behind(hostile) -> None:
    def judging() -> set[int]:
        children = psutil.Process().children(recursive=True)
        return {child.pid for child in children if child.status() != psutil.STATUS_ZOMBIE}

    with Workers(1) as first:
        first([call("fine")])  # the server that forks them lives on
    before = judging()
    workers = Workers(2, deadline=60)
    threading.Thread(target=workers, args=([call("sleep")] * 2,), daemon=True).start()
    while len(judging() - before) < 2:
        time.sleep(0.05)
    workers.close()
    assert judging() <= before


def test_a_script_without_a_guard_can_use_them(tmp_path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            print("started")
            from vlmrl.rewards.calls import Call
            from vlmrl.verdict import Member
            from vlmrl.rewards.workers import Workers
            workers = Workers(1)
            print(workers([Call("counting", (Member("3"),), 3, {})])[0][0].score)
            workers.close()
            """
        )
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout.splitlines(), done.stderr) == (["started", "1.0"], "")


# --- what runs where --------------------------------------------------------------------------------------


@pytest.fixture
def judged_here(monkeypatch) -> list[str]:
    """The verifiers of the calls that this process judged itself."""
    names: list[str] = []

    def spy(call: Call) -> list[Verdict]:
        names.append(call.verifier)
        return run_call(call)

    for module in (workers_module, soft_threads):
        monkeypatch.setattr(module, "run_call", spy)
    return names


def test_a_cheap_rule_of_ours_runs_here_as_long_as_it_is_cheap(workers, judged_here, monkeypatch) -> None:
    calls = [counting(i) for i in range(100)]
    workers.seconds["counting"] = 1.0
    assert workers(calls) == run_calls(calls)
    assert judged_here == []
    workers.seconds["counting"] = 0.0
    assert workers(calls) == run_calls(calls)
    assert len(judged_here) == 100
    judged_here.clear()
    monkeypatch.setattr(workers_module.time, "thread_time", itertools.count().__next__)
    workers.seconds["counting"] = 0.0
    assert workers(calls) == run_calls(calls)
    assert len(judged_here) == STRETCH, "the rest goes to the processes"


def test_a_long_response_does_not_run_here(workers, judged_here) -> None:
    workers.seconds["counting"] = 0.0
    long = Call("counting", (Member("x" * LONGEST_HERE + " 3"),), 3, {})
    assert workers([long])[0][0].score == 1.0
    assert judged_here == []


def test_a_verifier_that_the_user_named_never_runs_here(workers, judged_here) -> None:
    workers.seconds["hostile_verifier"] = 0.0
    pids = {found[0].answer for found in workers([call("pid")] * 50)}
    assert str(os.getpid()) not in pids
    assert judged_here == []


def test_a_soft_verifier_waits_in_threads_of_this_process(workers, judged_here, monkeypatch) -> None:
    monkeypatch.delenv("VLMRL_ENDPOINT_URL", raising=False)
    question = {"question": "Which city?", "answer": "Paris"}
    assert workers([Call("judge", (Member("Lyon"),), question, {})])[0][0].status == "error"
    assert judged_here == ["judge"]


@pytest.mark.parametrize("target", ["9" * 30_000, [[1.0] * 4] * 2000])
def test_a_long_target_does_not_run_here(workers, judged_here, target) -> None:
    workers.seconds["counting"] = 0.0
    assert workers([Call("counting", (Member("3"),), target, {})])[0][0].status == "bad_target"
    assert judged_here == []


def test_a_target_that_cannot_be_handed_over_costs_its_own_verdict_only(workers) -> None:
    deep: list[object] = []
    for _ in range(900):
        deep = [deep]
    calls = [counting(i) for i in range(40)]
    calls[17] = Call("counting", (Member("3"),), deep, {})
    workers.seconds["counting"] = 1e-3
    found = workers(calls)
    assert found[17][0].score is None
    del calls[17], found[17]
    assert found == run_calls(calls)


def test_a_verifier_file_that_vanishes_is_the_users_error(tmp_path, capfd):
    path = tmp_path / "vanishing.py"
    path.write_text(HOSTILE)
    catalog.add_verifiers(path)
    calls = [Call("vanishing", (Member("fine"),), None, {})]
    try:
        with Workers(1) as workers:
            assert workers(calls) == [[Verdict(1.0, answer="fine")]]
            path.unlink()
            lost = workers([calls[0]._replace(members=(Member("exit"),))])  # the next process cannot load it
            assert lost[0][0].status == "error"
            with pytest.raises(UserError, match=f"{path}: not a verifier file"):
                workers(calls)
            path.write_text(HOSTILE)
            assert workers(calls) == [[Verdict(1.0, answer="fine")]]
    finally:
        del catalog._ADDED["vanishing"]
    assert "Traceback" not in capfd.readouterr().err
