"""`vlmrl data mix`: plans, two real pilots, and what is read from finished ones."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from helpers.damage import flip, replace_by_folder
from helpers.replay_run import write_replay_run

from vlmrl import catalog
from vlmrl.cli import main
from vlmrl.config.run_file import load_run
from vlmrl.curriculum.mixture.fit import Quadratic
from vlmrl.curriculum.mixture.pilots import Plan
from vlmrl.monitor.records import Records
from vlmrl.monitor.summary import read_metrics

SOURCES = ("ocr", "grounding", "counting")


@pytest.fixture
def write_run(tmp_path: Path) -> Callable[..., Path]:
    def write(*sources: str) -> Path:
        build = catalog.load("recipes", "synthetic").build
        responses = {
            sample.id: ["?", sample.demonstration] if place % 2 else [sample.demonstration, "?"]
            for split in ("train", "heldout")
            for place, sample in enumerate(build(6, split=split, sources=sources))
        }
        entry = {"recipe": "synthetic", "sources": list(sources)}
        return write_replay_run(
            tmp_path,
            responses,
            run={"steps": 1},
            data={"train": [entry | {"n": 6}], "heldout": [entry | {"n": 4, "split": "heldout"}]},
            rollout={"group": 2},
        )

    return write


def mix(*arguments: Any) -> int:
    return main(["data", "mix", *map(str, arguments)])


def refusal(capsys: pytest.CaptureFixture[str], *arguments: Any) -> str:
    capsys.readouterr()
    assert mix(*arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def finish(folder: Path, truth: Quadratic, noise: float = 0.0, score_noise_only: bool = False) -> None:
    """Writes what finished pilots leave, with known scores: the first held-out source has the score of the truth, the
    second its opposite around one half."""
    rng = np.random.default_rng(0)
    for pilot in Plan.open(str(folder)).pilots:
        score = 0.0 if score_noise_only else truth(np.array([list(pilot.weights.values())]))[0]
        score = float(score + rng.normal(0, noise))
        pilot.folder.mkdir(parents=True)
        config = pilot.config.model_dump(mode="json", exclude_none=True)
        (pilot.folder / "config.toml").write_text(tomli_w.dumps(config))
        sources = {"good": {"after": {"mean": score}}, "opposite": {"after": {"mean": 1 - score}}}
        (pilot.folder / "summary.json").write_text(json.dumps({"sources": sources, "steps": pilot.config.run.steps}))


TRUTH = Quadratic(np.array([0.45, 0.5, 0.4]), np.array([[0, 0.4, 0.5], [0.4, 0, 0.3], [0.5, 0.3, 0]]))
BEST = TRUTH.maximiser(np.zeros(3), np.ones(3))


@pytest.fixture
def planned(tmp_path: Path, write_run) -> Path:
    folder = tmp_path / "mix"
    assert mix("plan", write_run(*SOURCES), "--out", folder) == 0
    return folder


# --- plan and run -----------------------------------------------------------------------------------------


def test_a_plan_is_run_files(tmp_path: Path, write_run, capsys: pytest.CaptureFixture[str]) -> None:
    run_file, folder = write_run(*SOURCES), tmp_path / "mix"
    flags = ["--bounds", "ocr=0.2:0.6", "counting=0:0.5", "--pilots=8", "--seeds", "2", "--learner.weight_decay", "0.1"]
    flags += ["--sampler.source_weights", "{ocr = 2, grounding = 1, counting = 1}"]
    assert mix("plan", run_file, "--out", folder, *flags) == 0
    assert "16 pilots" in capsys.readouterr().out
    configs = [load_run([str(folder / "run.toml"), str(file)]) for file in sorted(folder.glob("pilot_*.toml"))]
    weights = [tuple(config.sampler.source_weights[source] for source in SOURCES) for config in configs]
    assert weights[:2] == [(0.5, 0.25, 0.25)] * 2, "the run's own mixture comes first"
    assert len(set(weights)) == 8
    assert [config.run.seed for config in configs] == [0, 1] * 8
    assert len({config.run.name for config in configs}) == 16
    assert all(sum(w) == pytest.approx(1) for w in weights)
    assert all(0.2 <= ocr <= 0.6 and 0 <= counting <= 0.5 for ocr, _, counting in weights)
    assert all(config.learner.weight_decay == 0.1 for config in configs)


def test_plans_that_cannot_work_are_refused(tmp_path: Path, write_run, capsys: pytest.CaptureFixture[str]) -> None:
    run_file = write_run(*SOURCES)
    for flags, complaint in {
        ("--pilots", "6"): "3 sources need 7 or more",
        ("--bounds", "ocrr=0:1"): "no source 'ocrr'; did you mean 'ocr'",
        ("--bounds", "ocr=0:0.2", "counting=0:0.2", "grounding=0:0.2"): "no weights within them sum to 1",
        ("--data.heldout", "[]"): "data.heldout",
        ("--eval.modes", '["greedy"]'): "eval.modes",
        ("--data.train", '[{recipe = "synthetic", n = 2, sources = ["ocr"]}]'): "holds 1 sources (ocr)",
        ("--sampler.stages", "[{until = 1.0, source_weights = {ocr = 1.0}}]"): "sampler.stages.0.source_weights",
    }.items():
        assert complaint in refusal(capsys, "plan", run_file, "--out", tmp_path / "mix", *flags)
        assert not (tmp_path / "mix").exists()


@pytest.mark.parametrize(
    ("flag", "value"), [("--bounds", "ocr=0.5:0.2"), ("--bounds", "0:1"), ("--seeds", "0"), ("--pilots", "many")]
)
def test_values_that_cannot_be_read_are_refused(flag, value, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        mix("plan", "run.toml", "--out", "mix", flag, value)
    assert f"argument {flag}: expected" in capsys.readouterr().err


@pytest.mark.slow
def test_pilots_are_ordinary_runs_that_go_on_where_they_were_stopped(
    tmp_path: Path, write_run, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "mix"
    assert mix("plan", write_run("ocr", "counting"), "--out", folder, "--pilots", "4", "--run.steps", "2") == 0
    for overlay in sorted(folder.glob("pilot_*.toml"))[2:]:
        overlay.unlink()
    assert refusal(capfd, "fit", folder).endswith("`vlmrl data mix run " + f"{folder}` goes on\n")
    runs = [folder / "runs" / name for name in ("pilot_00", "pilot_01")]
    command = subprocess.Popen([sys.executable, "-m", "vlmrl.cli", "data", "mix", "run", str(folder)])
    while not (runs[0] / "metrics.jsonl").exists():
        assert command.poll() is None
        time.sleep(0.1)
    command.terminate()
    assert command.wait() == 130
    assert not runs[1].exists()
    assert mix("run", folder) == 0
    drawn = [
        tuple(sum(row.get(f"source/{name}/groups", 0) for row in read_metrics(run)) for name in ("ocr", "counting"))
        for run in runs
    ]
    assert drawn == [(4, 4), (8, 0)]
    finished = [(run / "summary.json").stat().st_mtime_ns for run in runs]
    assert mix("run", folder) == 0
    assert [(run / "summary.json").stat().st_mtime_ns for run in runs] == finished
    assert "2 mixtures cannot be fitted and tested; 4 or more can" in refusal(capfd, "fit", folder)


# --- fit --------------------------------------------------------------------------------------------------


def test_fit_writes_the_best_weights_as_an_overlay(planned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finish(planned, TRUTH, noise=0.002)
    assert mix("fit", planned, "--objective", "good=1") == 0
    printed = capsys.readouterr().out
    assert printed.strip() == (planned / "report.md").read_text().strip()
    weights = load_run([str(planned / "run.toml"), str(planned / "weights.toml")]).sampler.source_weights
    assert list(weights) == list(SOURCES)
    np.testing.assert_allclose(list(weights.values()), BEST, atol=0.05)
    base, best = (TRUTH(np.array([w]))[0] for w in ([1 / 3] * 3, BEST))
    gain = float(printed.partition("Predicted gain ")[2].split(",")[0])
    assert gain == pytest.approx(best - base, abs=0.004)
    rows = {row[1]: row for row in (line.split("|") for line in printed.splitlines()) if len(row) > 2}
    rows = {name.strip(): [cell.strip() for cell in row[2:-1]] for name, row in rows.items()}
    assert float(rows["good"][2]) == -float(rows["opposite"][2]) == gain
    measured = [float(rows[f"pilot_{n:02d}"][3]) for n in range(10)]
    left_out = [float(rows[f"pilot_{n:02d}"][5]) for n in range(10)]
    rmse = float(np.sqrt(np.mean((np.array(measured) - left_out) ** 2)))
    assert f"RMSE {rmse:.4f}"[:-1] in printed


def emptied(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    "damage",
    [
        emptied,
        replace_by_folder,
        *(
            pytest.param(lambda path, text=text: path.write_text(text), id=text)
            for text in (
                "[[[",
                "5",
                "{}",
                '{"sources": 3}',
                '{"sources": {}, "steps": 1}',
                "[run]\nname = 3",
                "[sampler]\nsource_weights = 3",
                '{"sources": {"good": {"after": {"mean": NaN}}}, "steps": 1}',
            )
        ),
    ],
)
@pytest.mark.parametrize(
    "name", ["plan.json", "run.toml", "pilot_03.toml", "runs/pilot_03/config.toml", "runs/pilot_03/summary.json"]
)
def test_a_damaged_file_is_one_line(planned: Path, capsys, name: str, damage: Callable[[Path], object]) -> None:
    finish(planned, TRUTH)
    damage(planned / name)
    for command in ("fit", "run"):
        error = refusal(capsys, command, planned, *(["--objective", "good=1"] if command == "fit" else []))
        assert error.startswith("vlmrl: ")
        assert str(planned) in error


def test_a_pilot_whose_scores_have_changed_is_refused(planned: Path, capsys) -> None:
    finish(planned, TRUTH)
    pilot = planned / "runs" / "pilot_03"
    (pilot / "run.json").write_text("{}")
    Records(pilot).write(finished=True)
    assert mix("fit", planned, "--objective", "good=1") == 0
    flip(pilot / "summary.json")
    assert "summary.json: is not as the run wrote it" in refusal(capsys, "fit", planned, "--objective", "good=1")


def test_fit_weighs_the_held_out_sources(planned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finish(planned, TRUTH)
    assert "all pilots score 0.5" in refusal(capsys, "fit", planned)
    assert mix("fit", planned, "--objective", "good=1", "opposite=3") == 0
    weights = tomllib.loads((planned / "weights.toml").read_text())["sampler"]["source_weights"]
    assert weights == {"ocr": 0.0, "grounding": 0.0, "counting": 1.0}, "where the first source scores least"
    assert "no held-out source 'goods'; did you mean 'good'" in refusal(
        capsys, "fit", planned, "--objective", "goods=1"
    )


def test_fit_averages_seeds(tmp_path: Path, write_run, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "mix"
    assert mix("plan", write_run(*SOURCES), "--out", folder, "--seeds", "3") == 0
    finish(folder, TRUTH, noise=0.002)
    assert mix("fit", folder, "--objective", "good=1") == 0
    assert "10 mixtures" in capsys.readouterr().out


def test_fit_refuses_noise_and_withdraws_earlier_weights(planned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (planned / "weights.toml").write_text("# of an earlier fit")
    finish(planned, TRUTH, noise=0.01, score_noise_only=True)
    error = refusal(capsys, "fit", planned, "--objective", "good=1")
    assert "predicted badly (R2 " in error
    assert ", below 0.5;" in error
    assert not (planned / "weights.toml").exists()
    report = (planned / "report.md").read_text()
    assert "**No weights are written:**" in report
    assert "| pilot_09 |" in report
    assert mix("fit", planned, "--objective", "good=1", "--min-r2", "-10") == 0


def test_fit_refuses_to_leave_what_the_pilots_cover(planned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without the single sources' pilots, but with one more inside, the best weights lie outside of the others."""
    truth = Quadratic(np.array([0.4, 0.5, 0.9]), np.zeros((3, 3)))
    overlay = tomllib.loads((planned / "pilot_03.toml").read_text())
    for number, weights in ((1, (0.2, 0.4, 0.4)), (2, (0.5, 0.25, 0.25)), (3, (0.3, 0.5, 0.2)), (4, (0.1, 0.7, 0.2))):
        overlay["run"]["name"] = f"pilot_{number:02d}"
        overlay["sampler"]["source_weights"] = dict(zip(SOURCES, weights, strict=True))
        (planned / f"pilot_{number:02d}.toml").write_text(tomli_w.dumps(overlay))
    for pilot in Plan.open(str(planned)).pilots:
        if max(pilot.weights.values()) > 0.75:
            pilot.overlay.unlink()
    finish(planned, truth)
    error = refusal(capsys, "fit", planned, "--objective", "good=1")
    assert "(ocr 0.00, grounding 0.00, counting 1.00) are outside of the pilots" in error
    assert not (planned / "weights.toml").exists()


