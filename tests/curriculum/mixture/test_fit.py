"""The mathematics of mixtures: designs, the quadratic predictor, its best point, its validation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from helpers.population import Population
from numpy.testing import assert_allclose

from vlmrl.config.sampler import SamplerSettings
from vlmrl.curriculum import create_sampler
from vlmrl.curriculum.mixture.fit import (
    Quadratic,
    covers,
    cross_validate,
    design,
    features,
    fit,
    least_pilots,
    vertices,
)

YARN_NM = np.array([[1, 0, 0], [0.5, 0.5, 0], [0, 1, 0], [0, 0.5, 0.5], [0, 0, 1], [0.5, 0, 0.5]])
YARN_N = np.array([11.7, 15.3, 9.4, 10.5, 16.4, 16.9])
"""Elongation of yarn spun of three plastics, means of replicates (Cornell, Experiments with Mixtures, section 2.3)."""


def simplex(m: int) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(m), np.ones(m)


def even(m: int) -> np.ndarray:
    return np.full(m, 1 / m)


def random_quadratic(rng: np.random.Generator, m: int) -> Quadratic:
    pair = np.triu(rng.normal(size=(m, m)), 1)
    return Quadratic(rng.normal(size=m), 2 * (pair + pair.T))


# --- design -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("m", range(2, 7))
def test_design_determines_the_predictor_and_leaves_mixtures_to_test_it(m) -> None:
    weights_NM = design(*simplex(m), even(m))
    coefficients = m * (m + 1) // 2  # 15 for the five sources of MoDoMoDo
    assert len(weights_NM) == coefficients + 1 + m
    assert_allclose(weights_NM.sum(1), 1)
    assert_allclose(weights_NM[0], even(m))
    moments = features(weights_NM).T @ features(weights_NM)
    assert np.linalg.matrix_rank(moments) == coefficients
    for place in range(len(weights_NM)):  # so that every one of them can be left out
        assert np.linalg.matrix_rank(features(np.delete(weights_NM, place, axis=0))) == coefficients
    lattice = {tuple(point) for point in (weights_NM * 2).round(6).tolist()}
    assert lattice >= {
        tuple(np.bincount(pair, minlength=m)) for pair in itertools.combinations_with_replacement(range(m), 2)
    }


def test_design_keeps_within_bounds_and_spans_them() -> None:
    low_M, high_M = np.array([0.1, 0.0, 0.2]), np.array([0.6, 0.3, 1.0])
    expected = [[0.1, 0.0, 0.9], [0.1, 0.3, 0.6], [0.6, 0.0, 0.4], [0.6, 0.2, 0.2], [0.5, 0.3, 0.2]]
    corners = vertices(low_M, high_M)
    assert sorted(corners.round(9).tolist()) == sorted(expected)
    for pilots in (7, 12, 40):
        weights_NM = design(low_M, high_M, even(3), pilots)
        assert len(np.unique(weights_NM.round(6), axis=0)) == pilots
        assert (weights_NM > low_M - 1e-9).all()
        assert (weights_NM[1:] < high_M + 1e-9).all()  # the base, 1/3 of each, is out of bounds and yet tried
        assert np.linalg.matrix_rank(features(weights_NM)) == 6


def test_a_fixed_weight_needs_fewer_pilots() -> None:
    low_M, high_M = np.array([0.0, 0.2, 0.0]), np.array([1.0, 0.2, 1.0])
    assert least_pilots(low_M, high_M) == least_pilots(*simplex(2)) == 4
    rng = np.random.default_rng(0)
    truth = random_quadratic(rng, 3)
    weights_NM = design(low_M, high_M, np.array([0.4, 0.2, 0.4]))
    found = fit(weights_NM, truth(weights_NM), 0.0)
    elsewhere = np.array([[0.7, 0.2, 0.1], [0.33, 0.2, 0.47]])
    assert_allclose(found(elsewhere), truth(elsewhere), atol=1e-9)


def test_bounds_that_no_mixture_meets_have_no_corners() -> None:
    assert len(vertices(np.full(3, 0.4), np.ones(3))) == 0
    assert len(vertices(np.zeros(3), np.full(3, 0.3))) == 0


def test_cover_is_the_convex_hull() -> None:
    pilots = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])
    assert covers(pilots, even(3))
    assert covers(pilots, np.array([0.45, 0.45, 0.1]))
    assert not covers(pilots, np.array([0.46, 0.46, 0.08]))
    assert not covers(pilots, np.array([1.0, 0.0, 0.0]))


# --- predictor --------------------------------------------------------------------------------------------


def test_fit_gives_the_published_coefficients_of_the_yarn_experiment() -> None:
    """y = 11.7 x1 + 9.4 x2 + 16.4 x3 + 19.0 x1 x2 + 11.4 x1 x3 - 9.6 x2 x3."""
    found = fit(YARN_NM, YARN_N, 0.0)
    assert_allclose(found.linear_M, [11.7, 9.4, 16.4])
    assert_allclose(found.pair_MM, [[0, 19.0, 11.4], [19.0, 0, -9.6], [11.4, -9.6, 0]], atol=1e-12)
    # Between x1 and x3 alone, y = 11.7 x1 + 16.4 (1 - x1) + 11.4 x1 (1 - x1) is highest at x1 = 6.7 / 22.8.
    assert_allclose(found.maximiser(*simplex(3)), [6.7 / 22.8, 0, 1 - 6.7 / 22.8], atol=1e-9)


def test_scheffe_form_has_all_values_of_modomodo_form() -> None:
    """a + b.w + w'Cw: a constant, five slopes and fifteen products, of which fifteen numbers matter on the simplex."""
    rng = np.random.default_rng(0)
    a, b, c = rng.normal(), rng.normal(size=5), rng.normal(size=(5, 5))
    weights_NM, others_NM = design(*simplex(5), even(5)), rng.dirichlet(np.ones(5), 50)
    assert features(weights_NM).shape == (21, 15)
    score_N, expected_N = (a + w @ b + np.einsum("ni,ij,nj->n", w, c, w) for w in (weights_NM, others_NM))
    assert_allclose(fit(weights_NM, score_N, 0.0)(others_NM), expected_N, atol=1e-9)


