"""A run that is made longer on --resume: which of its settings follow the share of the steps that is done."""

from __future__ import annotations

from vlmrl.config.run_file import RunConfig


def following_progress(config: RunConfig) -> list[str]:
    """What takes another course from here on when `run.steps` changes, in words."""
    learner, sampler, objective = config.learner, config.sampler, config.objective
    cosine = objective.own("visionary_r1").kl_schedule == "cosine" and objective.kl_coef > 0
    in_stages = any(section.name == "pcurl_stages" for section in sampler.sections())
    follows = {
        f"the {learner.schedule} learning rate": learner.schedule != "constant" and learner.schedule_updates is None,
        "the stages of the sampler": in_stages or bool(sampler.stages),
        "reward.schedules": bool(config.reward.schedules),
        "the objective": cosine or objective.group_weight == "pcurl",
    }
    return [name for name, does in follows.items() if does]
