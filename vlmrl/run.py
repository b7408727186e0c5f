"""From Python, without a command line: a run, and verdicts on answers. docs/python.md is the tour.

run = Run.load("quickstart", {"run.steps": 100})
summary = run.train()
run.evaluate(run.folder / "model")
verifier("math")("It is 4.", "4")
score([{"verifier": "math", "response": "It is 4.", "target": "4"}])
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from vlmrl import catalog, user_verifiers
from vlmrl.config.run_file import RunConfig, load_run
from vlmrl.data.frames import answered
from vlmrl.errors import UserError
from vlmrl.rewards.call_rows import score_rows
from vlmrl.rewards.calls import Call, check_params, run_call
from vlmrl.rewards.workers import Workers
from vlmrl.verdict import Member, Verdict

Own = str | Path | Callable[..., Any]
"""A verifier of the user: a path as `--verifiers-path` takes it, or a reward function that can be imported."""


class Run:
    """A run, as a run file describes it. `config` holds all of its settings, `folder` all that it leaves."""

    def __init__(self, config: RunConfig) -> None:
        catalog.add_verifiers(*config.reward.verifiers_path)
        self.config = config
        self.folder = Path(config.run.folder) / config.run.name

    @classmethod
    def load(cls, *layers: str | Path | Mapping[str, Any], verifiers: Sequence[Own] = ()) -> Run:
        """A run from run files (a path, or the name of a shipped one) and settings; a later one wins.

        Settings are nested as in the file, or named with dots: `{"run.steps": 100}`. `verifiers` are added to
        `reward.verifiers_path`; the data name them in their rewards. `UserError` names the field and the value.
        """
        config = load_run([str(layer) if isinstance(layer, Path) else layer for layer in layers])
        if verifiers:
            paths = *config.reward.verifiers_path, *map(_path, verifiers)
            config = config.model_copy(update={"reward": config.reward.model_copy(update={"verifiers_path": paths})})
        return cls(config)

    def dry_run(self) -> None:
        """Checks settings, data and prompt lengths and prints what it finds; `UserError` for what would stop it."""
        from vlmrl.train.dry_run import check_run

        check_run(self.config)

    def train(self, resume: bool = False, changed_data: Literal["keep", "reload"] | None = None) -> dict[str, Any]:
        """Trains into `folder`; returns what its `summary.json` holds.

        `resume` goes on from the latest checkpoint. If data or media files have changed since the start,
        `changed_data` says whether the run keeps its copy of the rows or reloads them. A Ctrl-C, or the interrupt of a
        notebook, ends the step, saves and raises `KeyboardInterrupt`.
        """
        from vlmrl.train import trainer

        if trainer.run(self.config, resume, changed_data) != 0:
            raise KeyboardInterrupt
        return json.loads((self.folder / "summary.json").read_text(encoding="utf-8"))

    def evaluate(self, model: str | Path | None = None) -> dict[str, dict[str, dict[str, float]]]:
        """Held-out reward of a model: {source: {mode: {"mean", "low", "high", "n"}}}, the source `all` pools them.

        `model` is the run's own where it is left out, as it was before training; `run.folder / "model"` is the trained
        one. Prompts, decoding and seeds are those of the evaluations inside the run; `n` counts the answers that
        could be judged.
        """
        from vlmrl.evaluate.heldout import evaluate_model

        path = self.config.model.path if model is None else str(model)
        return evaluate_model(
            self.config.model_copy(update={"model": self.config.model.model_copy(update={"path": path})})
        )


def verifier(name: Own) -> Callable[..., Verdict]:
    """A verifier as a function `(response, target, **params) -> Verdict`, which runs in this process.

    `name` is one that `vlmrl list verifiers` shows, or your own: "my_verifier.py", "my_rewards.py:polite", or the
    function. An exception inside it becomes an unscored verdict. Nothing interrupts one that hangs: `score` does.
    """
    known = _known(name)
    default = catalog.default_target(known)

    def judge(response: str, target: Any = default, **params: Any) -> Verdict:
        if target is inspect.Parameter.empty:
            raise UserError(f"{known}: target: missing; give it after the response")
        check_params(known, params)
        return run_call(Call(known, (Member(response),), target, params))[0]

    return judge


def score(
    rows: Iterable[Mapping[str, Any]],
    *,
    verifiers: Sequence[Own] = (),
    workers: int | None = None,
    deadline: float = 5.0,
    memory_mb: int = 1024,
    model: str | None = None,
    max_pixels: int | None = None,
) -> list[dict[str, Any]]:
    """The rows, each with `score` (None: unscored), `status`, `answer`, `parts` and `why`, as from `vlmrl score`.

    A row is {verifier, response, target, params?}, or a row of a data set with a `response` to it, whose whole
    `reward` is judged. Answers are judged in `workers` processes that are killed after `deadline` seconds or above
    `memory_mb` for one response. `model`, a folder or hub id, wrote the answers to images of at most `max_pixels`:
    places in them are read in its coordinates; without it, in those that the row states. `UserError` names the row
    and field that is wrong.
    """
    catalog.add_verifiers(*map(_path, verifiers))
    numbered = [(f"row {number}", {"id": str(number)} | dict(row)) for number, row in enumerate(rows)]
    frames = answered
    if model is not None:
        from vlmrl.models.policy import answer_frames

        frames = answer_frames(model, max_pixels)
    with Workers(workers, deadline, memory_mb) as run:
        return score_rows(numbered, run, frames=frames)


def _path(own: Own) -> str:
    return str(own) if isinstance(own, str | Path) else user_verifiers.function_path(own)


def _known(name: Own) -> str:
    """The name of a verifier, which is known from here on."""
    path = _path(name)
    if ".py" in path:
        return catalog.add_verifiers(path)[0]
    catalog.load("verifiers", path)
    return path