def test_ridge_draws_the_prediction_towards_the_mean_score() -> None:
    for ridge, left in ((0.0, 1.0), (1.0, 0.6), (1e9, 1e-6)):
        predicted = fit(YARN_NM, YARN_N, ridge)(YARN_NM)
        assert np.ptp(predicted) <= left * np.ptp(YARN_N)
    assert_allclose(predicted, YARN_N.mean(), atol=1e-6)


# --- the best point ---------------------------------------------------------------------------------------


def grid(step: float) -> np.ndarray:
    axis = np.arange(0, 1 + step / 2, step)
    points = np.array([(x, y, 1 - x - y) for x in axis for y in axis if x + y < 1 + step / 2])
    return np.clip(points, 0, 1)


@pytest.mark.parametrize("bounds", [((0, 0, 0), (1, 1, 1)), ((0.1, 0.2, 0), (0.5, 1, 0.4))])
def test_maximiser_is_that_of_a_fine_grid(bounds) -> None:
    low_M, high_M = map(np.array, bounds)
    points = grid(0.005)
    points = points[((points >= low_M - 1e-9) & (points <= high_M + 1e-9)).all(1)]
    places = set()
    for seed in range(40):
        truth = random_quadratic(np.random.default_rng(seed), 3)
        best_M = truth.maximiser(low_M, high_M)
        assert_allclose(best_M.sum(), 1)
        assert (best_M >= low_M).all()
        assert (best_M <= high_M).all()
        highest = truth(points).max()
        assert highest <= truth(best_M[None])[0] + 1e-12 < highest + 1e-3
        places.add(int(((best_M > low_M + 1e-9) & (best_M < high_M - 1e-9)).sum()))
    assert len(places) > 1, "the cases are to have maxima on corners, on edges and inside"


@pytest.mark.parametrize("m", [2, 4, 6])
def test_no_ascent_from_any_start_ends_above_the_maximiser(m) -> None:
    from scipy.optimize import minimize

    rng = np.random.default_rng(m)
    truth = random_quadratic(rng, m)
    best = truth(truth.maximiser(*simplex(m))[None])[0]
    reached = [
        -minimize(
            lambda w: -truth(w[None])[0],
            start,
            method="SLSQP",
            bounds=[(0, 1)] * m,
            constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        ).fun
        for start in rng.dirichlet(np.ones(m), 20)
    ]
    assert max(reached) == pytest.approx(best, abs=1e-5)


