"""The ledger on real folders: what the metrics mean, what is kept, and that a resumed run equals another."""

from __future__ import annotations

import hashlib
import io
import json
import math
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import rich
from helpers.recorded import (
    PATCHES,
    PROMPT_TOKENS,
    UPDATE,
    eval_rows,
    held_out,
    make_group,
    make_rollout,
    make_sample,
    quiet,
    run,
)
from PIL import Image
from rich.console import Console
from rich.progress import Progress

from vlmrl import Media, UserError, Verdict
from vlmrl.data.media import encode_png
from vlmrl.files import read_rows
from vlmrl.monitor.ledger import PICTURES_PER_SOURCE, Ledger
from vlmrl.monitor.metrics import figures, step_metrics
from vlmrl.monitor.summary import change, heldout_tables, print_summary, read_metrics, summarise
from vlmrl.rollout.group import TokenStats, UpdateReport
from vlmrl.sample import MediaSet

# --- metrics ----------------------------------------------------------------------------------------------


def test_metrics_of_a_source() -> None:
    group = make_group("counting", [1.0, 0.5, 0.0, None], [4, 6, 8, 100])
    group.rollouts[3] = make_rollout(100, finish="length")
    group.verdicts[2] = Verdict(0.0, "unparsed", {"iou": 0.0})
    flat = make_group("counting", [1.0, 1.0], [2, 2])
    metrics = step_metrics([group, flat])
    got = {k.removeprefix("source/counting/"): v for k, v in metrics.items() if k.startswith("source/counting/")}
    assert got["reward"] == pytest.approx(3.5 / 5)
    assert got["part/iou"] == pytest.approx(3.5 / 5)
    assert got["perfect"] == pytest.approx(3 / 5)
    assert got["zero"] == pytest.approx(1 / 5)
    assert got["unscored"] == pytest.approx(1 / 6)
    assert got["unparsed"] == pytest.approx(1 / 6)
    assert got["truncated"] == pytest.approx(1 / 6)
    assert got["zero_variance"] == 0.5
    assert got["length"] == pytest.approx(122 / 6)
    assert got["length_correct"] == pytest.approx(8 / 3)
    assert got["length_wrong"] == 7
    assert (got["groups"], got["rollouts"]) == (2, 6)
    assert got["tokens"] == 2 * PROMPT_TOKENS + 122
    assert got["patches"] == 2 * PATCHES


def test_token_metrics_are_weighted_by_response_tokens_and_skip_groups_left_out() -> None:
    group = make_group("a", [1.0, 0.0], [1, 9])
    group.stats = [TokenStats(1.0, 0.1, 0.01, 0.001, 0.5), TokenStats(2.0, 0.2, 0.02, 0.002, 0.3)]
    metrics = step_metrics([group, make_group("a", [1.0, 1.0], [500, 500])])
    assert metrics["source/a/entropy"] == pytest.approx(1.9)
    assert metrics["source/a/clip_fraction"] == pytest.approx(0.19)
    assert metrics["source/a/behaviour_kl"] == pytest.approx(0.019)
    assert metrics["modality/image/diff_mean"] == pytest.approx(0.0019)
    assert metrics["modality/image/diff_max"] == 0.5
    assert metrics["modality/image/tokens"] == 10


def test_agreement_is_kept_apart_by_modality() -> None:
    groups = [make_group("a", [1.0, 0.0], [2, 2], images=n, diff_max=10.0**-n) for n in (0, 1, 2)]
    groups[0].stats[1] = TokenStats(0.5, 0.0, 0.0, None, None)
    metrics = step_metrics(groups)
    assert metrics["modality/text/tokens"] == 2
    assert [metrics[f"modality/{m}/diff_max"] for m in ("text", "image", "images")] == [1.0, 0.1, 0.01]


def test_a_metric_without_a_value_has_no_key(tmp_path: Path) -> None:
    ledger = quiet(tmp_path)
    ledger.record(1, [make_group("a", [1.0, 1.0], [3, 3])], UPDATE, {})
    row = ledger.record(2, [make_group("b", [None, None], [3, 3])], UPDATE, {})
    first, second = read_metrics(tmp_path)
    assert not any(key.startswith("source/b") for key in first)
    assert {"source/a/length_correct", "source/a/reward"} <= first.keys()
    assert not {"source/a/length_wrong", "source/a/entropy", "modality/image/diff_max"} & first.keys()
    assert "source/b/reward" not in second
    assert second["source/b/unscored"] == 1
    assert row == second


