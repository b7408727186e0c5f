"""Pilot runs: find good weights of the data sources by short runs that differ in nothing but those weights.

    vlmrl data mix plan run.toml --out mix --run.steps 50      mix/run.toml, mix/pilot_00.toml, ...
    vlmrl data mix run mix                                     trains them one after another; the same command goes on
    vlmrl data mix fit mix                                     mix/report.md, mix/weights.toml
    vlmrl train run.toml mix/weights.toml

A pilot is an ordinary run, `vlmrl train mix/run.toml mix/pilot_03.toml`, and any machine that sees the folder may train
it. `fit.py` has the mathematics, `report.py` the report, docs/mixtures.md how to read it.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import numpy as np
import tomli_w

from vlmrl.config.run_file import RunConfig, load_run
from vlmrl.curriculum.mixture import fit
from vlmrl.curriculum.mixture.pilot_files import planned_sources, stored_summary, trained_weights
from vlmrl.data.dataset import entry_samples
from vlmrl.errors import UserError, nearest
from vlmrl.files import whole_file

Bounds = tuple[float, float]
MAX_SOURCES = 12
"""Beyond them there are more coefficients (M (M + 1) / 2) than anyone trains pilots."""


@dataclass(frozen=True)
class Pilot:
    """One planned run."""

    overlay: Path
    config: RunConfig

    @property
    def folder(self) -> Path:
        return Path(self.config.run.folder) / self.config.run.name

    @property
    def weights(self) -> dict[str, float]:
        return self.config.sampler.source_weights


@dataclass(frozen=True)
class Plan:
    """The folder that `plan` wrote: the run without its mixture, the sources, the pilots."""

    folder: Path
    sources: dict[str, dict[str, float]]
    """For each source its `base` weight, the one it has in the run, and the bounds `low` and `high`."""
    pilots: list[Pilot]

    @classmethod
    def open(cls, folder: str) -> Plan:
        """`UserError` if there is no plan, or a pilot's overlay names other sources."""
        path = Path(folder) / "plan.json"
        if not path.is_file():
            raise UserError(f"{path}: no such file; `vlmrl data mix plan RUN.toml --out {folder}` writes it")
        sources = planned_sources(path)
        overlays = sorted(path.parent.glob("pilot_*.toml"))
        pilots = [Pilot(file, load_run([str(path.with_name("run.toml")), str(file)])) for file in overlays]
        for pilot in pilots:
            if pilot.weights.keys() != sources.keys():
                named = ", ".join(pilot.weights) or "none"
                raise UserError(f"{pilot.overlay}: sampler.source_weights names {named}, not {', '.join(sources)}")
        return cls(path.parent, sources, pilots)

    def column(self, key: str) -> np.ndarray:
        """[M]: `base`, `low` or `high` of the sources."""
        return np.array([source[key] for source in self.sources.values()])


# --- plan -------------------------------------------------------------------------------------------------


def plan(
    files: Sequence[str],
    overrides: Sequence[str],
    out: str,
    pilots: int | None = None,
    seeds: int = 1,
    bounds: Mapping[str, Bounds] | None = None,
) -> int:
    """Writes the run files of the pilots into the folder `out`; returns how many there are.

    pilots: different mixtures; by default as many as the predictor has coefficients, one more, and one for each
    corner of the region. seeds: runs of each mixture. bounds: of some sources' weights; the others go from 0 to 1.
    """
    config = load_run(files, overrides)
    _check_run(config)
    folder = Path(out)
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder}: not empty; delete it, or name another --out")
    sources = _sources(config, bounds or {})
    low_M, high_M, base_M = (np.array([s[key] for s in sources.values()]) for key in ("low", "high", "base"))
    if not len(fit.vertices(low_M, high_M)):
        raise UserError(f"--bounds: no weights within them sum to 1 (sums: {low_M.sum():g} to {high_M.sum():g})")
    least = fit.least_pilots(low_M, high_M)
    if pilots is not None and pilots < least:
        raise UserError(f"--pilots: {pilots} cannot be fitted and tested; {len(sources)} sources need {least} or more")
    weights_NM = fit.design(low_M, high_M, base_M, pilots)
    write_text(folder / "run.toml", tomli_w.dumps(config.model_dump(mode="json", exclude_none=True)))
    for number, (weights_M, seed) in enumerate((w, s) for w in weights_NM for s in range(seeds)):
        name = f"pilot_{number:02d}"
        run = {"name": name, "folder": str(folder / "runs"), "seed": config.run.seed + seed}
        weights = dict(zip(sources, weights_M.round(6).tolist(), strict=True))
        write_text(folder / f"{name}.toml", tomli_w.dumps({"run": run, "sampler": {"source_weights": weights}}))
    write_text(folder / "plan.json", json.dumps({"sources": sources}, indent=2) + "\n")
    return len(weights_NM) * seeds


