"""Checks of Lemma A.4: what holding the score over the two intervals costs at their end.

Times a > c > b, H = a − b; z = e^t x, s the score of z, s′ its derivative along the flow.  As transcribed

    E‖z_b − z̃‖²  ≤  ½H³ ∫_b^a e^{4t} E‖s′‖² dt.

A step that holds s at s_a ends at z̃ = z_a + s_a ∫_b^a e^{2t} dt: variant "z_score".  By parts and by Cauchy–Schwarz

    z_b − z̃  =  ∫ e^{2t} (s_t − s_a) dt  =  −∫ s′_t ½(e^{2t} − e^{2b}) dt,        ½(e^{2t} − e^{2b}) ≤ e^{2t} (t − b)
    ‖z_b − z̃‖²  ≤  ∫ (t − b)² dt ∫ e^{4t} ‖s′‖² dt  =  ⅓H³ ∫ e^{4t} ‖s′‖² dt,    two thirds of the lemma's right side.

On N(m, λ), v = λ + e^{2t} − 1, the left side is (√v_a − √v_b)⁴/(4v_a) with √v_a − √v_b = ∫ e^{2t} v^{-1/2} dt, and
E s′² = e^{4t}/v³: by Hölder, and as v_a ≥ v, at most one half of the right side.

Variant "score" holds e^{t}s, the score of x, and moves by ½e^{2a}(1 − e^{-H})² s_a more.  As a, H → 0 the ratio of the two
sides tends to ½E‖s′ + s‖²/E‖s′‖², on N(0, λ) to ½(λ − 1)²: beyond one where λ > 1 + √2.
"""

from __future__ import annotations

import math

import numpy as np

from targets import Estimate, Target
from verify import kl
from verify.claims.claim import Row, at_most, near, ratio
from verify.claims.flow_numerics import MIDDLE, NARROW, WIDE, Times, gaussian_half_error, half_error, one_step, window
from verify.claims.flow_steps import Z_SCORE
from verify.claims.laws import law, plane_mixture
from verify.claims.mutate import Build
from verify.samplers import jain_zhang

LAMBDAS = (0.01, 0.25, 3.0, 25.0)

LEMMA_SIDES = "E‖z_half − z̃_half‖² ÷ ½H³∫e^4t E‖s′‖²dt"


def check_gaussian_half(full: bool, tolerance: float, *, build: Build = jain_zhang) -> list[Row]:
    """A.4 on N(0, λ): the ratio of its sides in closed form, and again by the integrated flow."""
    rows = []
    for variance in (2.5, 3.0, 10.0, 25.0) if full else (3.0, 25.0):
        family, target = f"N(0, {variance:g})", law("gaussian", variance=variance, mean=0.0)
        closed = _closed(variance, build, NARROW)
        again = half_error(target, build, NARROW)
        rows.append(at_most(family, window(NARROW), LEMMA_SIDES + ", closed form", closed, 1.0))
        agreement = ratio(closed, again[0] / again[1])
        rows.append(near(family, window(NARROW), "the same, closed form ÷ integrated flow", agreement, 1.0, tolerance))
    return rows


def check_z_score_half(full: bool, tolerance: float, *, build: Build = Z_SCORE) -> list[Row]:
    """A.4 for the step that holds the score of z: at most ½ of its right side on Gaussians, ⅔ elsewhere."""
    rows = []
    for variance in LAMBDAS:
        for times in (WIDE, MIDDLE, NARROW):
            closed = _closed(variance, build, times)
            rows.append(at_most(f"N(0, {variance:g})", window(times), LEMMA_SIDES + ", closed form", closed, 0.5))
    targets = {"curved mixture": law("curved_mixture"), "sphere, d = 3": law("sphere", dim=3)}
    for times in (WIDE, MIDDLE, NARROW, *(((0.4, 0.2, 0.1), (4.0, 3.0, 2.0)) if full else ())):
        for family, target in (targets | {"plane mixture": plane_mixture()}).items():
            measured, left = _sides(target, build, times)
            rows.append(at_most(family, window(times), LEMMA_SIDES + ", integrated flow", measured, 2.0 / 3.0))
            if family in targets:
                table = one_step(build, times)
                width = math.exp(2.0 * times[1]) * 2.0 * float(table.noise[0]) ** 2
                chain = ratio(kl.chain(target, table, reference="flow+noise"), left / width)
                quantity = "left side by the quantile map ÷ by the integrated flow"
                rows.append(near(family, window(times), quantity, chain, 1.0, tolerance))
    return rows


def _closed(variance: float, build: Build, times: Times) -> Estimate:
    """The ratio on N(0, λ); its error what rounding of the table leaves, z_b − z̃ being a small difference of states."""
    left, right = gaussian_half_error(variance, build, times)
    rounding = 8.0 * np.finfo(np.float64).eps * math.sqrt((variance + math.expm1(2.0 * times[0])) / left)
    return Estimate(left / right, 0.0, rounding * left / right, "closed form")


def _sides(target: Target, build: Build, times: Times) -> tuple[Estimate, float]:
    """(ratio of the lemma's sides, its error the change from a coarser lattice and fewer times; left side)."""
    left, right = half_error(target, build, times)
    rough = half_error(target, build, times, fine=False)
    value = left / right
    return Estimate(value, 0.0, abs(value - rough[0] / rough[1]), "integrated flow, two resolutions"), left