def test_a_value_that_is_not_finite_never_reaches_json_but_is_counted(tmp_path: Path) -> None:
    broken = UpdateReport(math.nan, math.inf, 1e-4, 1, 1)
    quiet(tmp_path).record(1, [make_group("a", [1.0, 0.0], [3, 3])], broken, {}, {"sampler/pool": 7.0})

    def refuse(constant: str) -> float:
        raise AssertionError(constant)

    row = json.loads((tmp_path / "metrics.jsonl").read_text(), parse_constant=refuse)
    assert "all/loss" not in row
    assert row["all/not_finite"] == 2
    assert row["sampler/pool"] == 7.0


def test_source_seconds_share_the_step_by_tokens(tmp_path: Path) -> None:
    groups = [make_group("a", [1.0, 0.0], [5, 5]), make_group("b", [1.0, 0.0], [25, 25])]
    seconds = {"rollout": 2.0, "reward": 1.0, "update": 5.0, "sync": 100.0}
    row = quiet(tmp_path).record(1, groups, UPDATE, seconds)
    assert row["seconds/source/a"] == pytest.approx(8 * 20 / 80)
    assert row["seconds/source/b"] == pytest.approx(8 * 60 / 80)
    assert row["seconds/sync"] == 100.0


def test_two_equal_runs_differ_in_seconds_only(tmp_path: Path) -> None:
    for name, speed in (("slow", 2.0), ("fast", 1.0)):
        ledger = quiet(tmp_path / name)
        ledger.record_eval(0, "before", eval_rows([1.0, 0.0]), {"eval": speed})
        ledger.record(1, [make_group("a", [1.0, 0.0], [5, 5])], UPDATE, {"rollout": speed, "update": speed})
    slow, fast = (read_metrics(tmp_path / name) for name in ("slow", "fast"))
    assert slow != fast
    assert without_seconds(slow) == without_seconds(fast)
    for file in ("rollouts/step_000001.parquet", "heldout/step_000000.parquet"):
        assert (tmp_path / "slow" / file).read_bytes() == (tmp_path / "fast" / file).read_bytes()


def without_seconds(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{key: value for key, value in row.items() if not key.startswith("seconds/")} for row in rows]


# --- rollouts ---------------------------------------------------------------------------------------------


def test_every_rollout_is_kept_with_its_verdict(tmp_path: Path) -> None:
    group = make_group("counting", [1.0, None], [4, 6])
    unusual = make_rollout(6, text="lone \ud800 surrogate", finish="length", version=2)
    group.rollouts[1] = replace(unusual, kind="hint", trained=(True, False, True, False, False, True))
    group.verdicts[1] = Verdict(None, "timeout", answer="\udfff", why="took \ud83d too long")
    group.reward = (group.sample.reward[0].model_copy(update={"params": {"tolerance": 0.5}}),)
    (picture,) = [media.data or b"" for media in group.sample.media.images]
    quiet(tmp_path).record(3, [group], UPDATE, {})
    first, second = pq.read_table(tmp_path / "rollouts" / "step_000003.parquet").to_pylist()
    assert first == {
        "step": 3,
        "source": "counting",
        "id": "counting-0",
        "key": group.sample.key,
        "task": "",
        "messages": '[{"role": "user", "content": "<image>how many? 0"}]',
        "media": json.dumps({"images": [f"sha256:{hashlib.sha256(picture).hexdigest()}"]}),
        "boxes": "[]",
        "meta": "{}",
        "reward": json.dumps([spec.model_dump() for spec in group.reward]),
        "prompt": "<image>how many? 0",
        "response": "3",
        "tokens": 4,
        "finish": "stop",
        "kind": "policy",
        "forced_tokens": 0,
        "score": 1.0,
        "status": "ok",
        "parts": '{"iou": 1.0}',
        "answer": None,
        "why": "",
        "version": 0,
        "advantage": None,
    }
    assert (second["score"], second["status"], second["version"]) == (None, "timeout", 2)
    assert (second["finish"], second["kind"], second["forced_tokens"]) == ("length", "hint", 3)
    assert (second["response"], second["answer"]) == ("lone ? surrogate", "?")


