"""How S²/4, the best constant of K·path KL, grows with the entropy of the law.

Where the plain O(H²/K) comes from and where it ends: for a rare bit, with ℓ = log 1/p, the posterior moves within
γ = 2ℓ ± O(√ℓ) and E Var² ≈ p/√ℓ there, so that S²/4 ∝ p √ℓ while H² ∝ p²ℓ² and H_½² ∝ p.  Neither square bounds it with one
constant for all p: the first is lost by 1/(p ℓ^{3/2}), the second by √ℓ.

Equiprobable orthogonal points: E‖Cov‖_F² moves within γ = O(ℓ), ℓ = log n, over a width O(√ℓ) at height ℓ^{-1/2}, S²/4 ∝ √ℓ.
Scales far apart: mmse′ is the sum of what single bits do at their own snr, S is n times one bit's, and S²/4 ∝ n² ∝ H².
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise

from targets import Estimate, Target
from verify import rates
from verify.claims.claim import Claim, Control, Row, at_most, from_fit, near, ratio, scaled
from verify.claims.laws import law

PAPER = "arXiv 2601.21943"
WHOLE = "snr 0 to infinity"
LEADING, MEASURED = "to leading order", "measured here"

Family = Mapping[float, Callable[[bool], Target]]
"""Size -> law."""


def orthogonal(sizes: Sequence[int] = (16, 64, 256)) -> Family:
    """n equiprobable orthogonal points: H = log n."""
    return {n: lambda full, n=n: law("orthogonal_points", full, n=n) for n in sizes}


def chains(sizes: Sequence[int] = (8, 16, 32)) -> Family:
    """Markov chains of fixed entropy rate and growing length."""
    return {n: lambda full, n=n: law("bit_chain", full, length=n) for n in sizes}


def nested(sizes: Sequence[int] = (2, 3, 4)) -> Family:
    """Fair bits at scales 32 times apart."""
    return {n: lambda _, n=n: law("nested_scales", bits=n) for n in sizes}


def rare(sizes: Sequence[float] = (3, 6, 12)) -> Family:
    """Rare bits, p = 10^-size."""
    return {n: lambda _, n=n: law("rare_bit", p=10.0**-n) for n in sizes}


def heavy(sizes: Sequence[int] = (2, 4, 8)) -> Family:
    """p_i ∝ i^{-3/2} at 30^{-i}, i ≤ n."""
    return {n: lambda _, n=n: law("heavy_tail", n=n) for n in sizes}


def limit_constant(target: Target) -> Estimate:
    """S²/4 over the whole range of snr."""
    length = target.curve.discretisation_length()
    slope = 0.5 * float(length.value)
    return Estimate(0.5 * slope * float(length.value), slope * float(length.stderr), slope * float(length.bias), "S²/4")


def exponent(full: bool, tolerance: float, *, family: Family, name: str, predicted: float) -> list[Row]:
    """Exponent of S²/4 in H along a family."""
    members = [build(full) for build in family.values()]
    entropies = [float(target.entropy().value) for target in members]
    found = rates.fit(entropies, [limit_constant(target) for target in members])
    window = f"{WHOLE}, H = {entropies[0]:.3g} to {entropies[-1]:.3g} nats"
    return [near(name, window, "exponent of S²/4 in H", from_fit(found), predicted, tolerance)]


RAREST = rare((24, 48))
NESTED: Mapping[str, Family] = {"nested scales": nested((2, 4))}
RARE_AND_HEAVY: Mapping[str, Family] = {"rare bits (size: decimals of p)": rare(), "heavy tails (size: atoms)": heavy()}


def growth(
    full: bool, tolerance: float, *, order: float, power: float = 2.0, families: Mapping[str, Family] = RARE_AND_HEAVY
) -> list[Row]:
    """By what factor S²/(4 H_a^power) grows when the size of a family doubles: 1 where one constant serves all sizes."""
    label = f"S²/(4 {'H' if order == 1.0 else 'H_½'}^{power:g})"
    rows = []
    for name, family in families.items():
        members = {size: build(full) for size, build in family.items()}
        found = {n: ratio(limit_constant(t), float(t.entropy(order).value) ** power) for n, t in members.items()}
        for size, doubled in pairwise(found):
            factor = ratio(found[doubled], found[size])
            where = f"{WHOLE}, size {size:g} to {doubled:g}"
            rows.append(at_most(name, where, f"growth of {label}", factor, 1.0 + tolerance))
    return rows


def rare_growth(full: bool, tolerance: float, *, family: Family = RAREST) -> list[Row]:
    """By what factor S²/(4 H_½²) grows along rare bits when log 1/p doubles, over the derived √2."""
    members = {size: build(full) for size, build in family.items()}
    found = {n: ratio(limit_constant(t), float(t.entropy(0.5).value) ** 2) for n, t in members.items()}
    less, more = list(found)[-2:]
    factor = scaled(ratio(found[more], found[less]), 0.5**0.5)
    where = f"{WHOLE}, p = 1e-{less:g} to 1e-{more:g}"
    return [near("rare bits", where, "growth of S²/(4 H_½²) ÷ √2", factor, 1.0, tolerance)]


def _exponent_claim(
    name: str, family: Family, label: str, predicted: float, tolerance: float, wrong: tuple[str, Family], basis: str
) -> Claim:
    def check(full: bool, tolerance: float, *, family: Family = family) -> list[Row]:
        return exponent(full, tolerance, family=family, name=label, predicted=predicted)

    return Claim(
        f"denoiser/exponent-{name}",
        f"{PAPER} bounds K·KL by O(H²); the exponent of each family is measured here",
        f"along {label} the limit S²/4 of K·path KL on the best grids grows like H^{predicted:g}",
        "curve",
        (label,),
        f"exponent {predicted:g} in H, to within {tolerance:g}",
        tolerance,
        check,
        Control(wrong[0], {"family": wrong[1]}),
        formula=rf"\frac{{\partial\log(S^2/4)}}{{\partial\log H}} = {predicted:g}",
        basis=basis,
        window=WHOLE,
        study="entropy_scaling",
    )


def _constant_claim(name: str, order: float, statement: str, source: str) -> Claim:
    return Claim(
        f"denoiser/{name}",
        source,
        statement,
        "curve",
        ("rare bits", "heavy tails"),
        "S²/4 over the squared entropy levels off along a family: factor ≤ 1 at each doubling of its size, to a tenth (no "
        "finite list of laws exceeds every C; growth at each doubling does in the end)",
        0.1,
        partial(growth, order=order),
        Control("the first power of entropy, nested scales", {"power": 1.0, "families": NESTED}),
        formula=rf"\frac{{Q(2n)}}{{Q(n)}} \le 1, \qquad Q(n) = \frac{{S^2}}{{4 {'H' if order == 1.0 else 'H_{1/2}'}^2}}",
        basis="our plain reading",
        window=f"{WHOLE}, K to infinity on best grids",
        contrast=Control("nested scales, where the square is sharp", {"families": NESTED}),
        study="entropy_scaling",
    )


CLAIMS = (
    _exponent_claim(
        "half",
        orthogonal(),
        "equiprobable orthogonal points",
        0.5,
        0.25,
        ("chains in place of points", chains()),
        LEADING,
    ),
    _exponent_claim(
        "one",
        chains(),
        "Markov chains of growing length",
        1.0,
        0.1,
        ("points in place of chains", orthogonal()),
        MEASURED,
    ),
    _exponent_claim(
        "two", nested(), "fair bits at nested scales", 2.0, 0.1, ("chains in place of scales", chains()), LEADING
    ),
    Claim(
        "denoiser/rare-bit-growth",
        "derived here",
        "along rare bits S²/4 ∝ p √log(1/p), so that S²/(4 H_½²) grows without bound, like √log(1/p)",
        "curve",
        ("rare bits",),
        "growth by √2 when log 1/p doubles",
        0.03,
        rare_growth,
        Control("fair bits at nested scales in their place", {"family": nested((2, 4))}),
        formula=r"\frac{Q(p^2)}{Q(p)} = \sqrt{2}, \qquad Q(p) = \frac{S^2}{4 H_{1/2}^2}, \qquad p = 10^{-24}",
        basis=LEADING,
        window=WHOLE,
        study="entropy_scaling",
    ),
    _constant_claim(
        "shannon-squared",
        1.0,
        "K·path KL ≤ C·H² on the best grids with one constant C for all laws, H Shannon's entropy",
        f"{PAPER} v1, abstract, with its endpoint factors left out",
    ),
    _constant_claim(
        "renyi-half-squared",
        0.5,
        "K·path KL ≤ C·H_½² on the best grids with one constant C for all laws, H_½ Rényi's entropy of order ½",
        f"{PAPER}, later version, with its endpoint factors left out",
    ),
)
"""Entropy and the best constant."""