# --- validation -------------------------------------------------------------------------------------------

CONCAVE = Quadratic(np.array([0.45, 0.5, 0.4]), np.array([[0, 0.4, 0.5], [0.4, 0, 0.3], [0.5, 0.3, 0]]))
"""Scores as of a run: 0.4 to 0.6, highest at a mixture of all three sources."""


def test_noiseless_scores_are_predicted_exactly_and_give_back_the_maximiser() -> None:
    weights_NM = design(*simplex(3), even(3))
    validation = cross_validate(weights_NM, CONCAVE(weights_NM))
    assert validation.ridge == 0
    assert validation.r2 == pytest.approx(1)
    assert validation.spearman > 0.99  # mixtures of equal score are ranked by rounding
    assert validation.rmse == pytest.approx(0, abs=1e-9)
    best_M = fit(weights_NM, CONCAVE(weights_NM), 0.0).maximiser(*simplex(3))
    assert_allclose(best_M, CONCAVE.maximiser(*simplex(3)), atol=1e-9)
    assert (best_M > 0.1).all()


def test_noisy_scores_give_weights_nearly_as_good_as_the_best() -> None:
    """Noise of 0.005, as of 10,000 held-out answers, where mixtures differ by 0.2."""
    weights_NM = design(*simplex(3), even(3))
    best = CONCAVE(CONCAVE.maximiser(*simplex(3))[None])[0]
    lost, r2 = [], []
    for seed in range(30):
        score_N = CONCAVE(weights_NM) + np.random.default_rng(seed).normal(0, 0.005, len(weights_NM))
        validation = cross_validate(weights_NM, score_N)
        chosen_M = fit(weights_NM, score_N, validation.ridge).maximiser(*simplex(3))
        lost.append(best - CONCAVE(chosen_M[None])[0])
        r2.append(validation.r2)
    assert min(r2) > 0.5
    assert max(lost) < 0.005


@pytest.mark.parametrize("m", [3, 5])
def test_noise_alone_is_seldom_predicted(m) -> None:
    weights_NM = design(*simplex(m), even(m))
    rng = np.random.default_rng(0)
    r2 = [cross_validate(weights_NM, rng.normal(0.5, 0.01, len(weights_NM))).r2 for _ in range(60)]
    assert np.mean(np.array(r2) > 0.5) <= 0.05
    assert np.median(r2) < 0.1


def test_left_out_means_left_out() -> None:
    """The definition, by hand, for one mixture; a score that is wrong by 1 must not predict itself."""
    weights_NM = design(*simplex(3), even(3))
    score_N = CONCAVE(weights_NM)
    score_N[4] += 1
    validation = cross_validate(weights_NM, score_N, [0.01])
    by_hand = fit(np.delete(weights_NM, 4, axis=0), np.delete(score_N, 4), 0.01)(weights_NM[[4]])[0]
    assert validation.predicted_N[4] == pytest.approx(by_hand)
    residual = ((score_N - validation.predicted_N) ** 2).sum()
    assert validation.r2 == pytest.approx(1 - residual / ((score_N - score_N.mean()) ** 2).sum())


# --- weights by size --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("alpha", "expected"),
    [(1.0, [81, 9]), (0.5, [67.5, 22.5]), (0.0, [45, 45])],  # n = 90 and 10: 9 to 1, 3 to 1, 1 to 1
)
def test_alpha_scales_the_shares_of_sources(alpha, expected) -> None:
    world = Population(np.full(100, 0.5), sources=2)
    world.memory.source_N[:] = np.arange(100) % 10 == 0
    sampler = create_sampler(SamplerSettings(source_alpha=alpha), world.memory, 0)
    drawn = np.concatenate([sampler.next(9) for _ in range(10)])
    counts = np.bincount(world.memory.source_N[drawn], minlength=2)
    assert_allclose(counts, expected, atol=0.5 if alpha < 1 else 9)


def test_weights_that_are_given_go_before_alpha() -> None:
    settings = SamplerSettings(source_alpha=0.5, source_weights={"a": 1, "b": 3})
    assert settings.shares({"a": 90, "b": 10}) == {"a": 0.25, "b": 0.75}
    assert SamplerSettings(source_alpha=0.5).shares({"a": 900, "b": 100}) == {"a": 0.75, "b": 0.25}
