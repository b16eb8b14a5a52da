"""Chain KL against flow+noise: the closed form, the quantile map and the integrated probability flow agree."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from targets import Discrete, Embedded, Gaussian, GaussianMixture, NotAvailableError, Product, Rotated, get
from verify import Grid, kl, rates, samplers
from verify.oracle import Exact, ScaleError
from verify.samplers import BUILDERS

NOISY = ("ddpm", "ei_sde", "euler_maruyama", "jain_zhang", "jain_zhang_z")
LINES = {
    "two_points": (get("two_points"), ([0.5, 0.5], [-1.0, 1.0], [0.0, 0.0])),
    "rare_point": (get("two_points", p=0.1), ([0.9, 0.1], [-1.0, 1.0], [0.0, 0.0])),
    "curved_mixture": (get("curved_mixture"), ([0.5, 0.3, 0.2], [-1.0, 0.8, 2.5], [0.04, 0.16, 0.01])),
}


def value(target, table, **kwargs) -> float:
    return float(kl.chain(target, table, reference="flow+noise", **kwargs).value)


def table(name: str, steps: int = 6, process: str = "vp"):
    grid = Grid.log_snr(steps, snr=(0.2, 8.0), process=process)
    return BUILDERS[name](grid.beyond() if name.startswith("jain_zhang") else grid)


# ---- Gaussians ---------------------------------------------------------------------------------------------------


def gaussian_value(steps, mu: float, lam: float) -> float:
    """Σ E(T(x) − a x − b m(x))²/(2s²), T affine between N(α_kμ, ·) and N(α_{k+1}μ, α_{k+1}²λ + σ_{k+1}² − s²)."""
    total = 0.0
    for k in range(steps.steps):
        a0, a1, a, b, s = steps.alpha[k], steps.alpha[k + 1], steps.state[k], steps.outputs[k, 0], steps.noise[k]
        before = a0**2 * lam + steps.sigma[k] ** 2
        after = a1**2 * lam + steps.sigma[k + 1] ** 2 - s**2
        x = a0 * mu + np.sqrt(before) * np.array([-np.sqrt(3), 0.0, np.sqrt(3)])  # Gauss–Hermite, exact to degree 5
        moved = a1 * mu + np.sqrt(after / before) * (x - a0 * mu)
        denoised = mu + a0 * lam / before * (x - a0 * mu)
        total += np.array([1, 4, 1]) / 6 @ (moved - a * x - b * denoised) ** 2 / (2 * s**2)
    return float(total)


@pytest.mark.parametrize("name", NOISY)
def test_gaussian_closed_form(name):
    """Coordinate by coordinate with three Gauss–Hermite nodes; a rotation changes nothing."""
    mu, lam = [1.5, -0.5, 0.0], [0.25, 4.0, 0.0]
    target, steps = Gaussian(mu, np.diag(lam)), table(name)
    expected = sum(gaussian_value(steps, m, v) for m, v in zip(mu, lam, strict=True))
    assert value(target, steps) == pytest.approx(expected, rel=1e-10, abs=0)
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    turned = Gaussian(turn @ mu, turn @ np.diag(lam) @ turn.T)
    assert value(turned, steps) == pytest.approx(expected, rel=1e-10, abs=0)


@pytest.mark.parametrize("name", NOISY)
@pytest.mark.parametrize(("mean", "variance"), [(0.7, 0.3), (0.0, 4.0), (-2.0, 0.01)])
def test_quantile_map_on_one_component(name, mean, variance):
    """N(m, v) as a mixture of one: the quantile map gives the Gaussian closed form to 1e-8."""
    mixture = GaussianMixture.isotropic([1.0], [[mean]], variance)
    assert value(mixture, table(name)) == pytest.approx(
        value(Gaussian([mean], [[variance]]), table(name)), rel=1e-8, abs=0
    )


@pytest.mark.parametrize("name", NOISY)
def test_quantile_map_on_a_point(name):
    """One atom is the Gaussian of variance zero; for ddpm the step is the flow and costs nothing but rounding."""
    point = value(Discrete([[0.4]], [1.0]), table(name))
    assert point == pytest.approx(value(Gaussian([0.4], [[0.0]]), table(name)), rel=1e-8, abs=1e-15)
    assert (point < 1e-15) == (name == "ddpm")


# ---- the line: the probability flow integrated ------------------------------------------------------------------


def score(x: np.ndarray, law, t: float) -> tuple[np.ndarray, np.ndarray]:
    """(score, log density) of e^{-t} X + √(1 − e^{-2t}) Z."""
    logs, pulls = [], []
    for w, a, v in zip(*law, strict=True):
        width2 = np.exp(-2 * t) * v - np.expm1(-2 * t)
        apart = x - np.exp(-t) * a
        logs.append(np.log(w) - 0.5 * np.log(2 * np.pi * width2) - 0.5 * apart**2 / width2)
        pulls.append(-apart / width2)
    top = np.max(logs, axis=0)
    share = np.exp(np.array(logs) - top)
    return (share * np.array(pulls)).sum(0) / share.sum(0), top + np.log(share.sum(0))


def flowed_value(steps, law) -> float:
    """The same sum with T⁻¹ from dx/dt = −x − s(x, t) by DOP853 (1e-12), in the vp scale and then rescaled.

    The nodes are drawn from the level that T leads to, where everything is smooth: between atoms T itself is nearly a jump,
    and quadrature over its argument converges hopelessly.
    """
    total = 0.0
    for k in range(steps.steps):
        early = 0.5 * np.log1p(1 / steps.snr[k])
        room = steps.sigma[k + 1] ** 2 - steps.noise[k] ** 2
        late = 0.5 * np.log1p(room / steps.alpha[k + 1] ** 2)
        width = np.sqrt(np.exp(-2 * late) * np.array(law[2]) - np.expm1(-2 * late))
        centres = np.exp(-late) * np.array(law[1])
        y = np.arange((centres - 9 * width).min(), (centres + 9 * width).max(), width.min() / 10)
        log_p = score(y, law, late)[1]
        y, log_p = y[log_p > -50], log_p[log_p > -50]
        flow = solve_ivp(
            lambda t, z: -z - score(z, law, t)[0], (late, early), y, method="DOP853", rtol=1e-12, atol=1e-12
        )
        x = flow.y[:, -1]
        denoised = (x - np.expm1(-2 * early) * score(x, law, early)[0]) / np.exp(-early)
        guess = steps.state[k] * x * steps.alpha[k] * np.exp(early) + steps.outputs[k, 0] * denoised
        off = y * steps.alpha[k + 1] * np.exp(late) - guess
        total += float(np.exp(log_p) @ off**2) * width.min() / 10 / (2 * steps.noise[k] ** 2)
    return total


@pytest.mark.parametrize("name", NOISY)
@pytest.mark.parametrize("line", LINES)
def test_quantile_map_against_the_integrated_flow(line, name):
    """1e-8 on atoms and on a curved mixture, expectation by the trapezoidal rule."""
    target, law = LINES[line]
    steps = table(name)
    assert value(target, steps) == pytest.approx(flowed_value(steps, law), rel=1e-8, abs=0)


@pytest.mark.parametrize("process", ["ve", "flow"])
def test_other_processes(process):
    """ddpm: the same number in every process, and by the integrated flow in its own scale."""
    target, law = LINES["curved_mixture"]
    steps = table("ddpm", 3, process)
    assert value(target, steps) == pytest.approx(flowed_value(steps, law), rel=1e-8, abs=0)
    assert value(target, steps) == pytest.approx(value(target, table("ddpm", 3)), rel=1e-9, abs=0)


def test_integrated_flow_sees_a_wrong_step():
    """The twin: 0.1% on the denoiser's coefficient is far outside the tolerance."""
    target, law = LINES["curved_mixture"]
    steps = table("jain_zhang", 3)
    right = flowed_value(steps, law)
    steps.outputs[:] *= 1.001
    assert abs(value(target, steps) / right - 1) > 1e-4


