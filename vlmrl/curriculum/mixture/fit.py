"""Mixtures of data sources: which weights to try, and what score to expect of those not tried.

    weights_NM = design(low_M, high_M, base_M, pilots=10)
    validation = cross_validate(weights_NM, score_N)
    best_M = fit(weights_NM, score_N, validation.ridge).maximiser(low_M, high_M)

The predictor is that of MoDoMoDo (arXiv 2505.24871), score = a + b.w + w'Cw. As weights sum to 1, that has the same
values as Scheffe's canonical polynomial sum b_i w_i + sum b_ij w_i w_j (Experiments with mixtures, 1958), whose
M (M + 1) / 2 coefficients the data determine. Axes: N mixtures, M sources. `pilots.py` runs
the pilots.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RIDGES = (0.0, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
TOLERANCE = 1e-6
"""Weights that differ by less are the same."""


def features(weights_NM: np.ndarray) -> np.ndarray:
    """[N, M (M + 1) / 2]: the weights, then their products in pairs."""
    first, second = np.triu_indices(weights_NM.shape[1], 1)
    return np.concatenate([weights_NM, weights_NM[:, first] * weights_NM[:, second]], axis=1)


# --- design -----------------------------------------------------------------------------------------------


def least_pilots(low_M: np.ndarray, high_M: np.ndarray) -> int:
    """As many as the predictor has coefficients within the bounds, and one to test it by."""
    return int(np.linalg.matrix_rank(features(_boundary(low_M, high_M)))) + 1


def design(low_M: np.ndarray, high_M: np.ndarray, base_M: np.ndarray, pilots: int | None = None) -> np.ndarray:
    """[pilots, M]: the mixtures to try, the base first.

    Then come as many points of the boundary as the predictor has coefficients, chosen so that their features are as
    independent as may be: without bounds, Scheffe's {M, 2} lattice of single sources and even pairs. The rest lies
    inside: the centroid, points halfway from it to each corner, random ones. By default up to those halfway.
    """
    from scipy.linalg import qr

    corners, boundary = vertices(low_M, high_M), _boundary(low_M, high_M)
    coefficients = least_pilots(low_M, high_M) - 1
    pilots = pilots or coefficients + 1 + len(corners)
    order = qr(features(boundary).T, mode="r", pivoting=True)[-1]
    centroid = corners.mean(0)
    random = np.random.default_rng(0).dirichlet(np.ones(len(corners)), pilots) @ corners
    points = [base_M, *boundary[np.sort(order[:coefficients])], centroid, *(corners + centroid) / 2, *random]
    return distinct(np.array(points))[:pilots]


def vertices(low_M: np.ndarray, high_M: np.ndarray) -> np.ndarray:
    """[K, M]: the corners of the mixtures within bounds; none if the bounds leave no mixture."""
    corners = []
    for free in range(len(low_M)):
        bounds = zip(np.delete(low_M, free), np.delete(high_M, free), strict=True)
        others = np.array(list(itertools.product(*bounds))).reshape(-1, len(low_M) - 1)
        rest = 1 - others.sum(1)
        fits = (rest > low_M[free] - TOLERANCE) & (rest < high_M[free] + TOLERANCE)
        corners.append(np.insert(others[fits], free, rest[fits], axis=1))
    return distinct(np.concatenate(corners)[:, ::-1])[:, ::-1]


def _boundary(low_M: np.ndarray, high_M: np.ndarray) -> np.ndarray:
    """Corners, and the middles of edges: along an edge one weight grows as another shrinks."""
    corners = vertices(low_M, high_M)
    one, other = np.triu_indices(len(corners), 1)
    edges = (np.abs(corners[one] - corners[other]) > TOLERANCE).sum(1) == 2
    return np.concatenate([corners, (corners[one] + corners[other])[edges] / 2])


def distinct(points_NM: np.ndarray) -> np.ndarray:
    """The points without those that repeat an earlier one."""
    _, first = np.unique(np.round(points_NM / TOLERANCE), axis=0, return_index=True)
    return points_NM[np.sort(first)]


def covers(weights_NM: np.ndarray, point_M: np.ndarray) -> bool:
    """Whether a mixture is within the convex hull of others."""
    from scipy.optimize import nnls

    _, residual = nnls(np.vstack([weights_NM.T, np.ones(len(weights_NM))]), np.append(point_M, 1.0))
    return residual < TOLERANCE * 10


# --- predictor --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Quadratic:
    """A fitted predictor: b_i, and b_ij in a symmetric matrix with an empty diagonal."""

    linear_M: np.ndarray
    pair_MM: np.ndarray

    def __call__(self, weights_NM: np.ndarray) -> np.ndarray:
        """[N]: the predicted scores."""
        return weights_NM @ self.linear_M + np.einsum("ni,ij,nj->n", weights_NM, self.pair_MM, weights_NM) / 2

    def maximiser(self, low_M: np.ndarray, high_M: np.ndarray) -> np.ndarray:
        """[M]: the best mixture within bounds.

        Exact, also where the predictor has several peaks: a quadratic is highest where it is stationary on a face of
        the region, and every face is looked at. Their number grows as 2^M without bounds, 3^M with.
        """
        candidates = np.array([self._stationary(*face) for face in _faces(low_M, high_M)])
        inside = ((candidates > low_M - TOLERANCE) & (candidates < high_M + TOLERANCE)).all(1)
        candidates = candidates[inside & (np.abs(candidates.sum(1) - 1) < TOLERANCE)]
        return np.clip(candidates[self(candidates).argmax()], low_M, high_M)

    def _stationary(self, point_M: np.ndarray, free_M: np.ndarray) -> np.ndarray:
        """The mixture at which the score has no slope along the free weights; the others are those of `point_M`."""
        k = int(free_M.sum())
        slope_M = self.linear_M + self.pair_MM[:, ~free_M] @ point_M[~free_M]
        system = np.ones((k + 1, k + 1))
        system[:k, :k] = self.pair_MM[np.ix_(free_M, free_M)]
        system[k, k] = 0
        right = np.append(-slope_M[free_M], 1 - point_M[~free_M].sum())
        mixture_M = point_M.astype(float)
        mixture_M[free_M] = np.linalg.lstsq(system, right)[0][:k]
        return mixture_M


def _faces(low_M: np.ndarray, high_M: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """(point, free) of each face that holds a mixture: weights not free are at the point's bound."""
    kinds = np.indices((3,) * len(low_M)).reshape(len(low_M), -1).T
    least = np.where(kinds == 1, high_M, low_M).sum(1)
    most = np.where(kinds == 0, low_M, high_M).sum(1)
    kinds = kinds[(least < 1 + TOLERANCE) & (most > 1 - TOLERANCE) & (kinds == 2).any(1)]
    return [(np.where(kind == 1, high_M, low_M), kind == 2) for kind in kinds]