def test_a_flipped_bit_in_stored_rollouts_is_refused_or_changes_no_row(tmp_path: Path) -> None:
    """Every byte of the footer, which the checksums of the pages leave out, and some of the pages."""
    run(tmp_path, 1)
    file = tmp_path / "rollouts" / "step_000001.parquet"
    whole, expected = file.read_bytes(), [row for _, row in read_rows(file)]
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    dice, refused = random.Random(0), 0
    for place in (*range(0, footer, 40), *range(footer, len(whole))):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << dice.randrange(8)
        file.write_bytes(damaged)
        try:
            found = [row for _, row in read_rows(file)]
        except UserError:
            refused += 1
        else:
            assert found == expected, place
    assert refused > 100


def test_rows_that_are_not_those_of_the_checksum_are_refused(tmp_path: Path) -> None:
    run(tmp_path, 1)
    file = tmp_path / "rollouts" / "step_000001.parquet"
    table = pq.read_table(file)
    pq.write_table(table.slice(1), file)
    with pytest.raises(UserError, match="its rows do not have the checksum that the file states"):
        list(read_rows(file))
    pq.write_table(table.slice(1).replace_schema_metadata(None), file)  # as files of others
    assert len(list(read_rows(file))) == table.num_rows - 1


def record_steps(ledger: Ledger, steps: range) -> None:
    for step in steps:
        # Sizes differ from step to step, so that what is deleted depends on the history.
        texts = ["".join(chr(33 + (i * i * step) % 90) for i in range(40 * step)), "3"]
        group = make_group("counting", [1.0, 0.0], [step, 3])
        group.rollouts = [make_rollout(3, text=text, version=step) for text in texts]
        ledger.record(step, [group], UPDATE, {"rollout": 1.0 + step})


def test_rollouts_stay_within_their_bound_and_the_newest_step_is_never_deleted(tmp_path: Path) -> None:
    record_steps(quiet(tmp_path / "all"), range(1, 7))
    files = sorted((tmp_path / "all" / "rollouts").iterdir())
    bound = sum(file.stat().st_size for file in files[3:])
    record_steps(quiet(tmp_path / "some", rollouts_mb=bound / 1e6), range(1, 7))
    kept = sorted(f.name for f in (tmp_path / "some" / "rollouts").iterdir())
    assert kept == [f"step_{step:06d}.parquet" for step in (4, 5, 6)]
    assert read_metrics(tmp_path / "some")[-1]["all/rollout_steps_deleted"] == 3
    record_steps(quiet(tmp_path / "none", rollouts_mb=0.0), range(1, 4))
    assert [f.name for f in (tmp_path / "none" / "rollouts").iterdir()] == ["step_000003.parquet"]


@pytest.mark.parametrize("rollouts_mb", [512.0, 0.012])
def test_a_resumed_ledger_equals_an_uninterrupted_one(tmp_path: Path, rollouts_mb: float) -> None:
    whole = quiet(tmp_path / "whole", rollouts_mb=rollouts_mb)
    whole.record_eval(0, "before", eval_rows([1.0, 0.0]))
    record_steps(whole, range(1, 7))
    whole.record_eval(6, "after", eval_rows([1.0, 1.0]))

    killed = quiet(tmp_path / "killed", rollouts_mb=rollouts_mb)
    killed.record_eval(0, "before", eval_rows([1.0, 0.0]))
    record_steps(killed, range(1, 6))
    killed.record_eval(5, "extra", eval_rows([0.0, 1.0]))
    with (tmp_path / "killed" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "all/rew')
    (tmp_path / "killed" / "rollouts" / ".step_000006.parquet.partial").write_bytes(b"half")
    resumed = quiet(tmp_path / "killed", rollouts_mb=rollouts_mb)
    resumed.truncate(3)
    assert [row["step"] for row in read_metrics(tmp_path / "killed")] == [0, 1, 2, 3]
    record_steps(resumed, range(4, 7))
    resumed.record_eval(6, "after", eval_rows([1.0, 1.0]))
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "whole")
    resumed.truncate(6, finished=True)  # killed once more before the run had ended
    resumed.record_eval(6, "after", eval_rows([1.0, 1.0]))
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "whole")


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def test_truncate_before_anything_was_recorded(tmp_path: Path) -> None:
    ledger = quiet(tmp_path)
    ledger.truncate(0)
    record_steps(ledger, range(1, 2))
    assert len(read_metrics(tmp_path)) == 1