# ---- rate, start, refusals --------------------------------------------------------------------------------------


def sweep(target, name: str, reference: str, steps=(400, 800, 1600)) -> rates.RateFit:
    """Slope on h = c·min(1, t) from OU time 3 to 0.01."""
    grids = [Grid.exponential_uniform(k, ou_time=(3.0, 0.01)).beyond() for k in steps]
    return rates.fit(steps, [kl.chain(target, BUILDERS[name](grid), reference=reference) for grid in grids])


@pytest.mark.parametrize("name", ["jain_zhang", "jain_zhang_z"])
def test_slope_minus_two_on_a_gaussian(name):
    """chain(flow+noise) of Jain–Zhang: −2 within 0.05; its chain(reverse): −1 within 0.05."""
    target = get("gaussian", variance=0.25)
    for reference, slope in (("flow+noise", -2.0), ("reverse", -1.0)):
        assert sweep(target, name, reference).slope == pytest.approx(slope, abs=0.05)


def test_slope_on_a_curved_mixture():
    fit = sweep(get("curved_mixture"), "jain_zhang", "flow+noise", (60, 120, 240))
    assert fit.slope == pytest.approx(-2.0, abs=0.1)


def test_start_is_added():
    """The divergence at the first level, whatever the reference."""
    target, steps = get("curved_mixture"), table("jain_zhang")
    for start in ("moment", "prior"):
        row = float(kl.initial(target, steps, start)[0])
        assert value(target, steps, start=start) - value(target, steps) == pytest.approx(row, rel=1e-9, abs=0)


