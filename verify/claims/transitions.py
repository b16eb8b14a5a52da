"""One step of the true reverse chain on the line, without the mmse curve: its transition densities by quadrature.

With the weights r_i(x) of the components given the state x at level k, and X in component i being N(μ_i(x), v_i/(1 + γv_i)),

    p(x′ | x) = Σ_i r_i(x) N(x′; A x + B μ_i(x), σ_q² + B² v_i/(1 + γ v_i)),

(A, B, σ_q) the true kernel's coefficients given (x, X).  Its divergence from a sampler's kernel N(a x + b m(x), s²) is an
integral over the plane of (x, x′) of densities alone.
"""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp

from targets import Target
from targets.arguments import refuse
from verify.carry.density import line_law
from verify.kl.quantile import RankedMixture
from verify.samplers.ddpm import posterior
from verify.step import Table


def transition_divergence(law: Target, table: Table, nodes: int = 12) -> float:
    """Σ_k E KL(p(x_{k+1} given x_k) ‖ N(a x_k + b m(x_k), s²)), nats: chain KL against the reverse chain, exact start.

    `nodes`: Gauss–Legendre nodes on panels of 1.5 widths of the narrowest component of the transition.  Laws on the line and
    one-evaluation tables; raises `ArgumentError` for other laws.
    """
    line = line_law(law) if isinstance(law, Target) else None
    if line is None:
        refuse("law", law, "a law on the line")
    weights, places, spread = line.weights, line.positions, line.variances
    a, b, s = table.affine()
    true = posterior(table.snr, table.alpha, table.sigma)
    total = 0.0
    for k in range(table.steps):
        alpha, sigma, snr = table.alpha[k], table.sigma[k], table.snr[k]
        here = RankedMixture(line, alpha, sigma)
        x, dx = here.nodes()
        mass = np.exp(here.log_density(x)) * dx
        x, mass = x[mass > 1e-18], mass[mass > 1e-18]
        parts = np.log(weights / here.widths) - 0.5 * ((x[:, None] - alpha * places) / here.widths) ** 2
        share = np.exp(parts - logsumexp(parts, axis=1, keepdims=True))
        clean = (places + snr * spread * x[:, None] / alpha) / (1.0 + snr * spread)
        answer = (share * clean).sum(1)
        centre = true[0][k] * x[:, None] + true[1][k] * clean
        within = np.sqrt(true[2][k] ** 2 + true[1][k] ** 2 * spread / (1.0 + snr * spread))
        total += float(mass @ _kernel_divergence(share, centre, within, a[k] * x + b[k] * answer, s[k], nodes))
    return total


def _kernel_divergence(
    share: np.ndarray, centre: np.ndarray, within: np.ndarray, mean: np.ndarray, noise: float, order: int
) -> np.ndarray:
    """KL(Σ_i share_i N(centre_i, within_i²) ‖ N(mean, noise²)) of each row, by panels that follow the components."""
    narrow = within.min()
    low, high = (centre - 10.0 * within).min(1), (centre + 10.0 * within).max(1)
    panels = int(np.ceil((high - low).max() / narrow / 1.5))
    nodes, weight = np.polynomial.legendre.leggauss(order)
    edges = np.linspace(0.0, 1.0, panels + 1)
    unit = (edges[:-1, None] + 0.5 * (1.0 + nodes) / panels).ravel()
    y = low[:, None] + (high - low)[:, None] * unit
    dy = (high - low)[:, None] * (np.tile(0.5 * weight, panels) / panels)
    with np.errstate(divide="ignore"):
        parts = np.log(share / within)[:, None] - 0.5 * ((y[:, :, None] - centre[:, None]) / within) ** 2
    log_p = np.asarray(logsumexp(parts, axis=2))
    log_q = -np.log(noise) - 0.5 * ((y - mean[:, None]) / noise) ** 2
    p = np.exp(log_p) / np.sqrt(2.0 * np.pi)
    return (p * np.where(p > 0, log_p - log_q, 0.0) * dy).sum(1)
