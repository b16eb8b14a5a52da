"""The closed forms in the formulas of claims, read by a small parser and held against the numbers of the library."""

import inspect
import math
import re

import numpy as np
import pytest

from targets import Gaussian, Level
from verify import Grid, bounds, kl, samplers
from verify.claims import denoiser_bounds, flow_exponents, gaussian_optima, other_bounds
from verify.claims.flow_bounds import theorem_terms
from verify.claims.laws import law
from verify.claims.ledger import CLAIMS
from verify.claims.notation import SYMBOLS
from verify.claims.transitions import transition_divergence
from verify.oracle import ConstantBias


class Reader:
    """The value of LaTeX made of fractions, roots, logarithms, powers, brackets and the symbols given."""

    def __init__(self, latex: str, symbols: dict[str, float]) -> None:
        self.symbols = symbols | {"e": math.e}
        names = "|".join(re.escape(name) for name in sorted(self.symbols, key=len, reverse=True))
        latex = re.sub(r"\\(left|right)(?![a-z])", "", latex).replace("[", "(").replace("]", ")")
        self.tokens = re.findall(rf"{names}|\\[a-z]+|\d+(?:\.\d+)?|[^\s]", latex)

    def value(self) -> float:
        found = self.sum()
        assert not self.tokens, self.tokens
        return found

    def next(self) -> str:
        return self.tokens[0] if self.tokens else ""

    def take(self, expected: str = "") -> str:
        token = self.tokens.pop(0)
        assert not expected or token == expected, (token, expected)
        return token

    def within(self, opening: str, closing: str) -> float:
        self.take(opening)
        found = self.sum()
        self.take(closing)
        return found

    def sum(self) -> float:
        found = 0.0
        while self.next() not in ("", ")", "}"):
            sign = {"+": 1.0, "-": -1.0}.get(self.next())
            if sign:
                self.take()
            found += (sign or 1.0) * self.product()
        return found

    def product(self) -> float:
        found = self.power()
        while self.next() not in ("", ")", "}", "+", "-"):
            if self.next() == "/":
                self.take()
                found /= self.power()
            else:
                found *= self.power()
        return found

    def power(self) -> float:
        found = self.atom()
        if self.next() != "^":
            return found
        self.take()
        return found ** (self.within("{", "}") if self.next() == "{" else self.atom())

    def atom(self) -> float:
        token = self.next()
        if token == "(":
            return self.within("(", ")")
        self.take()
        if token in self.symbols:
            return self.symbols[token]
        if token == r"\frac":
            return self.within("{", "}") / self.within("{", "}")
        if token == r"\sqrt":
            return math.sqrt(self.within("{", "}"))
        if token == r"\log":
            return math.log(self.power())
        return float(token)


def side(name: str, place: int, symbols: dict[str, float], *, part: int = -1) -> float:
    """Value of the last (or another) side of the place-th relation of a claim's formula."""
    relation = re.sub(r"\\text\{.*", "", CLAIMS[name].formula.split(r"\qquad")[place])
    return Reader(re.split(r" = | \\le ", relation)[part].strip(" ,"), symbols).value()


def row(head: str, symbols: dict[str, float]) -> float:
    """Value of what the table of symbols says a symbol is."""
    (found,) = (latex.split(" = ")[1] for latex, _ in SYMBOLS if latex.split(" = ")[0] == head)
    return Reader(found, symbols).value()


def test_the_reader_reads():
    assert Reader(r"-\frac{1}{2} x^2 (1 - x)^{3 - 1} / 4 + \log(2 x) \sqrt{x}", {"x": 2.0}).value() == pytest.approx(
        -0.5 + math.log(4.0) * math.sqrt(2.0)
    )


def test_what_a_step_costs_beside_a_null_direction():
    for c in (0.05, 0.4, 1.1):
        assert side("jain-zhang/slope-c", 0, {"c": c}) == pytest.approx(flow_exponents.cost(c), rel=1e-12)


def test_the_right_side_of_theorem_3_1():
    target, grid = law("anisotropic_gaussian", dim=3), Grid.exponential_uniform(40, ou_time=(2.0, 0.1))
    oracle = ConstantBias(target, np.full(3, 0.3))
    terms = theorem_terms(target, grid, oracle)
    symbols = {"d": 3, r"\mathbb{E}\lVert X\rVert^2": target.second_moment, "T": 2.0, "K": 40}
    times = grid.ou_time
    symbols |= {"c": float((-np.diff(times) / np.minimum(1.0, times[:-1])).max()), r"\varepsilon_s^2": terms[2] / 2.0}
    under = re.search(r"\}\{(.*)\} \\le 1", CLAIMS["jain-zhang/theorem-3.1"].formula)
    assert under is not None
    assert Reader(under[1], symbols).value() == pytest.approx(sum(terms), rel=1e-12)