def test_products_rotations_and_null_coordinates():
    """Additive, unmoved by rotation, and each null coordinate costs what δ(0) costs."""
    steps = table("jain_zhang")
    parts = [get("two_points"), get("curved_mixture"), get("gaussian", dim=2)]
    inner = Product(parts)
    assert value(inner, steps) == pytest.approx(sum(value(part, steps) for part in parts), rel=1e-10, abs=0)
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))[0]
    null = value(Gaussian([0.0], [[0.0]]), steps)
    assert value(Embedded(Rotated(inner, turn), 9), steps) == pytest.approx(
        value(inner, steps) + 5 * null, rel=1e-10, abs=0
    )


@pytest.mark.parametrize(
    "target",
    [
        get("codebook", n=4, dim=2),
        get("random_centres", components=4, dim=2),
        Product([get("two_points"), get("codebook", n=4, dim=2)]),
        Rotated(get("random_centres", components=4, dim=2), np.eye(2)),
    ],
    ids=["atoms", "mixture", "product", "rotated"],
)
def test_refused_where_the_flow_is_not_known(target):
    with pytest.raises(
        NotAvailableError, match=r"the exact flow.* available for .*; available here: .*reference='reverse'"
    ):
        value(target, table("jain_zhang"))


def test_refused_with_a_wrong_denoiser():
    target = get("two_points")
    with pytest.raises(NotAvailableError, match="perturbed oracle; available: reference='reverse'"):
        value(target, table("jain_zhang"), oracle=ScaleError(target, 0.1))
    assert value(target, table("jain_zhang"), oracle=Exact(target)) == value(target, table("jain_zhang"))


def test_refused_without_room_for_a_flow():
    """Noise no smaller than the level's own leaves no flow before it."""
    steps = samplers.ei_sde(Grid.uniform_ou_time(1, ou_time=(2.0, 0.2)))
    with pytest.raises(NotAvailableError, match=r"step 0 adds noise .* so no flow precedes it; .*'reverse'"):
        value(get("two_points"), steps)


def test_refused_without_noise():
    with pytest.raises(
        NotAvailableError, match=r"chain KL of ddim: a step without noise .* available: kl.marginal, particles"
    ):
        value(get("two_points"), samplers.ddim(Grid.log_snr(3, snr=(0.2, 8.0))))