def _check_run(config: RunConfig) -> None:
    """`UserError` if weights would not act on this run, or no score would come out of it."""
    if not config.data.heldout or "sampled" not in config.eval.modes:
        raise UserError("data.heldout, eval.modes: pilots are compared by the sampled held-out score; let there be one")
    for number, stage in enumerate(config.sampler.stages):
        if "source_weights" in stage.model_fields_set:
            raise UserError(f"sampler.stages.{number}.source_weights: overrides a mixture; take it out to find one")


def _sources(config: RunConfig, bounds: Mapping[str, Bounds]) -> dict[str, dict[str, float]]:
    counts = Counter(sample.source for entry in config.data.train for sample in entry_samples(entry))
    if not 2 <= len(counts) <= MAX_SOURCES:
        raise UserError(f"data.train: holds {len(counts)} sources ({', '.join(counts)}); mix 2 to {MAX_SOURCES}")
    for name in bounds:
        if name not in counts:
            raise UserError(f"--bounds: data.train has no source {name!r}{nearest(name, counts)}")
    limits = {name: bounds.get(name, (0.0, 1.0)) for name in counts}
    shares = config.sampler.shares(counts)
    return {name: {"base": shares[name], "low": low, "high": high} for name, (low, high) in limits.items()}


def write_text(path: Path, text: str) -> None:
    """A small text file, whole or not at all."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


# --- run --------------------------------------------------------------------------------------------------


def run(folder: str) -> int:
    """Trains the pilots that are not done; 0 when all are, else what `vlmrl train` returned."""
    planned = Plan.open(folder)
    for number, pilot in enumerate(planned.pilots, 1):
        if not (pilot.folder / "summary.json").exists():
            weights = ", ".join(f"{name} {weight:.3g}" for name, weight in pilot.weights.items())
            print(f"pilot {number} of {len(planned.pilots)}: {weights}", file=sys.stderr, flush=True)
            if code := _train(planned.folder / "run.toml", pilot.overlay, resume=pilot.folder.exists()):
                return code
        heldout_scores(pilot)
    return 0


def _train(*files: Path, resume: bool) -> int:
    """`vlmrl train` in a process of its own, so that a pilot starts with an empty device, as any run does.

    To stop this is to stop the run, which saves first: Ctrl-C reaches both processes, SIGTERM is handed on.
    """
    flags = ["--resume"] if resume else []
    child = subprocess.Popen([sys.executable, "-m", "vlmrl.cli", "train", *map(str, files), *flags])
    stops: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        stops.append(number)
        if number == signal.SIGTERM:
            child.terminate()

    earlier = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        code = child.wait()
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
    if code < 0 and not stops:
        raise UserError(f"{files[-1]}: its run was killed by signal {-code}; the same command goes on")
    return 130 if stops else code


def heldout_scores(pilot: Pilot) -> dict[str, float]:
    """The sampled held-out score of each source after a pilot; `UserError` if it is not done as planned."""
    path = pilot.folder / "summary.json"
    if not path.is_file():
        raise UserError(f"{path}: missing, the pilot is not done; `vlmrl data mix run {pilot.overlay.parent}` goes on")
    trained = trained_weights(pilot.folder / "config.toml")
    if trained != pilot.weights:
        raise UserError(f"{pilot.folder}: was trained with {trained}, not as {pilot.overlay} says; delete one of them")
    summary = stored_summary(path)
    if summary["steps"] != pilot.config.run.steps:
        wanted = f"{summary['steps']} steps, not {pilot.config.run.steps}"
        raise UserError(f"{path}: ended after {wanted}; pilots need equal steps: plan without run.max_minutes")
    for source, entry in summary["sources"].items():
        if "mean" not in entry["after"]:
            raise UserError(f"{path}: {source} has no score after training; see why its answers are unscored")
    return {source: entry["after"]["mean"] for source, entry in summary["sources"].items()}
