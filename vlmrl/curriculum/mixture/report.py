"""`vlmrl data mix fit`: from finished pilots to weights, or to the reason why there are none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import tomli_w

from vlmrl.curriculum.mixture.fit import Quadratic, Validation, covers, cross_validate, fit, least_pilots
from vlmrl.curriculum.mixture.pilots import Plan, heldout_scores, write_text
from vlmrl.errors import UserError, nearest


@dataclass(frozen=True)
class Measured:
    """What the pilots gave, a row for each mixture: its seeds are averaged."""

    names: list[str]
    sources: list[str]
    heldout: list[str]
    weights_NM: np.ndarray
    scores_NS: np.ndarray


def fit_pilots(folder: str, objective: Mapping[str, float], min_r2: float) -> str:
    """Writes `report.md` and `weights.toml` into a folder of finished pilots; returns the report.

    objective: weights of the held-out sources in the score that is maximised; empty: alike. `UserError`, after the
    report is written, if the cross-validated R2 is below `min_r2` or the best weights are outside of the pilots.
    """
    plan = Plan.open(folder)
    measured = measure(plan)
    low_M, high_M, base_M = (plan.column(key) for key in ("low", "high", "base"))
    least = least_pilots(low_M, high_M)
    if len(measured.names) < least:
        raise UserError(f"{folder}: {len(measured.names)} mixtures cannot be fitted and tested; {least} or more can")
    score_N = measured.scores_NS @ _objective(objective, measured.heldout)
    if np.ptp(score_N) < 1e-9:
        raise UserError(f"{folder}: all pilots score {score_N[0]:.4g}; no weights are better than others")
    validation = cross_validate(measured.weights_NM, score_N)
    predictor = fit(measured.weights_NM, score_N, validation.ridge)
    best_M = predictor.maximiser(low_M, high_M)
    refusal = _refusal(measured, validation, best_M, min_r2)
    text = report(measured, score_N, predictor, validation, base_M, best_M, refusal)
    write_text(plan.folder / "report.md", text)
    weights = plan.folder / "weights.toml"
    weights.unlink(missing_ok=True)  # of an earlier fit
    if refusal:
        raise UserError(f"{plan.folder / 'report.md'}: no weights are written: {refusal}")
    chosen = dict(zip(measured.sources, best_M.round(4).tolist(), strict=True))
    write_text(weights, tomli_w.dumps({"sampler": {"source_weights": chosen}}))
    return text


def _refusal(measured: Measured, validation: Validation, best_M: np.ndarray, min_r2: float) -> str | None:
    """Why the predictor is not to be followed, and what would help."""
    if validation.r2 < min_r2:
        figures = f"R2 {validation.r2:.2f}, below {min_r2:g}; Spearman {validation.spearman:.2f}, "
        figures += f"RMSE {validation.rmse:.4f}"
        return (
            f"mixtures left out are predicted badly ({figures}); more seeds, steps or held-out samples lower the noise"
        )
    if not covers(measured.weights_NM, best_M):
        named = ", ".join(f"{name} {weight:.2f}" for name, weight in zip(measured.sources, best_M, strict=True))
        return f"the best ones ({named}) are outside of the pilots; train one there"
    return None


def measure(plan: Plan) -> Measured:
    """Reads the pilots; `UserError` if one is not done, or they were evaluated on different sources."""
    runs = [(pilot, heldout_scores(pilot)) for pilot in plan.pilots]
    heldout = list(runs[0][1]) if runs else []
    by_mixture: dict[tuple[float, ...], list[int]] = {}
    for number, (pilot, scores) in enumerate(runs):
        if list(scores) != heldout:
            named = f"{', '.join(scores)}, not {', '.join(heldout)}"
            raise UserError(f"{pilot.folder}: was evaluated on {named} as {runs[0][0].folder}; train it again")
        weights = np.array([pilot.weights[source] for source in plan.sources])
        by_mixture.setdefault(tuple((weights / weights.sum()).tolist()), []).append(number)
    scores_RS = np.array([list(scores.values()) for _, scores in runs])
    return Measured(
        [runs[numbers[0]][0].overlay.stem for numbers in by_mixture.values()],
        list(plan.sources),
        heldout,
        np.array(list(by_mixture)),
        np.array([scores_RS[numbers].mean(0) for numbers in by_mixture.values()]),
    )


def _objective(objective: Mapping[str, float], heldout: list[str]) -> np.ndarray:
    """[S]: the share of each held-out source in the score."""
    for name in objective:
        if name not in heldout:
            raise UserError(f"--objective: the pilots have no held-out source {name!r}{nearest(name, heldout)}")
    weights_S = np.array([objective.get(name, 0.0) if objective else 1.0 for name in heldout])
    return weights_S / weights_S.sum()


# --- report -----------------------------------------------------------------------------------------------


def report(
    measured: Measured,
    score_N: np.ndarray,
    predictor: Quadratic,
    validation: Validation,
    base_M: np.ndarray,
    best_M: np.ndarray,
    refusal: str | None,
) -> str:
    """The page, in Markdown."""
    predicted = predictor(np.array([base_M, best_M])).tolist()
    gain = predicted[1] - predicted[0]
    fitted_N = predictor(measured.weights_NM)
    rows = zip(measured.names, measured.weights_NM, score_N, fitted_N, validation.predicted_N, strict=True)
    doubt = "" if gain > validation.rmse else " It is within the error: the base's weights may be as good."
    return "\n".join(
        [
            "# Mixture of sources\n",
            *([f"**No weights are written:** {refusal}.\n"] if refusal else []),
            *_table(
                ["", *measured.sources, "predicted score"],
                [
                    ["base", *_weights(base_M), f"{predicted[0]:.4f}"],
                    ["best", *_weights(best_M), f"{predicted[1]:.4f}"],
                ],
            ),
            f"Predicted gain {gain:+.4f}, with a cross-validated error of {validation.rmse:.4f}.{doubt}\n",
            "## By held-out source\n",
            *_table(
                ["held-out source", "base", "best", "change", "R2"], _by_source(measured, validation, base_M, best_M)
            ),
            "## Pilots\n",
            *_table(
                ["pilot", *measured.sources, "measured", "fitted", "predicted when left out"],
                [[name, *_weights(w), *(f"{value:.4f}" for value in values)] for name, w, *values in rows],
            ),
            f"Left out in turn, {len(score_N)} mixtures: R2 {validation.r2:.2f}, Spearman {validation.spearman:.2f}, "
            f"RMSE {validation.rmse:.4f} (ridge {validation.ridge:g}).\n",
        ]
    )


def _by_source(measured: Measured, validation: Validation, base_M: np.ndarray, best_M: np.ndarray) -> list[list[str]]:
    """Each held-out source by its own predictor: where the best weights are expected to help, and to cost."""
    rows = []
    for name, score_N in zip(measured.heldout, measured.scores_NS.T, strict=True):
        base, best = fit(measured.weights_NM, score_N, validation.ridge)(np.array([base_M, best_M])).tolist()
        alone = cross_validate(measured.weights_NM, score_N, [validation.ridge]) if np.ptp(score_N) else None
        r2 = f"{alone.r2:.2f}" if alone else "-"
        rows.append([name, f"{base:.4f}", f"{best:.4f}", f"{best - base:+.4f}", r2])
    return rows


def _weights(weights_M: np.ndarray) -> list[str]:
    return [f"{weight:.3f}" for weight in weights_M]


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)] + [""]
