"""Settings of earlier versions: where each is now, or why there is none.

A run file or flag with an earlier name is refused, with the name of today. The config.toml of a run folder is
translated, so that `--resume` goes on with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vlmrl.errors import UserError


@dataclass(frozen=True)
class Gone:
    """A setting that was deleted."""

    was: Any
    """Its default, which is what every run has now."""
    instead: str = "leave it out"


THRESHOLDS = Gone(None, "write agreement.tolerance, a factor on all thresholds")
MOVED: dict[str, str | Gone] = {
    "run.export": Gone("bfloat16"),
    "run.rollouts_mb": Gone(512.0),
    "data.train.difficulty": Gone(1, "write the samples to a file with `vlmrl data build --difficulty`"),
    "data.heldout.difficulty": Gone(1, "write the samples to a file with `vlmrl data build --difficulty`"),
    "model.lora.dropout": Gone(0.0),
    "model.min_pixels": Gone(None),
    "model.freeze_vision": "model.freeze_towers",
    "sampler.admit.graded_pass_rate": "sampler.admit",
    "sampler.admit.pass_rate": Gone([0.0, 1.0], "write sampler.admit, which bounds the graded pass rate"),
    "sampler.admit.max_length": Gone(None),
    "sampler.admit.max_visits": Gone(None),
    "reward.schedules.least": Gone(0.0),
    "rollout.vllm.cpu_kv_cache_gb": Gone(1.0),
    "rollout.vllm.tensor_parallel_size": Gone(1),
    "objective.unbiased_std": Gone(True, 'write objective.scale = "biased_std" for false'),
    "objective.pcurl_until": "objective.pcurl.until",
    "objective.pcurl_all_wrong": "objective.pcurl.all_wrong",
    "objective.observe_sigma": "objective.observe_r1.sigma",
    "objective.nft_weight": "objective.nft.weight",
    "objective.nft_negative": "objective.nft.negative",
    "objective.min_advantage": "objective.loop.min_advantage",
    "objective.macro": "objective.ma_rlhf.macro",
    "objective.macro_length": "objective.ma_rlhf.length",
    "objective.gae_lambda": "objective.ma_rlhf.gae_lambda",
    "objective.hicra_alpha": "objective.hicra.alpha",
    "objective.planning_ngrams": "objective.hicra.planning_ngrams",
    "objective.exploration_power": "objective.rl_plus.exploration_power",
    "objective.top_entropy": "objective.high_entropy.share",
    "objective.entropy_scope": "objective.high_entropy.scope",
    "objective.denominator": "objective.high_entropy.denominator",
    "objective.denominator_scope": Gone("update", 'write objective.aggregation = "group" for "group"'),
    "objective.correction": "objective.tis.correction",
    "objective.correction_cap": "objective.tis.cap",
    "objective.correction_level": Gone("token"),
    "objective.sapo_temperature_positive": "objective.sapo.temperature_positive",
    "objective.sapo_temperature_negative": "objective.sapo.temperature_negative",
    "objective.hint_loss": Gone("guide"),
    "objective.hint_quantile": "objective.guide.quantile",
    "objective.demo_loss": Gone("rl_plus"),
    "objective.kl_schedule": "objective.visionary_r1.kl_schedule",
    "learner.share_prompt": Gone(True),
    "agreement.warn": THRESHOLDS,
    "agreement.warn_kl": THRESHOLDS,
    "agreement.stop": THRESHOLDS,
    "agreement.stop_kl": THRESHOLDS,
    "eval.batch": Gone(256),
    "sft.patch_weight": Gone(8.0),
    "sft.transforms": Gone([], "write sft.thought_dropout, the chance of a demonstration to lose its thought"),
}
Path = tuple[str | int, ...]
"""Keys of a setting in nested tables; a number is a place in a list."""


def refuse_moved(config: Mapping[str, Any], where: str) -> None:
    """`UserError` for the first setting that has an earlier name; it says what to write now."""
    for path, _ in _leaves(config):
        moved = MOVED.get(_name(path))
        if isinstance(moved, str):
            raise UserError(f"{where}: {_name(path)}: is now {moved}; rename it")
        if moved is not None:
            always = f", its value is always {moved.was!r}" if moved.was not in (None, []) else ""
            raise UserError(f"{where}: {_name(path)}: was deleted{always}; {moved.instead}")


def translated(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The config of an earlier run by the names of today; `UserError` if it cannot go on as it began."""
    leaves: list[tuple[Path, Any]] = []
    for path, value in _leaves(config):
        moved = MOVED.get(_name(path))
        if isinstance(moved, Gone):
            if value != moved.was:
                raise UserError(
                    f"{where}: was started with {_name(path)} = {value!r}, a setting that was deleted; finish the run "
                    "with the version that started it, or choose another run.name"
                )
            continue
        section = path[:3] if _is_of_stage(path) else path[:1]
        leaves.append((path if moved is None else (*section, *moved.split(".")[1:]), value))
    return _nested(leaves)


def _leaves(table: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value that is not a table of settings, with its keys."""
    for key, value in table.items() if isinstance(table, Mapping) else enumerate(table):
        here = (*path, key)
        is_table = isinstance(value, Mapping) or (
            isinstance(value, Sequence) and any(isinstance(entry, Mapping) for entry in value)
        )
        if is_table and value and _name(here) not in MOVED:
            yield from _leaves(value, here)
        else:
            yield here, value


def _is_of_stage(path: Path) -> bool:
    """A stage of the sampler has the settings of [sampler]."""
    return path[:2] == ("sampler", "stages") and len(path) > 3


def _name(path: Path) -> str:
    """The dotted name of a setting, without places in lists and the names that the user chose."""
    if _is_of_stage(path):
        path = ("sampler", *path[3:])
    elif path[:2] == ("reward", "schedules") and len(path) == 5:
        path = ("reward", "schedules", path[4])
    return ".".join(part for part in path if isinstance(part, str))


def _nested(leaves: Sequence[tuple[Path, Any]]) -> dict[str, Any]:
    root: dict[Any, Any] = {}
    for path, value in leaves:
        table = root
        for part in path[:-1]:
            table = table.setdefault(part, {})
        table[path[-1]] = value
    return _with_lists(root)


def _with_lists(value: Any) -> Any:
    """Tables whose keys are places become lists."""
    if not isinstance(value, dict) or not value:
        return value
    inner = {key: _with_lists(entry) for key, entry in value.items()}
    return list(inner.values()) if all(isinstance(key, int) for key in inner) else inner