def test_a_broken_line_in_the_middle_is_named(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(UserError, match=r"metrics\.jsonl:2: not valid JSON"):
        read_metrics(tmp_path)


# --- held-out ---------------------------------------------------------------------------------------------


def test_the_interval_of_a_mean() -> None:
    scores = [1.0] * 60 + [0.0] * 40 + [None]
    half = 1.96 * math.sqrt(0.24 * 100 / 99 / 100)
    got = figures(scores)
    assert got == pytest.approx({"mean": 0.6, "low": 0.6 - half, "high": 0.6 + half, "n": 100})
    assert figures([1.0, 1.0, 1.0, 0.9])["high"] == 1.0
    assert figures([0.25]) == {"mean": 0.25, "n": 1}
    assert figures([None]) == {"n": 0}


def test_a_held_out_evaluation(tmp_path: Path) -> None:
    rows = eval_rows([1.0, 0.0, None]) + eval_rows([0.5], source="a/b")
    table = quiet(tmp_path).record_eval(7, "after", rows)
    assert table.keys() == {"counting", "a/b", "all"}
    assert table["counting"]["sampled"]["mean"] == 0.5
    assert table["counting"]["greedy"] == {"mean": 1.0, "low": 1.0, "high": 1.0, "n": 3}
    assert table["a/b"]["sampled"] == {"mean": 0.5, "n": 1}
    assert table["all"]["sampled"]["n"] == 3
    (row,) = read_metrics(tmp_path)
    assert row["heldout/counting/sampled/unscored"] == pytest.approx(1 / 3)
    assert row["heldout/counting/sampled/mean"] == 0.5
    assert heldout_tables([row]) == {7: table}


def test_held_out_rows_carry_the_pictures_of_the_first_samples(tmp_path: Path) -> None:
    quiet(tmp_path).record_eval(0, "before", eval_rows([1.0] * (PICTURES_PER_SOURCE + 2)))
    kept = pq.read_table(tmp_path / "heldout" / "step_000000.parquet").to_pylist()
    assert len(kept) == 2 * (PICTURES_PER_SOURCE + 2)
    assert [row["image"] is not None for row in kept] == [True] * 2 * PICTURES_PER_SOURCE + [False] * 4
    with Image.open(io.BytesIO(kept[5]["image"])) as image:
        assert (image.format, image.size) == ("PNG", (16, 12))
    assert json.loads(kept[0]["reward"])[0]["target"] == 3


def test_a_large_photograph_is_kept_small(tmp_path: Path) -> None:
    noise = Image.effect_noise((1600, 1200), 90).convert("RGB")
    media = MediaSet(images=(Media(data=encode_png(noise)),))
    sample = make_sample().model_copy(update={"media": media})
    quiet(tmp_path).record_eval(0, "before", [(held_out(sample, make_rollout(2), Verdict(1.0)), "sampled")])
    (row,) = pq.read_table(tmp_path / "heldout" / "step_000000.parquet").to_pylist()
    with Image.open(io.BytesIO(row["image"])) as image:
        assert (image.format, image.size) == ("JPEG", (640, 480))


# --- sinks ------------------------------------------------------------------------------------------------


def scalars(folder: Path, tag: str) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]


def test_tensorboard_reads_the_scalars_and_forgets_what_a_resume_repeats(tmp_path: Path) -> None:
    for loss, steps, kept in ((1.0, (1, 2, 3), None), (9.0, (2, 3), 1)):
        ledger = Ledger(tmp_path, sinks=("jsonl", "tensorboard"), total_steps=3)
        if kept is not None:
            ledger.truncate(kept)
        for step in steps:
            update = UpdateReport(loss, 1.0, 1e-4, 1, 1)
            ledger.record(step, [make_group("a", [1.0, 0.0], [3, 3])], update, {})
        ledger.close()
    assert scalars(tmp_path, "all/loss") == [(1, 1.0), (2, 9.0), (3, 9.0)]
    assert scalars(tmp_path, "source/a/reward") == [(1, 0.5), (2, 0.5), (3, 0.5)]


