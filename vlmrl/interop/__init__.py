"""Interop: any verifier or composite as the reward of TRL, ms-swift, verl, EasyR1 or slime.

    GRPOTrainer(reward_funcs=interop.trl("math"), ...)             TRL
    orms["math"] = interop.swift("math")                           ms-swift, in a plugin file
    compute_score = interop.verl("math", unscored=0.0)             verl, in the file of the reward function
    compute_score = interop.easyr1("math", unscored=0.0)           EasyR1, likewise
    custom_rm = interop.slime("math")                              slime, --custom-rm-path my_file.custom_rm

The first argument is a verifier's name; or a spec or list of specs, as in a sample's `reward`; or an object with
either for each data source; or nothing, where each row has specs of its own in the column `reward`. A target that
a spec leaves out comes from `column`. Other columns are named in the spec:
`{"verifier": "choice", "columns": {"target": "answer", "choices": "options"}}`.

Answers are judged in worker processes, started at the first answer and shared by all rewards of this process, or by
the `CallRunner` given as `run`: `reward.run_calls` (no isolation), `workers.Workers(...)`, `remote.Remote(...)`.
docs/interop.md tells how each toolkit calls, and what an answer that could not be judged becomes there.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

from vlmrl.errors import UserError
from vlmrl.interop.columns import Answer, ColumnReward, Row, Specs
from vlmrl.rewards.calls import CallRunner
from vlmrl.verdict import Member, Verdict


def trl(
    reward: Specs | None = None, *, column: str = "solution", run: CallRunner | None = None, processor: Any = None
) -> TrlReward:
    """A reward function of TRL's GRPOTrainer or RLOOTrainer. Boxes and points need the trainer's `processor`."""
    return TrlReward(ColumnReward(reward, column, run, processor))


def swift(
    reward: Specs | None = None, *, column: str = "solution", run: CallRunner | None = None, processor: Any = None
) -> type:
    """A reward class of ms-swift, to be put into its `orms`. `processor`: as for `trl`."""
    made = ColumnReward(reward, column, run, processor)
    return type(made.name, (_SwiftReward,), {"reward": made})


def verl(
    reward: Specs | None = None,
    *,
    column: str = "ground_truth",
    unscored: float | None = None,
    run: CallRunner | None = None,
) -> VerlReward:
    """A `compute_score` of verl. `unscored`: what an answer gets that could not be judged; None is a `UserError`."""
    return VerlReward(ColumnReward(reward, column, run), unscored)


def easyr1(
    reward: Specs | None = None,
    *,
    column: str = "ground_truth",
    unscored: float | None = None,
    run: CallRunner | None = None,
) -> EasyR1Reward:
    """A `compute_score` of EasyR1, for batches and for single answers; `unscored` as of `verl`."""
    return EasyR1Reward(ColumnReward(reward, column, run), unscored)


def slime(
    reward: Specs | None = None, *, column: str = "label", unscored: float | None = None, run: CallRunner | None = None
) -> SlimeReward:
    """A custom reward of slime; `unscored`, as of `verl`, is needed without `--group-rm` alone."""
    return SlimeReward(ColumnReward(reward, column, run), unscored)


# --- what the toolkits call -------------------------------------------------------------------------------


class TrlReward:
    """Called with the answers of this process; None for one that could not be judged."""

    def __init__(self, reward: ColumnReward) -> None:
        self.reward = reward
        self.__name__ = reward.name

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]] | None = None,
        *,
        log_metric: Callable[[str, float], None] | None = None,
        log_extra: Callable[[str, list[Any]], None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        lengths = map(len, completion_ids) if completion_ids else [None] * len(completions)
        members = [Member(_text(c), length) for c, length in zip(completions, lengths, strict=True)]
        answers = list(map(Answer, _transposed(columns, len(completions)), members, prompts))
        grouped = self.reward.may_need_groups()
        verdicts = self.reward.groups(answers, list) if grouped else self.reward.alone(answers)
        if log_metric:
            for name, value in _metrics(verdicts).items():
                if name != self.__name__:  # TRL logs the score itself
                    log_metric(f"{self.__name__}/{name}", value)
        if log_extra:
            log_extra(f"{self.__name__}/answer", [verdict.answer for verdict in verdicts])
            log_extra(f"{self.__name__}/why", [verdict.why for verdict in verdicts])
        return [verdict.score for verdict in verdicts]


class _SwiftReward:
    """Called as TRL's. ms-swift takes None for 0, so that an answer that could not be judged gets the group's mean."""

    reward: ColumnReward

    def __init__(self, args: Any = None, **_: Any) -> None:
        self.args = args

    def __call__(self, completions: Sequence[str], **columns: Any) -> list[float | None]:
        answers = []
        for completion, row in zip(completions, _transposed(columns, len(completions)), strict=True):
            prompt = row.get("prompt_id") or (row.get("messages") or [])[:-1]
            answers.append(Answer(row, Member(completion, _token_count(row.get("response_token_ids"))), prompt))
        return self.reward.groups(answers, _neutral)


class VerlReward:
    """Called for each answer alone. verl stacks what it gets over the batch: the keys are always the same."""

    def __init__(self, reward: ColumnReward, unscored: float | None) -> None:
        reward.refuse_group_level(reward.templates)
        self.reward = reward
        self.unscored = unscored
        self.__name__ = "compute_score"

    def __call__(
        self, data_source: str, solution_str: str, ground_truth: Any, extra_info: Row | None = None, **_: Any
    ) -> dict[str, Any]:
        row = {**(extra_info or {}), "data_source": data_source, "ground_truth": ground_truth}
        (verdict,) = self.reward.alone([Answer(row, Member(solution_str))])
        score = _number(verdict, self.unscored)
        return {"score": score, "acc": score, "pred": verdict.answer or "", **_parts(self.reward, verdict, score)}


class EasyR1Reward:
    """Called for a batch, or for one answer; the keys are always the same."""

    def __init__(self, reward: ColumnReward, unscored: float | None) -> None:
        reward.refuse_group_level(reward.templates)
        self.reward = reward
        self.unscored = unscored
        self.__name__ = "compute_score"

    def __call__(self, inputs: Row | Sequence[Row], **_: Any) -> Any:
        if isinstance(inputs, Mapping):
            return self([inputs])[0]
        verdicts = self.reward.alone([Answer(row, Member(row["response"], row["response_length"])) for row in inputs])
        scores = [_number(verdict, self.unscored) for verdict in verdicts]
        return [{"overall": s, **_parts(self.reward, v, s)} for v, s in zip(verdicts, scores, strict=True)]


class SlimeReward:
    """Called for one sample, or for the list of a group; one that could not be judged is not trained on."""

    def __init__(self, reward: ColumnReward, unscored: float | None) -> None:
        self.reward = reward
        self.unscored = unscored
        self.__name__ = reward.name

    async def __call__(self, args: Any, samples: Any, **_: Any) -> Any:
        grouped = isinstance(samples, list)
        members = samples if grouped else [samples]
        answers = [
            Answer({**(s.metadata or {}), "label": s.label}, Member(s.response, s.response_length)) for s in members
        ]
        verdicts = await asyncio.to_thread(self.reward.group if grouped else self.reward.alone, answers)
        for sample, verdict in zip(members, verdicts, strict=True):
            sample.remove_sample = sample.remove_sample or verdict.score is None
        return [score or 0.0 for score in _neutral(verdicts)] if grouped else _number(verdicts[0], self.unscored)


def _text(completion: Any) -> str:
    """The response in a completion: text, or chat turns of which the last is the answer."""
    if isinstance(completion, str):
        return completion
    turn = completion[-1] if completion else {}
    content = turn.get("content") or ""
    if not isinstance(content, str):
        content = "".join(part.get("text") or "" for part in content)
    thinking = turn.get("reasoning_content") or turn.get("thinking")
    return f"<think>{thinking}</think>{content}" if thinking else content


def _token_count(ids: Any) -> int | None:
    """The length of a response whose tokens come as one list, or as a list for each turn."""
    return sum(map(len, ids)) if ids and isinstance(ids[0], list) else len(ids) if ids else None


def _transposed(columns: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    lists = {name: values for name, values in columns.items() if isinstance(values, list) and len(values) == count}
    return [{name: values[i] for name, values in lists.items()} for i in range(count)]


def _metrics(verdicts: Sequence[Verdict]) -> dict[str, float]:
    """The mean of each part over the verdicts that have it, and the share of answers that could not be judged."""
    parts: defaultdict[str, list[float]] = defaultdict(list)
    for verdict in verdicts:
        for name, value in verdict.parts.items():
            parts[name].append(value)
    return {name: fmean(values) for name, values in parts.items()} | {
        "unscored": fmean(verdict.score is None for verdict in verdicts)
    }


def _neutral(verdicts: Sequence[Verdict]) -> list[float | None]:
    """The scores of a group; what could not be judged gets the mean of the others: no advantage. None without any."""
    scores = [verdict.score for verdict in verdicts]
    known = [score for score in scores if score is not None]
    return [fmean(known) if score is None and known else score for score in scores]


def _number(verdict: Verdict, unscored: float | None) -> float:
    """The score, or what stands for it; `UserError` if nothing does."""
    score = unscored if verdict.score is None else verdict.score
    if score is None:
        raise UserError(f"an answer was not judged ({verdict.why}); correct that, or say what it gets: unscored=0.0")
    return float(score)


def _parts(reward: ColumnReward, verdict: Verdict, score: float) -> dict[str, float]:
    """What verl and EasyR1 log beside the score: `unscored`, and the score of each verifier if there are several.

    A verifier without a score of its own has that of the whole.
    """
    several = reward.verifiers if len(reward.verifiers) > 1 else ()
    return {name: verdict.parts.get(name, score) for name in several} | {"unscored": float(verdict.score is None)}