def test_the_right_sides_of_benton_et_al():
    target, grid = law("gaussian", variance=1.0, mean=0.0), Grid.exponential_uniform(2048, ou_time=(4.0, 1e-3))
    times = grid.ou_time
    symbols = {"c": float((-np.diff(times) / np.minimum(1.0, times[:-1])).max()), "d": 1.0, "K": 2048.0, "T": 4.0}
    whole = bounds.benton(grid, 1)
    assert side("benton/ratio-bounded", 0, symbols) == pytest.approx(whole + math.exp(-8.0), rel=1e-12)
    limit = side("benton/ratio-bounded", 1, {"T": 4.0, r"\delta": 1e-3})
    measured = float(kl.path(target, samplers.ei_sde(grid)).value) / whole
    assert limit == pytest.approx(0.2517, abs=1e-4)
    assert measured == pytest.approx(limit, rel=0.01)


def test_intrinsic_information():
    under = re.search(r"\\kappa (\\left.*\\right\))\}", CLAIMS["intrinsic/denoiser-adapts"].formula)
    assert under is not None
    symbols = {"H(J)": math.log(8), "r_J": 2.0, r"\gamma_K": 300.0, r"\lambda": 1.0, "d": 16.0, "v": other_bounds.NOISE}
    assert Reader(under[1], symbols).value() == pytest.approx(other_bounds.intrinsic(16, 300.0), rel=1e-12)


GAUSSIAN, VARIANCE, WINDOW = Gaussian([0.5], [[2.0]]), 2.0, (0.05, 20.0)
ENDS = {r"\gamma_0": WINDOW[0], r"\gamma_K": WINDOW[1], r"\lambda": VARIANCE}


def test_bounds_of_the_frozen_denoiser_on_a_gaussian():
    """On uniform grids the path KL tends to half of its bound; κ is the largest relative step; I = ½ log(1 + γλ)."""
    grid = Grid.uniform_snr(4096, snr=WINDOW)
    known = {
        "h_0": float(np.diff(grid.snr)[0]),
        **{rf"\mathrm{{mmse}}(\gamma_{n})": VARIANCE / (1.0 + VARIANCE * g) for n, g in zip("0K", WINDOW, strict=True)},
    }
    found = float(kl.path(GAUSSIAN, samplers.ddpm(grid)).value)
    assert found / side("denoiser/uniform-bound", 0, known) == pytest.approx(0.5, rel=0.01)
    assert side("denoiser/uniform-bound", 1, ENDS | {"K": 4096.0}) == pytest.approx(known["h_0"], rel=1e-9)
    table = samplers.ddpm(Grid.log_snr(7, snr=WINDOW))
    kappa = side("denoiser/geometric-bound", 2, ENDS | {"K": 7.0})
    assert kappa == pytest.approx(bounds.frozen_denoiser(table, 1.0), rel=1e-12)
    latent = side("denoiser/latent-entropy", 0, {r"\kappa": kappa, "H(J)": 0.0, "d": 1.0, "v": VARIANCE} | ENDS)
    assert latent == pytest.approx(kappa * 0.5 * math.log1p(VARIANCE * WINDOW[1]), rel=1e-12)
    length = side("denoiser/latent-length", 0, {"d": 1.0, "v": VARIANCE, "S_C": 0.0, "H(J)": 0.0} | ENDS)
    assert length == pytest.approx(float(GAUSSIAN.curve.discretisation_length(*WINDOW).value), rel=1e-9)
    assert length == pytest.approx(row(r"\Lambda", ENDS), rel=1e-12)
    best = float(kl.path(GAUSSIAN, samplers.ddpm(Grid.optimal(GAUSSIAN, steps=512, snr=WINDOW))).value)
    assert 512 * best == pytest.approx(side("denoiser/limit-of-optimum", 0, {"S": length}), rel=0.01)


def test_the_best_path_grid_of_a_gaussian():
    grid = gaussian_optima.log_sine(6, VARIANCE, WINDOW)
    for k in range(7):
        level = side("gaussian/path-optimum", 0, ENDS | {"k": float(k), "K": 6.0})
        assert level == pytest.approx(1.0 + VARIANCE * grid.snr[k], rel=1e-12)
    cost = side("gaussian/path-optimum", 1, {r"\Lambda": row(r"\Lambda", ENDS), "K": 6.0})
    assert float(kl.path(GAUSSIAN, samplers.ddpm(grid)).value) == pytest.approx(cost, rel=1e-10)