def test_the_console_writes_lines_where_there_is_no_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = Ledger(tmp_path, sinks=("console",), total_steps=3)
    ledger.record_eval(0, "before training", eval_rows([1.0, 0.0], source="[red]a"))
    for step in (1, 2, 3):
        ledger.record(step, [make_group("[red]a", [1.0, 0.0], [3, 3])], UPDATE, {"rollout": 1.5})
    ledger.close()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "held-out, before training: reward 0.500  [red]a 0.500"
    assert lines[1] == "step 1/3  reward 0.500  [red]a 0.500  length 3.0  1.5 s"
    assert lines[-1].startswith("step 3/3")


def test_the_console_shows_a_bar_on_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rich, "_console", Console(force_terminal=True, width=120))
    ledger = Ledger(tmp_path, sinks=("console",), total_steps=3)
    ledger.record(1, [make_group("[red]a", [1.0, 0.0], [3, 3])], UPDATE, {})
    with Progress(console=rich.get_console()) as inner:
        inner.add_task("evaluation")
    ledger.record(2, [make_group("[red]a", [1.0, 0.0], [3, 3])], UPDATE, {})
    ledger.close()
    out = capsys.readouterr().out
    assert "2/3" in out
    assert "[red]a 0.500" in out


def test_a_supervised_step_has_a_loss_and_no_groups(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = Ledger(tmp_path, sinks=("jsonl", "console"), total_steps=1).record(1, [], UPDATE, {"update": 2.0})
    assert (row["all/loss"], row["all/groups"], row["seconds/update"]) == (0.5, 0, 2.0)
    assert "all/reward" not in row
    assert not (tmp_path / "rollouts").exists()
    assert capsys.readouterr().out == "step 1/1  loss 0.5000  2.0 s\n"


def test_an_unknown_sink_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown sink 'tensorbord'; did you mean 'tensorboard'"):
        Ledger(tmp_path, sinks=("tensorbord",), total_steps=1)


def test_a_full_disk_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"metrics\.jsonl: cannot write \(No space left on device\)"):
        quiet(tmp_path).record(1, [make_group("a", [1.0, 0.0], [3, 3])], UPDATE, {})


def test_the_ledger_needs_no_torch() -> None:
    code = "import sys, vlmrl.monitor.ledger; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- summary ----------------------------------------------------------------------------------------------


def test_summary_keeps_its_contract(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    after = run(tmp_path).record_eval(2, "after", eval_rows([0.0] * 10 + [1.0] * 30), {"eval": 4.0})
    rows = read_metrics(tmp_path)
    summary = json.loads(json.dumps(summarise(heldout_tables(rows)[0], after, rows)))
    assert summary.keys() == {"sources", "all", "steps", "seconds", "agreement"}
    counting = summary["sources"]["counting"]
    assert counting["before"].keys() == {"mean", "low", "high", "n"}
    assert (counting["before"]["mean"], counting["after"]["mean"]) == (0.25, 0.75)
    assert counting["greedy"]["after"]["mean"] == 1.0
    assert summary["all"] == counting
    assert summary["steps"] == 2
    assert summary["seconds"] == {"rollout": 2.0, "reward": 1.0, "update": 4.0, "sync": 0.5, "eval": 7.0}
    assert summary["agreement"]["image"] == pytest.approx({"max": 2e-6, "mean": (2 * 1e-7 + 4 * 2e-7) / 6})
    print_summary(summary)
    out = capsys.readouterr().out
    assert "counting" in out
    assert "+0.500 *" in out
    assert "0.250 (0.11-0.39)" in out


def test_a_change_counts_only_if_the_intervals_part() -> None:
    low, middle, high = ({"mean": m, "low": m - 0.1, "high": m + 0.1, "n": 9.0} for m in (0.2, 0.35, 0.6))
    assert [change(low, high), change(low, middle), change(high, low)] == [1, 0, -1]
    assert change({"mean": 0.1, "n": 1}, high) == 0