def fit(weights_NM: np.ndarray, score_N: np.ndarray, ridge: float) -> Quadratic:
    """Least squares of score - mean, plus ridge x (sum b_i^2 + sum (b_ij / 4)^2).

    b_ij / 4 is what a pair adds at its even mixture, so that the penalty has one unit. It draws the prediction towards
    the mean score, not towards 0.
    """
    m = weights_NM.shape[1]
    design_NF = features(weights_NM)
    penalty_F = np.sqrt(ridge) * np.where(np.arange(design_NF.shape[1]) < m, 1.0, 0.25)
    rows = np.vstack([design_NF, np.diag(penalty_F)])
    right = np.append(score_N - score_N.mean(), np.zeros(len(penalty_F)))
    coefficients_F = np.linalg.lstsq(rows, right)[0]
    pair_MM = np.zeros((m, m))
    pair_MM[np.triu_indices(m, 1)] = coefficients_F[m:]
    return Quadratic(coefficients_F[:m] + score_N.mean(), pair_MM + pair_MM.T)


# --- validation -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Validation:
    """How a predictor does on mixtures that it was not fitted to, each left out in turn."""

    ridge: float
    predicted_N: np.ndarray
    r2: float
    spearman: float
    rmse: float


def cross_validate(weights_NM: np.ndarray, score_N: np.ndarray, ridges: Sequence[float] = RIDGES) -> Validation:
    """Leave-one-out at the ridge with the lowest error.

    R2 is 1 - sum (score - predicted)^2 / sum (score - mean)^2, with the mean of all mixtures.
    """
    from scipy.stats import rankdata

    assert np.ptp(score_N) > 0
    predicted = {ridge: _left_out(weights_NM, score_N, ridge) for ridge in ridges}
    errors = {ridge: float(np.sqrt(np.mean((score_N - values) ** 2))) for ridge, values in predicted.items()}
    ridge = min(errors, key=errors.__getitem__)
    r2 = 1 - errors[ridge] ** 2 / float(np.var(score_N))
    spearman = float(np.corrcoef(rankdata(score_N), rankdata(predicted[ridge]))[0, 1])
    return Validation(ridge, predicted[ridge], r2, spearman, errors[ridge])


def _left_out(weights_NM: np.ndarray, score_N: np.ndarray, ridge: float) -> np.ndarray:
    others = [np.arange(len(score_N)) != place for place in range(len(score_N))]
    fits = [fit(weights_NM[kept], score_N[kept], ridge) for kept in others]
    return np.array([one(weights_NM[[place]])[0] for place, one in enumerate(fits)])