def test_fit_refuses_pilots_that_cannot_be_compared(planned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finish(planned, TRUTH)
    folder = planned / "runs" / "pilot_04"

    def refused(file: Path, change: Callable[[dict[str, Any]], Any], complaint: str) -> None:
        whole = file.read_text()
        load, dump = (tomllib.loads, tomli_w.dumps) if file.suffix == ".toml" else (json.loads, json.dumps)
        content = load(whole)
        change(content)
        file.write_text(dump(content))
        error = refusal(capsys, "fit", planned)
        assert complaint in error
        assert str(file) in error or str(folder) in error
        file.write_text(whole)

    summary = folder / "summary.json"
    refused(summary, lambda s: s["sources"].pop("good"), "was evaluated on opposite, not good, opposite")
    refused(summary, lambda s: s.update(steps=0), "ended after 0 steps, not 1; ")
    refused(summary, lambda s: s["sources"]["good"].update(after={"n": 0}), "good has no score after training")
    weights = {"ocr": 0.1, "grounding": 0.2, "counting": 0.7}
    refused(folder / "config.toml", lambda c: c["sampler"].update(source_weights=weights), "was trained with")
    overlay = planned / "pilot_04.toml"
    refused(overlay, lambda o: o["sampler"].update(source_weights={"ocr": 1.0, "math": 1.0}), "not ocr, grounding, co")
    summary.unlink()
    assert f"{summary}: missing, the pilot is not done" in refusal(capsys, "fit", planned)
    assert "`vlmrl data mix plan RUN.toml" in refusal(capsys, "fit", planned / "runs")
