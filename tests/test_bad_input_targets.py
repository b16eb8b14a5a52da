"""Every refusal names the argument, the value it had and what was expected; nothing doubtful comes back."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture as FittedMixture

from targets import (
    ArgumentError,
    Discrete,
    Embedded,
    Gaussian,
    GaussianMixture,
    Level,
    NotAvailableError,
    Product,
    Rotated,
    from_samples,
    from_sklearn,
    get,
    names,
    point_mass,
    process,
)

NAN, INF = math.nan, math.inf
HALVES = [0.5, 0.5]
LINE = [[0.0], [1.0]]
AT = Level(1.0, 1.0)


def bit() -> Discrete:
    return Discrete([[-1.0], [1.0]], HALVES)


def double(*shape: int) -> torch.Tensor:
    return torch.zeros(shape, dtype=torch.float64)


Row = tuple[Callable[[], Any], tuple[str, ...]]

CONSTRUCTORS: dict[str, Row] = {
    "negative_weight": (lambda: Discrete(LINE, [-0.1, 1.1]), ("weights", "-0.1", "non-negative")),
    "weights_sum": (lambda: Discrete(LINE, [0.4, 0.5]), ("sum of weights", "0.9", "a sum of 1")),
    "weights_single": (lambda: Discrete(LINE, [0.5, 0.5000001]), ("sum of weights", "divide by their sum in float64")),
    "weights_length": (lambda: Discrete(LINE, [0.4, 0.5, 0.1]), ("weights.shape", "(3,)", "(2")),
    "weights_nan": (lambda: Discrete(LINE, [0.4, NAN]), ("weights", "nan", "finite")),
    "weights_text": (lambda: Discrete(LINE, "half"), ("weights", "'half'", "numbers")),
    "atoms_inf": (lambda: Discrete([[0.0], [INF]], HALVES), ("atoms", "inf", "finite")),
    "atoms_nan": (lambda: Discrete([[NAN], [1.0]], HALVES), ("atoms", "nan", "finite")),
    "atoms_flat": (lambda: Discrete([0.0, 1.0], HALVES), ("atoms.shape", "(2,)", "(≥ 1, ≥ 1)", "x[:, None]")),
    "atoms_ragged": (lambda: Discrete([[1.0], [1.0, 2.0]], HALVES), ("atoms", "[[1.0], [1.0, 2.0]]", "numbers")),
    "atoms_none": (lambda: Discrete(np.zeros((0, 2)), []), ("atoms.shape", "(0, 2)", "(≥ 1, ≥ 1)")),
    "atoms_complex": (lambda: Discrete(np.array([[1j], [0.0]]), HALVES), ("atoms", "1.j", "numbers")),
    "samples_flat": (lambda: from_samples([1.0, 2.0]), ("samples.shape", "(2,)", "(≥ 1, ≥ 1)")),
    "point_nan": (lambda: point_mass([0.0, NAN]), ("point", "nan", "finite")),
    "mean_nan": (lambda: Gaussian([0.0, NAN], np.eye(2)), ("mean", "nan", "finite")),
    "covariance_nan": (lambda: Gaussian([0.0, 0.0], [[1, NAN], [0, 1]]), ("covariance", "nan", "finite")),
    "covariance_shape": (lambda: Gaussian([0.0, 0.0], np.eye(3)), ("covariance.shape", "(3, 3)", "(2, 2)")),
    "covariance_asymmetric": (
        lambda: Gaussian([0.0, 0.0], [[1.0, 0.5], [0.0, 1.0]]),
        ("asymmetry of covariance", "0.5", "symmetric"),
    ),
    "covariance_indefinite": (
        lambda: Gaussian([0.0, 0.0], [[1.0, 2.0], [2.0, 1.0]]),
        ("smallest eigenvalue of covariance", "-1.0", "positive semi-definite"),
    ),
    "component_indefinite": (
        lambda: GaussianMixture([1.0], [[0.0, 0.0]], [[[1.0, 2.0], [2.0, 1.0]]]),
        ("smallest eigenvalue of covariances", "-1.0", "positive semi-definite"),
    ),
    "components_flat": (lambda: GaussianMixture(HALVES, LINE, [1.0, 2.0]), ("covariances.ndim", "1", "3 dimensions")),
    "mixture_means": (lambda: GaussianMixture.isotropic(HALVES, [[0.0]], 1.0), ("means.shape", "(1, 1)", "(2, ≥ 1)")),
    "mixture_weights": (lambda: GaussianMixture.isotropic([0.5, 0.6], LINE, 1.0), ("sum of weights", "1.1", "1")),
    "isotropic_negative": (
        lambda: GaussianMixture.isotropic(HALVES, LINE, -0.1),
        ("variances", "-0.1", "non-negative"),
    ),
    "isotropic_nan": (lambda: GaussianMixture.isotropic(HALVES, LINE, [0.1, NAN]), ("variances", "nan", "finite")),
    "isotropic_length": (lambda: GaussianMixture.isotropic(HALVES, LINE, [1, 2, 3]), ("variances.shape", "(3,)", "(2")),
    "diagonal_shape": (lambda: GaussianMixture.diagonal(HALVES, LINE, HALVES), ("variances.shape", "(2,)", "(2, 1)")),
    "shared_asymmetric": (
        lambda: GaussianMixture.shared(HALVES, [[0.0, 0.0], [1.0, 1.0]], [[1.0, 0.0], [0.5, 1.0]]),
        ("asymmetry of covariance", "0.5", "symmetric"),
    ),
    "product_empty": (lambda: Product([]), ("factors", "[]", "at least one target")),
    "product_of_numbers": (lambda: Product([bit(), 1]), ("factors", "1", "targets only")),  # type: ignore[list-item]
    "product_of_one": (lambda: Product(bit()), ("factors", "Discrete", "target")),  # type: ignore[arg-type]
    "rotation": (lambda: Rotated(bit(), [[2.0]]), ("rotation", "3.0", "orthogonal")),
    "rotation_shape": (lambda: Rotated(bit(), np.eye(2)), ("rotation.shape", "(2, 2)", "(1, 1)")),
    "rotated_number": (lambda: Rotated(1, [[1.0]]), ("inner", "1", "a target")),  # type: ignore[arg-type]
    "embedding": (lambda: Embedded(get("gaussian", dim=3), 2), ("dim", "2", "an integer >= 3")),
    "embedded_number": (lambda: Embedded(1, 2), ("inner", "1", "a target")),  # type: ignore[arg-type]
    "not_fitted": (lambda: from_sklearn(FittedMixture(2)), ("model", "GaussianMixture", "fitted")),
    "no_mixture": (lambda: from_sklearn(3), ("model", "3", "mixture")),
}

NAMED: dict[str, Row] = {
    "near": (lambda: get("two_point"), ("name", "'two_point'", "did you mean 'two_points'?")),
    "far": (lambda: get("xyzzy"), ("name", "'xyzzy'", "one of", *names())),
    "no_text": (lambda: get(3), ("name", "3", "one of")),  # type: ignore[arg-type]
    "parameter": (lambda: get("two_points", q=1), ("parameter of 'two_points'", "'q'", "distance, p")),
    "missing": (lambda: get("point_mass"), ("parameters of 'point_mass'", "()", "a value for point")),
    "probability": (lambda: get("two_points", p=1.0), ("p", "1.0", "strictly between 0 and 1")),
    "probability_nan": (lambda: get("rare_bit", p=NAN), ("p", "nan", "strictly between 0 and 1")),
    "distance": (lambda: get("two_points", distance=0.0), ("distance", "0.0", "> 0")),
    "distance_text": (lambda: get("two_points", distance="far"), ("distance", "'far'", "> 0")),
    "lattice": (lambda: get("lattice", n=1), ("n", "1", "an integer >= 2")),
    "lattice_fraction": (lambda: get("lattice", n=2.5), ("n", "2.5", "an integer >= 2")),
    "hypercube": (lambda: get("hypercube", dim=0), ("dim", "0", "an integer >= 1")),
    "radius": (lambda: get("orthogonal_points", radius=INF), ("radius", "inf", "> 0")),
    "zipf": (lambda: get("codebook", zipf=-1.0), ("zipf", "-1.0", ">= 0")),
    "nested": (lambda: get("nested_scales", bits=13), ("(bits, base)", "(13, 32)", "2^53")),
    "heavy_base": (lambda: get("heavy_tail", base=1.0), ("base", "1.0", "> 1")),
    "heavy_scales": (lambda: get("heavy_tail", n=60), ("n", "60", "at most 47 at base 30.0")),
    "variance": (lambda: get("gaussian", variance=-1.0), ("variance", "-1.0", "> 0")),
    "digits_none": (lambda: get("digits", components=0), ("components", "0", "an integer >= 1")),
    "digits_many": (lambda: get("digits", components=65), ("components", "65", "at most 64")),
    "digits_mixture": (lambda: get("digits_mixture", covariance="ful"), ("covariance", "'ful'", "full")),
}

CALLS: dict[str, Row] = {
    "no_samples": (lambda: bit().sample(0, torch.Generator()), ("n", "0", "an integer >= 1")),
    "fewer_samples": (lambda: bit().sample(-3, torch.Generator()), ("n", "-3", "an integer >= 1")),
    "part_samples": (lambda: bit().sample(1.5, torch.Generator()), ("n", "1.5", "integer")),  # type: ignore[arg-type]
    "generator": (lambda: bit().sample(1, None), ("generator", "None", "a torch.Generator")),  # type: ignore[arg-type]
    "dtype": (lambda: bit().denoiser(torch.zeros(1, 1), AT), ("y.dtype", "float32", "float64", "target.to(dtype=")),
    "device": (lambda: bit().score(double(1, 1).to("meta"), AT), ("y.device", "meta", "cpu", "target.to(device=")),
    "last_dimension": (lambda: bit().log_prob(double(4, 2), AT), ("y.shape", "(4, 2)", "a last dimension of 1")),
    "no_dimension": (lambda: bit().posterior_trace(double(), AT), ("y.shape", "()", "a last dimension of 1")),
    "array": (lambda: bit().denoiser(np.zeros((1, 1)), AT), ("y", "array", "a torch tensor")),  # type: ignore[arg-type]
    "level": (lambda: bit().denoiser(double(1, 1), 1.0), ("at", "1.0", "Level")),  # type: ignore[arg-type]
    "probe": (
        lambda: bit().posterior_covariance_product(double(1, 1), double(2, 1), AT),
        ("probe.shape", "(2, 1)", "(1, 1)"),
    ),
    "frequency": (lambda: bit().fourier(torch.zeros(1, 1)), ("frequency.dtype", "float32", "float64")),
    "order": (lambda: bit().entropy(-1.0), ("order", "-1.0", "order >= 0")),
    "order_nan": (lambda: bit().entropy(NAN), ("order", "nan", "order >= 0")),
    "mmse_negative": (lambda: bit().mmse(-1.0), ("snr", "-1.0", ">= 0")),
    "mmse_none": (lambda: bit().mmse(np.array([])), ("snr", "[]", "at least one")),
    "mmse_nan": (lambda: bit().mmse(NAN), ("snr", "nan", "finite")),
    "mmse_inf": (lambda: bit().mmse(INF), ("snr", "inf", "finite")),
    "mmse_one_of_many": (lambda: bit().mmse(np.array([1.0, -2.0])), ("snr", "-2.", ">= 0")),
    "mmse_text": (lambda: bit().mmse("loud"), ("snr", "'loud'", "numbers")),  # type: ignore[arg-type]
    "slope_nan": (lambda: bit().mmse_slope(NAN), ("snr", "nan", "finite")),
    "information_negative": (lambda: bit().mutual_information(-0.5), ("snr", "-0.5", ">= 0")),
    "length_order": (lambda: bit().curve.discretisation_length(2.0, 1.0), ("(low, high)", "(2.0, 1.0)", "low < high")),
    "length_bound": (lambda: bit().curve.discretisation_length(-2.0), ("low", "-2.0", "> 0")),
    "refined_few": (lambda: get("codebook").refined(1), ("points", "1", "an integer >= 2")),
    "refined_odd": (lambda: get("codebook").refined(100), ("points", "100", "power of two")),
    "sigma_zero": (lambda: Level(1.0, 0.0), ("sigma", "0.0", "> 0")),
    "sigma_negative": (lambda: Level(1.0, -1.0), ("sigma", "-1.0", "> 0")),
    "sigma_nan": (lambda: Level(1.0, NAN), ("sigma", "nan", "> 0")),
    "alpha_zero": (lambda: Level(0.0, 1.0), ("alpha", "0.0", "> 0")),
    "alpha_inf": (lambda: Level(INF, 1.0), ("alpha", "inf", "finite")),
    "alpha_text": (lambda: Level("x", 1.0), ("alpha", "'x'", "> 0")),  # type: ignore[arg-type]
    "snr_zero": (lambda: Level.from_snr(0.0), ("snr", "0.0", "> 0")),
    "snr_nan": (lambda: Level.from_snr(NAN), ("snr", "nan", "> 0")),
    "process": (lambda: Level.from_snr(1.0, process="vpp"), ("process", "'vpp'", "did you mean 'vp'", "ve", "flow")),
    "process_case": (lambda: process("VE"), ("process", "'VE'", "vp, ve, flow")),
    "float32": (
        lambda: get("codebook").to(dtype=torch.float32).denoiser(torch.ones(1, 8), Level.from_snr(1e9)),
        ("rounding error", "at most 0.001", "float32", "use float64"),
    ),
}

UNAVAILABLE: dict[str, Row] = {
    "gaussian": (lambda: get("gaussian").entropy(), ("entropy", "Gaussian", "differential_entropy()")),
    "mixture": (
        lambda: get("curved_mixture").entropy(2.0),
        ("order=2.0", "differential_entropy()", "latent_entropy()"),
    ),
    "product": (lambda: Product([bit(), get("gaussian")]).entropy(), ("entropy", "differential_entropy()")),
    "rotated": (lambda: Rotated(get("gaussian"), [[1.0]]).entropy(), ("entropy", "differential_entropy()")),
    "embedded": (lambda: Embedded(get("curved_mixture"), 3).entropy(), ("entropy", "latent_entropy()")),
    "singular_gaussian": (
        lambda: Gaussian([0.0, 0.0], np.diag([1.0, 0.0])).differential_entropy(),
        ("rank 1 in R^2", "-infinity", "mutual_information"),
    ),
    "singular_mixture": (
        lambda: GaussianMixture([1.0], [[0.0, 0.0]], np.ones((1, 2, 2))).differential_entropy(),
        ("differential_entropy", "singular", "-infinity"),
    ),
    "discrete_factor": (
        lambda: Product([bit(), get("gaussian")]).differential_entropy(),
        ("differential_entropy", "discrete", "-infinity", "use entropy()"),
    ),
    "padded": (
        lambda: Embedded(get("gaussian"), 3).differential_entropy(),
        ("differential_entropy", "R^3", "-infinity", ".inner"),
    ),
}


@pytest.mark.parametrize(
    "row", [*CONSTRUCTORS.values(), *NAMED.values(), *CALLS.values()], ids=[*CONSTRUCTORS, *NAMED, *CALLS]
)
def test_refusal_names_argument_value_and_expectation(row):
    call, fragments = row
    with pytest.raises(ArgumentError) as caught:
        call()
    message = str(caught.value)
    assert "expected" in message
    assert len(message) < 600
    for fragment in fragments:
        assert fragment in message, message


@pytest.mark.parametrize("row", UNAVAILABLE.values(), ids=UNAVAILABLE)
def test_unavailable_names_what_can_be_had(row):
    call, fragments = row
    with pytest.raises(NotAvailableError) as caught:
        call()
    for fragment in fragments:
        assert fragment in str(caught.value), str(caught.value)


def test_the_two_errors_are_of_the_kinds_that_callers_catch():
    assert issubclass(ArgumentError, ValueError)
    assert issubclass(NotAvailableError, NotImplementedError)


def test_long_values_are_cut_in_messages():
    with pytest.raises(ArgumentError) as caught:
        get("x" * 5000)
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize("value", [NAN, INF])
def test_a_state_that_is_no_number_never_gets_a_plausible_density(value):
    y = torch.full((1, 1), value, dtype=torch.float64)
    assert not bool(torch.isfinite(bit().log_prob(y, AT)).any())
    assert not bool(torch.isfinite(get("curved_mixture").log_prob(y, AT)).any())


def test_arguments_are_copied():
    """A caller who changes his array afterwards does not change the law."""
    atoms, weights = np.array([[0.0], [1.0]]), np.array([0.25, 0.75])
    law = Discrete(atoms, weights)
    atoms += 5.0
    weights[:] = 0.5
    assert float(law.mean) == 0.75


def test_lists_of_arrays_are_taken_without_a_warning():
    law = GaussianMixture(HALVES, [np.zeros(2), np.ones(2)], [np.eye(2), 2.0 * np.eye(2)])
    assert law.total_variance == pytest.approx(3.5)