def test_the_best_marginal_grids_of_a_gaussian():
    assert row(r"\psi(x)", {"x": 0.3}) == pytest.approx(gaussian_optima._kl_of_shortfall(0.3), rel=1e-12)
    steps = 2048
    turns = {rf"\theta_{n}": math.atan(1.0 / math.sqrt(VARIANCE * g)) for n, g in zip("0K", WINDOW, strict=True)}
    flow = kl.marginal(GAUSSIAN, samplers.ddim(gaussian_optima.angle(steps, VARIANCE, WINDOW)))
    limit = side("sun-poor-zhang/tangent-law", 2, turns)
    assert steps**2 * float(flow.value) == pytest.approx(limit, rel=2e-3)
    noisy = kl.marginal(GAUSSIAN, samplers.ddpm(gaussian_optima.halved_square(steps, VARIANCE, WINDOW)))
    sines = {rf"\sin{name}": math.sin(turn) for name, turn in turns.items()}
    limit = side("gaussian/marginal-optimum", 3, sines | {"b_K": sines[r"\sin\theta_K"] ** 2})
    assert steps**2 * float(noisy.value) == pytest.approx(limit, rel=5e-3)
    grid = gaussian_optima.halved_square(5, VARIANCE, WINDOW)
    b = 1.0 / (1.0 + VARIANCE * grid.snr)
    for k in (1, 2, 3, 4):
        ratio = side("gaussian/marginal-optimum", 1, {r"b_{k+1}^{\star}": b[k + 1], r"b_k^{\star}": b[k]})
        assert ratio == pytest.approx(b[k] / b[k - 1], rel=1e-10)


def test_one_step_of_flow_and_noise():
    """KL of two Gaussians of variance 1 − e^{-2r} whose means are e^{-r} times the gap apart."""
    gap, r = 0.3, 0.2
    formula = side(
        "jain-zhang/A.1", 0, {r"\lVert x_{\mathrm{half}}^{\ast} - x_{\mathrm{half}}\rVert^2": gap**2, "r": r}
    )
    assert formula == pytest.approx((math.exp(-r) * gap) ** 2 / (2.0 * (1.0 - math.exp(-2.0 * r))), rel=1e-12)


def test_the_mmse_gap_is_the_reverse_chain_and_a_sum_of_losses():
    """The two equalities of path KL on one law: without curve, and in the form of the formulas."""
    target, grid = law("two_points"), Grid.log_snr(3, snr=(0.1, 30.0))
    measured = transition_divergence(target, samplers.ddpm(grid))
    losses = target.mmse(grid.snr[:-1]).value
    gained = float(np.diff(target.mutual_information(grid.snr[[0, -1]]).value)[0])
    sums = side(
        "denoiser/path-equality",
        0,
        {
            r"\mathrm{KL}_{\mathrm{init}}": 0.0,
            r"\sum_k h_k \mathbb{E}\lVert X - \hat m_k\rVert^2": float((np.diff(grid.snr) * losses).sum()),
            r"I(\gamma_K)": gained,
            r"I(\gamma_0)": 0.0,
        },
    )
    assert sums == pytest.approx(measured, rel=1e-8)


def test_the_sum_over_pairs_and_the_length_of_a_mixture():
    pairs = {r"\sum_{i \ne j} (p_i p_j)^{1/4}": 2.0 * (0.3 * 0.7) ** 0.25}
    assert side("denoiser/pair-bound", 0, pairs) == pytest.approx(
        denoiser_bounds.pair_sum(np.array([0.3, 0.7])), rel=1e-12
    )
    symbols = {"d": 3.0, "v": 0.1, r"\gamma_0": 0.2, r"\gamma_K": 50.0, "S_C": 1.7}
    within = math.sqrt(3.0) * math.log(6.0 / 1.02) + 1.7
    assert side("denoiser/latent-length", 0, symbols) == pytest.approx(within, rel=1e-12)


def test_overshoots_are_those_of_the_check():
    shares = inspect.signature(flow_exponents.check_noise_step).parameters["overshoots"].default
    listed = CLAIMS["jain-zhang/marginal-without-noise"].formula.split(r"\rho = ")[1].split(", ")
    assert [Reader(share, {}).value() for share in listed] == list(shares)


def test_levels_of_the_table_are_those_of_the_library():
    """γ = α²/σ², OU time and the angle of a level: what the docstring and the table say."""
    level = Level(math.exp(-0.7), math.sqrt(-math.expm1(-1.4)))
    assert level.snr == pytest.approx(1.0 / math.expm1(1.4), rel=1e-12)
    sine = level.sigma**2 / (level.alpha**2 * VARIANCE + level.sigma**2)
    assert math.sin(math.atan(1.0 / math.sqrt(VARIANCE * level.snr))) ** 2 == pytest.approx(sine, rel=1e-12)
