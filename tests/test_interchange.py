"""Laws from other libraries: our densities against theirs, and what is refused."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch
from sklearn.mixture import BayesianGaussianMixture
from sklearn.mixture import GaussianMixture as Fitted
from torch import distributions as D

from targets import ArgumentError, Discrete, Gaussian, GaussianMixture, Level, from_frame, from_scipy, from_sklearn
from targets import from_torch as read_torch
from targets.interchange import support
from targets.separate import Separate

AT = Level(1.0, 1e-7)
"""So little noise that a density of unit scale changes by 1e-14."""


def numbers(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def roots(*shape):
    """Lower triangular, positive on the diagonal."""
    lower = numbers(*shape, seed=3).tril()
    diagonal = lower.diagonal(dim1=-2, dim2=-1)
    return lower - torch.diag_embed(diagonal) + torch.diag_embed(0.5 + diagonal.abs())


WEIGHTS = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)


def mixed(component):
    return D.MixtureSameFamily(D.Categorical(probs=WEIGHTS), component)


def low_rank(own):
    return D.LowRankMultivariateNormal(numbers(3, 4), numbers(3, 4, 2, seed=2), own)


UNEVEN = 0.1 + numbers(3, 4, seed=5).square()
TORCH = {
    "normal": D.Normal(torch.tensor(0.7, dtype=torch.float64), torch.tensor(1.9, dtype=torch.float64)),
    "independent": D.Independent(D.Normal(numbers(4), 0.5 + numbers(4, seed=1).abs()), 1),
    "multivariate": D.MultivariateNormal(numbers(4), scale_tril=roots(4, 4)),
    "precision": D.MultivariateNormal(numbers(2), precision_matrix=torch.tensor([[2.0, 0.3], [0.3, 1.0]]).double()),
    "low rank": D.LowRankMultivariateNormal(numbers(4), numbers(4, 2, seed=2), UNEVEN[0]),
    "mixture on the line": mixed(D.Normal(numbers(3), 0.3 + numbers(3, seed=1).abs())),
    "mixture of diagonals": mixed(D.Independent(D.Normal(numbers(3, 4), 0.3 + numbers(3, 4, seed=1).abs()), 1)),
    "mixture of full": mixed(D.MultivariateNormal(numbers(3, 4), scale_tril=roots(3, 4, 4))),
    "mixture of low rank": mixed(low_rank(UNEVEN)),
    "factor analysers": mixed(low_rank(UNEVEN[:, :1].expand(3, 4))),
}


@pytest.mark.parametrize("name", TORCH)
def test_torch_densities_agree(name):
    theirs, ours = TORCH[name], read_torch(TORCH[name])
    points = theirs.sample((50,)).double()
    density = ours.log_prob(points.reshape(50, -1), AT)
    torch.testing.assert_close(density, theirs.log_prob(points), rtol=0, atol=1e-10)
    torch.testing.assert_close(ours.mean, theirs.mean.reshape(-1), rtol=0, atol=1e-13)
    assert ours.total_variance == pytest.approx(float(theirs.variance.sum()), rel=1e-12)


def test_torch_structures():
    assert isinstance(read_torch(TORCH["multivariate"]), Gaussian)
    law = read_torch(TORCH["factor analysers"])
    assert isinstance(law, GaussianMixture)
    assert law.structure == "low rank"
    law = read_torch(D.Categorical(probs=torch.tensor([0.1, 0.0, 0.9])))
    assert isinstance(law, Discrete)
    assert law.atoms.tolist() == [[0.0], [2.0]]
    np.testing.assert_allclose(law.weights, [0.1, 0.9], rtol=1e-7)


def test_torch_single_precision_is_taken_as_it_is():
    """Parameters in float32 with gradients: their float64 values, weights normalised."""
    loc = torch.tensor([0.1, 0.7], requires_grad=True)
    law = read_torch(
        D.MixtureSameFamily(D.Categorical(probs=torch.tensor([0.3, 0.7])), D.Normal(loc, torch.tensor([0.1, 0.2])))
    )
    assert isinstance(law, GaussianMixture)
    assert isinstance(law.components, Separate)
    assert float(law.components.weights.sum()) == pytest.approx(1.0, abs=1e-15)
    scale = torch.tensor([0.1, 0.2]).double()
    assert torch.equal(law.components.variances[:, 0], scale**2)


@pytest.mark.parametrize(
    ("law", "words"),
    [
        (3, "distribution = 3: expected a torch.distributions.Distribution"),
        (D.Normal(torch.zeros(3), 1.0), r"batch_shape = \(3,\): expected \(\), one law.*Independent"),
        (D.Independent(D.Normal(torch.zeros(2, 3), 1.0), 2), r"event_shape = \(2, 3\)"),
        (D.Laplace(0.0, 1.0), r"distribution = Laplace.*expected Normal, MultivariateNormal"),
        (D.Poisson(3.0), "distribution = Poisson.*expected Normal"),
        (
            D.MixtureSameFamily(D.Categorical(torch.ones(2)), D.Laplace(torch.zeros(2), 1.0)),
            "component_distribution = Lap",
        ),
        (D.Normal(torch.tensor(float("nan")), 1.0, validate_args=False), "mean = nan: expected finite"),
    ],
)
def test_torch_refusals(law, words):
    with pytest.raises(ArgumentError, match=words):
        read_torch(law)


# ---- scipy -------------------------------------------------------------------------------------------

DISCRETE = {
    "binom": scipy.stats.binom(12, 0.3, loc=-4),
    "poisson": scipy.stats.poisson(3.5),
    "geom": scipy.stats.geom(0.2, loc=2),
    "nbinom": scipy.stats.nbinom(3, 0.4),
    "skellam": scipy.stats.skellam(3.0, 1.0),
    "dlaplace": scipy.stats.dlaplace(0.8),
    "many": scipy.stats.poisson(2e5),
    "huge": scipy.stats.binom(10**7, 0.3),
}


@pytest.mark.parametrize("name", DISCRETE)
def test_scipy_laws_agree(name):
    """Weights, density, variance and entropy against scipy's (whose pmf sums to 1 − 1e-10 where the mean is large)."""
    theirs: Any = DISCRETE[name]
    ours, cut = from_scipy(theirs), support(theirs)
    assert isinstance(ours, Discrete)
    assert 0.0 <= cut.left_out <= 1e-15
    assert torch.equal(ours.atoms[:, 0], torch.from_numpy(cut.points))
    np.testing.assert_allclose(ours.weights, theirs.pmf(cut.points), rtol=1e-9 if name in ("many", "huge") else 1e-12)
    beyond = theirs.sf(cut.points[-1]) + theirs.cdf(cut.points[0] - 1)
    assert beyond <= 2e-15
    few = ours.atoms[:: max(1, len(ours.atoms) // 20)]
    at = Level(1.0, 1e-3)
    noise = np.log(1e-3 * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(ours.log_prob(few, at) + noise, np.log(theirs.pmf(few[:, 0])), rtol=1e-9, atol=1e-10)
    assert ours.total_variance == pytest.approx(theirs.var(), rel=1e-9)
    if name in ("binom", "poisson", "nbinom", "geom"):
        assert float(ours.entropy().value) == pytest.approx(float(theirs.entropy()), rel=1e-10)


def test_scipy_finite_supports_are_whole():
    cut = support(scipy.stats.binom(60, 0.5))
    assert len(cut.points) == 61
    assert cut.left_out == 0.0
    law: Any = scipy.stats.rv_discrete(values=([0.5, 2.0, 3.5], [0.2, 0.3, 0.5]))
    for shift, given in ((0.0, law), (1.0, law(loc=1.0))):
        ours = from_scipy(given)
        assert isinstance(ours, Discrete)
        assert ours.atoms[:, 0].tolist() == [0.5 + shift, 2.0 + shift, 3.5 + shift]
        np.testing.assert_allclose(ours.weights, [0.2, 0.3, 0.5], rtol=1e-15)


def test_scipy_tail_is_what_was_asked_for():
    """A larger tail leaves out more, and no more than it says."""
    fine, coarse = support(scipy.stats.poisson(50.0)), support(scipy.stats.poisson(50.0), tail=1e-10)
    assert len(coarse.points) < len(fine.points)
    assert 1e-12 < coarse.left_out <= 1e-10
    law: Any = scipy.stats.poisson(50.0)
    inside = law.pmf(coarse.points).sum()
    assert 1.0 - inside == pytest.approx(coarse.left_out, rel=1e-3)


def test_scipy_gaussians():
    line: Any = scipy.stats.norm(0.3, 2.0)
    ours = from_scipy(line)
    x = np.linspace(-5, 5, 11)
    np.testing.assert_allclose(ours.log_prob(torch.from_numpy(x)[:, None], AT), line.logpdf(x), atol=1e-12)
    theirs: Any = scipy.stats.multivariate_normal(np.array([1.0, -1.0]), np.array([[2.0, 0.5], [0.5, 1.0]]))  # pyright: ignore
    points = numbers(10, 2)
    np.testing.assert_allclose(from_scipy(theirs).log_prob(points, AT), theirs.logpdf(points), atol=1e-12)


@pytest.mark.parametrize(
    ("law", "words"),
    [
        (scipy.stats.binom, r"expected a frozen law.*scipy\.stats\.binom\(\.\.\.\)"),
        (scipy.stats.poisson([1.0, 2.0]), "expected numbers: one law"),
        (scipy.stats.zipf(2.5), "a zipf.*expected at most 1e-15 of the mass beyond 1048576 points"),
        (scipy.stats.gamma(2.0), r"expected a frozen discrete law.*of scipy\.stats\.gamma no denoiser.*from_samples"),
        (scipy.stats.gamma, r"of scipy\.stats\.gamma no denoiser is known"),
        (scipy.stats.norm, r"expected a frozen law.*scipy\.stats\.norm\(\.\.\.\)"),
        (scipy.stats.multivariate_normal, r"expected a frozen law.*scipy\.stats\.multivariate_normal\(\.\.\.\)"),
        (scipy.stats.dirichlet([1.0, 2.0]), r"of scipy\.stats\.dirichlet no denoiser is known"),
        (torch.distributions.Normal(0.0, 1.0), r"law = Normal.*from_torch\(law\)"),
        (BayesianGaussianMixture(), r"law = BayesianGaussianMixture\(\).*from_sklearn\(model\)"),
        (np.zeros((3, 2)), r"law = 'ndarray': .*from_frame\(atoms\)"),
        (scipy.stats.rv_histogram(np.histogram(np.arange(9.0))), "histogram.*bin centres as atoms"),
        (scipy.stats.binom(5, 2.0), "law whose parameters are valid"),
        ("binom", "expected a frozen discrete law"),
    ],
)
def test_scipy_refusals(law, words):
    with pytest.raises(ArgumentError, match=words):
        from_scipy(law)
    with pytest.raises(ArgumentError, match="tail"):
        from_scipy(scipy.stats.poisson(3.0), tail=0.0)


# ---- scikit-learn ------------------------------------------------------------------------------------


@pytest.mark.parametrize("covariance", ["full", "tied", "diag", "spherical"])
@pytest.mark.parametrize("kind", [Fitted, BayesianGaussianMixture])
def test_fitted_mixtures_agree(kind, covariance):
    """Against scikit-learn's own log density; the Bayesian one against scipy's at the posterior means."""
    data = np.concatenate([numbers(60, 3) * 0.5, numbers(40, 3, seed=1) + 3.0])
    model = kind(n_components=2, covariance_type=covariance, random_state=0).fit(data)
    points = numbers(20, 3, seed=2) * 2.0
    ours = from_sklearn(model).log_prob(points, AT)
    if kind is Fitted:
        np.testing.assert_allclose(ours, model.score_samples(points.numpy()), rtol=0, atol=1e-9)
        return
    whole = {
        "full": lambda i: model.covariances_[i],
        "tied": lambda _: model.covariances_,
        "diag": lambda i: np.diag(model.covariances_[i]),
        "spherical": lambda i: model.covariances_[i] * np.eye(3),
    }[covariance]
    density = sum(
        w * scipy.stats.multivariate_normal(mean, whole(i)).pdf(points)
        for i, (w, mean) in enumerate(zip(model.weights_, model.means_, strict=True))
    )
    np.testing.assert_allclose(ours, np.log(density), rtol=0, atol=1e-9)


def test_unfitted_models_are_refused():
    for model in (Fitted(3), BayesianGaussianMixture(n_components=2)):
        with pytest.raises(ArgumentError, match=r"expected a fitted mixture; call model\.fit\(data\) first"):
            from_sklearn(model)
    with pytest.raises(ArgumentError, match="a fitted scikit-learn mixture"):
        from_sklearn(D.Normal(0.0, 1.0))


# ---- frames ------------------------------------------------------------------------------------------


def test_frames_merge_and_normalise():
    table = pd.DataFrame({"x": [0, 1, 1, 2], "y": [0.5, 1.0, 1.0, 2.0], "n": [1, 2, 3, 0]})
    law = from_frame(table, weights="n")
    assert law.atoms.tolist() == [[0.0, 0.5], [1.0, 1.0]]
    np.testing.assert_allclose(law.weights, [1 / 6, 5 / 6], rtol=1e-15)
    for same in (
        from_frame(table[["x", "y"]], table["n"].to_numpy()),
        from_frame(table[["x", "y"]].to_numpy(float), [1, 2, 3, 0]),
    ):
        assert torch.equal(same.atoms, law.atoms)
        assert torch.equal(same.weights, law.weights)
    assert from_frame(table.drop(columns="n")).weights.tolist() == [0.25, 0.5, 0.25]
    assert from_frame(pd.DataFrame({"x": pd.array([1, 2], dtype="Int64")})).atoms.tolist() == [[1.0], [2.0]]


@pytest.mark.parametrize(
    ("frame", "weights", "words"),
    [
        (pd.DataFrame({"x": [1.0], "weight": [1.0]}), "wieght", "weights = 'wieght'.*did you mean 'weight'"),
        (pd.DataFrame({"x": ["a"]}), None, r"frame\['x'\].dtype = .*expected a numeric column"),
        (pd.DataFrame({"x": [1j]}), None, r"frame\['x'\].dtype"),
        (pd.DataFrame({"x": pd.array([1, None], dtype="Int64")}), None, r"frame\['x'\]\.iloc\[1\] = nan"),
        (pd.DataFrame({"x": [1.0, np.inf]}), None, r"frame\['x'\]\.iloc\[1\] = inf"),
        (pd.DataFrame({"x": [1.0, 2.0], "w": [-1.0, 2.0]}), "w", "weights = -1.0: expected non-negative"),
        (pd.DataFrame({"x": [1.0, 2.0], "w": [0.0, 0.0]}), "w", "sum of weights = 0.0: expected a finite sum > 0"),
        (pd.DataFrame({"x": [1.0, 2.0], "w": [0.5, np.nan]}), "w", r"frame\['w'\]\.iloc\[1\]"),
        (pd.DataFrame({"w": [1.0]}), "w", "frame.shape"),
        (pd.DataFrame(columns=["x"]), None, "frame.shape"),
        (pd.DataFrame([[1.0, 2.0]], columns=["x", "x"]), None, "every name once"),
        (np.zeros((2, 1)), "w", "only a DataFrame has named columns"),
        (pd.DataFrame([[1.0, 2.0]]), "n", r"weights = 'n': expected numbers.*no column is named by a text"),
        (pd.DataFrame([[1.0, 2.0]]), 1, r"weights = 1: expected the name of a column as text, or numbers.*frame\[1\]"),
        (np.zeros((2, 1)), [1.0, 1.0, 1.0], r"weights.shape = \(3,\): expected \(2,\)"),
        (np.zeros(3), None, "frame.shape"),
        (np.array([["a"]]), None, "frame"),
    ],
)
def test_frame_refusals(frame, weights, words):
    with pytest.raises(ArgumentError, match=words):
        from_frame(frame, weights)
