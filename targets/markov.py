"""Stationary Markov chains: laws on R^length that no product reaches, at a cost linear in the length.

Seen through the channel the chain is a hidden Markov model (Rabiner 1989): with e_i(s) = N(y_i; αv_s, σ²) every
quantity follows from two messages, what the past and the future of position i say of its state s,

    M_1 = π,   M_{i+1}(s) = Σ_s' M_i(s') e_i(s') P(s', s)              (the future: the same, backwards, with Pᵀ)
    q_i(s) = P(s_i = s given y)  ∝  M_i(s) e_i(s) M′_i(s)

The recursion over positions is sequential by nature and is the only Python loop; both directions go through it at
once, and everything else is vectorised over the batch, which is the last (contiguous) dimension.  Messages are logs,
in float64 whatever the dtype of the state: a path of probability e^{-1000} keeps its place until evidence decides.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor

from targets.arguments import NotAvailableError, array, integer, real, refuse
from targets.base import Target
from targets.channel import Level
from targets.components import by_rows
from targets.curve import Curve, SumCurve
from targets.discrete import Discrete
from targets.estimate import Estimate
from targets.finite_chain import EPS, closed_class, covariance_rank, path_entropy, squared_covariance, stationary_law
from targets.sampled import sampled_curve


class MarkovChain(Target):
    """X = (v_{s_1}, …, v_{s_length}), s a stationary chain with P(s_{i+1} = t given s_i = s) = transition[s, t].

    `values` (a,) are distinct reals, `transition` (a, a) is non-negative with rows that sum to one within 1e-9 (then
    normalised).  States are held in ascending order of value, and those that the stationary law never visits are
    dropped.  Raises `ArgumentError` for any other input, and where more than one stationary law exists.

    >>> MarkovChain([-1.0, 1.0], [[0.9, 0.1], [0.1, 0.9]], 16).entropy().value.round(6)
    np.float64(5.569392)
    """

    def __init__(self, values: Any, transition: Any, length: int) -> None:
        places = array("values", values, (None,))
        matrix = array("transition", transition, (len(places), len(places)))
        self.length = self.dim = integer("length", length, 1)
        places, order = places.sort()
        if bool((places.diff() == 0).any()):
            refuse("values", places.tolist(), "distinct values")
        if bool((matrix < 0).any()):
            refuse("transition", float(matrix.min()), "non-negative probabilities")
        sums = matrix.sum(1)
        if float((sums - 1.0).abs().max()) > 1e-9:
            refuse("row sums of transition", sums.tolist(), "a sum of 1 in each row (within 1e-9)")
        matrix = (matrix / sums[:, None])[order][:, order]
        kept = closed_class(matrix)
        self.values, self.transition = places[kept], matrix[kept][:, kept]
        self.stationary = stationary_law(self.transition)

    @property
    def mean(self) -> Float[Tensor, " dim"]:
        values, _, stationary = self._exact()
        return (stationary @ values).to(self.values.dtype).repeat(self.length)

    @property
    def total_variance(self) -> float:
        values, _, stationary = self._exact()
        return self.length * float(stationary @ (values - stationary @ values).square())

    @property
    def rank(self) -> int:
        values, transition, _ = self._exact()
        return covariance_rank(values, transition, self.length)

    def entropy(self, order: float = 1.0) -> Estimate:
        """Rényi entropy of the path, nats: the chain rule at order 1, else powers of the transition matrix."""
        _, transition, stationary = self._exact()
        return path_entropy(stationary.cpu(), transition.cpu(), self.length, order)

    def differential_entropy(self) -> Estimate:
        """A discrete law has no density."""
        raise NotAvailableError("differential_entropy() of a discrete law: it is -infinity; use entropy()")

    def latent_entropy(self, order: float = 1.0) -> Estimate:
        """Each path is a component: the entropy itself."""
        return self.entropy(order)

    def fourier(self, frequency: Float[Tensor, "f dim"]) -> tuple[Complex[Tensor, " f"], Complex[Tensor, "f dim"]]:
        flat = self._flat("frequency", frequency).double()
        chi, mean = by_rows(self._transform, 8 * self.length * len(self.values), flat)
        dtype = torch.complex128 if frequency.dtype == torch.float64 else torch.complex64
        return chi.to(dtype), mean.to(dtype)

    def describe(self) -> str:
        return f"states={len(self.values)}, length={self.length}, rank={self.rank}"

    def _sample(self, n: int, generator: torch.Generator) -> Float[Tensor, "n dim"]:
        uniform = torch.rand(n, self.length, generator=generator, dtype=torch.float64, device=generator.device)
        return self._walk(uniform.to(self.values.device)).to(self.values.dtype)

    def _log_prob(self, y: Float[Tensor, "n dim"], at: Level) -> Float[Tensor, " n"]:
        (out,) = by_rows(lambda rows: (self._evidence(rows, at),), 2 * self._width, y.double())
        return out.to(y.dtype)

    def _denoiser(self, y: Float[Tensor, "n dim"], at: Level) -> Float[Tensor, "n dim"]:
        def rows(state: Tensor) -> tuple[Tensor]:
            _, rest, apart, top = self._posterior(state, at)
            return ((self._exact()[0][top[:, 0]] + (rest * apart).sum(1)).mT,)

        return by_rows(rows, 4 * self._width, y.double())[0].to(y.dtype)

    def _posterior_trace(self, y: Float[Tensor, "n dim"], at: Level) -> Float[Tensor, " n"]:
        def rows(state: Tensor) -> tuple[Tensor]:
            _, rest, apart, _ = self._posterior(state, at)
            return (((rest * apart.square()).sum(1) - (rest * apart).sum(1).square()).sum(0),)

        return by_rows(rows, 4 * self._width, y.double())[0].to(y.dtype)

    def _posterior_product(
        self, y: Float[Tensor, "n dim"], probe: Float[Tensor, "n dim"], at: Level
    ) -> Float[Tensor, "n dim"]:
        """Cov[X_i, S given y], S = Σ_j probe_j X_j, from E[S given s_i = s, y] by one more pass of means each way."""

        def rows(state: Tensor, direction: Tensor) -> tuple[Tensor]:
            joint, rest, apart, top = self._posterior(state, at)
            own = direction.mT[:, None] * apart
            kernel = (joint[:-1, :, :, None] + self._log_steps()[1][..., None]).softmax(2)
            before = [torch.zeros_like(joint[0])]
            for weight, term in zip(kernel, torch.stack([own, own.flip(0)], 1)[:-1], strict=True):
                before.append((weight * (before[-1] + term)[:, :, None]).sum(1))
            past, future = torch.stack(before).unbind(1)
            given = past + own + future.flip(0)
            from_top = given - given.gather(1, top)
            spread = (rest * apart * from_top).sum(1) - (rest * apart).sum(1) * (rest * from_top).sum(1)
            return (spread.mT,)

        return by_rows(rows, 8 * self._width * len(self.values), y.double(), probe.double())[0].to(y.dtype)

    def _curve(self) -> Curve:
        values, transition, stationary = self._exact()
        if self.length == 1 or bool((transition == transition[0]).all()):
            return SumCurve([(Discrete(values[:, None].cpu(), stationary.cpu()).curve, self.length)])

        def draw(u: np.ndarray, z: np.ndarray) -> Tensor:
            from scipy.special import ndtr

            uniform = np.concatenate([u[:, None], ndtr(z[:, 1:])], 1)
            return self._walk(torch.as_tensor(uniform, device=values.device))

        centred = values - stationary @ values
        gap = float(values.diff().min())
        return sampled_curve(
            self._posterior_trace,
            draw,
            self.dim,
            1e-2 / (self.length * float(centred.square().max())),
            8.0 * 14.0 / gap**2,
            head=squared_covariance(values, transition, stationary, self.length),
            discrete=True,
            points=self.points,
            least_rate=gap**2 / 8.0,
        )

    @property
    def _width(self) -> int:
        return self.length * len(self.values)

    def _exact(self) -> tuple[Tensor, Tensor, Tensor]:
        """(values, transition, stationary law) in float64 on this law's device, however it was moved."""
        law = self if self._double is None else self._double
        assert isinstance(law, MarkovChain)
        values, transition, stationary = (
            part.to(self.values.device) for part in (law.values, law.transition, law.stationary)
        )
        return values, transition, stationary

    def _log_steps(self) -> tuple[Tensor, Tensor]:
        """log of (start (2, a), step (2, a, a)) of the message from the past and of that from the future."""
        _, transition, stationary = self._exact()
        start = torch.stack([stationary, torch.ones_like(stationary)])
        return start.log(), torch.stack([transition, transition.mT]).log()

    def _emission(self, y: Tensor, at: Level) -> tuple[Tensor, Tensor]:
        """log e_i(s) less its largest over s, (length, a, n), and y_i − αv at that nearest value v, (length, n).

        From differences of values: (α/σ²)(v_s − v)(y_i − α(v_s + v)/2) keeps its relative accuracy at every snr.
        """
        values, state = self._exact()[0], y.mT.contiguous()
        middles = 0.5 * at.alpha * (values[1:] + values[:-1])
        nearest = values[torch.bucketize(state.detach(), middles)][:, None]
        values, state = values[:, None], state[:, None]
        log_ratio = (values - nearest) * (state - 0.5 * at.alpha * (values + nearest)) * (at.alpha / at.sigma**2)
        return log_ratio, (state - at.alpha * nearest)[:, 0]

    def _evidence(self, y: Tensor, at: Level) -> Tensor:
        log_ratio, residual = self._emission(y, at)
        start, step = self._log_steps()
        messages, shift = _messages(log_ratio[:, None], start[:1], step[:1])
        noise = -0.5 * (residual / at.sigma).square().sum(0) - self.length * math.log(at.sigma * math.sqrt(2 * math.pi))
        return noise + shift[0, 0] + (messages[-1, 0] + log_ratio[-1]).logsumexp(0)

    def _posterior(self, y: Tensor, at: Level) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(log M_i e_i of both directions (length, 2, a, n), q with each position's largest set to zero (length, a, n),
        v_s less the v of that largest, its index (length, 1, n)).

        Differences from the most probable value and the remaining weights, tiny and relatively accurate, keep the
        covariance accurate when it is exponentially small.
        """
        log_ratio, _ = self._emission(y, at)
        emission = torch.stack([log_ratio, log_ratio.flip(0)], 1)
        messages, _ = _messages(emission, *self._log_steps())
        joint = messages + emission
        posterior = (joint[:, 0] + messages[:, 1].flip(0)).softmax(1)
        top = posterior.argmax(1, keepdim=True)
        values = self._exact()[0]
        return joint, posterior.scatter(1, top, 0.0), values[:, None] - values[top], top

    def _transform(self, frequency: Tensor) -> tuple[Tensor, Tensor]:
        """(E e^{iω·X}, E X e^{iω·X}): the messages again, with e^{iω_i v_s} for e_i(s); bounded, so no logs."""
        values, transition, stationary = self._exact()
        wave = torch.exp(1j * frequency.mT[:, :, None] * values)
        step = torch.stack([transition, transition.mT]).to(wave.dtype)
        message = [torch.stack([stationary, torch.ones_like(stationary)])[:, None].to(wave.dtype).expand_as(wave[:2])]
        for factor in torch.stack([wave, wave.flip(0)], 1)[:-1]:
            message.append((message[-1] * factor) @ step)
        past, future = torch.stack(message).unbind(1)
        weight = past * wave
        return weight[-1].sum(-1), (weight * future.flip(0) * values).sum(-1).mT

    def _walk(self, uniform: Float[Tensor, "n dim"]) -> Float[Tensor, "n dim"]:
        """The path that uniform numbers drive, each step by inversion of its distribution function."""
        values, transition, stationary = self._exact()
        cumulative = torch.cat([stationary[None], transition]).cumsum(1)
        cumulative = cumulative / cumulative[:, -1:]
        rows, path = torch.zeros(len(uniform), dtype=torch.int64, device=uniform.device), []
        for column in uniform.mT:
            path.append((cumulative[rows] <= column[:, None]).sum(1).clamp_max(len(values) - 1))
            rows = path[-1] + 1
        return values[torch.stack(path, 1)]


def _messages(emission: Tensor, start: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
    """(log M_i (length, k, a, n), each row's scaled by its largest M·e so far; log of the scales' product (k, 1, n)).

    emission (length, k, a, n), start (k, a) and step (k, a, a) are logs; k recursions run side by side.
    """
    messages = [start[:, :, None].expand(emission.shape[1:])]
    shift = torch.zeros_like(emission[0, :, :1])
    for log_e in emission[:-1]:
        joint = messages[-1] + log_e
        top = joint.detach().amax(1, keepdim=True)
        shift = shift + top
        messages.append(((joint - top)[:, :, None] + step[..., None]).logsumexp(1))
    return torch.stack(messages), shift


def bit_chain(length: int = 16, stay: float = 0.9, distance: float = 2.0) -> MarkovChain:
    """±distance/2 at each of `length` positions, a position like the one before with probability `stay`."""
    return _bits(
        length, 1.0 - real("stay", stay, "a probability strictly between 0 and 1", low=0.0, high=1.0), distance
    )


def fixed_entropy_chain(length: int = 16, entropy_nats: float = 4.0, distance: float = 2.0) -> MarkovChain:
    """The bit chain (stay > ½) whose whole path has the given entropy: dimension at fixed information, not a product.

    log 2 + (length − 1) h(flip) = entropy_nats, h(p) = −p log p − (1 − p) log(1 − p); so log 2 < entropy_nats <
    length·log 2, and a length of at least 2.
    """
    from scipy.optimize import brentq

    length, bit = integer("length", length, 2), math.log(2.0)
    expected = f"a number strictly between log 2 and {length} log 2 nats"
    target = real("entropy_nats", entropy_nats, expected, low=bit, high=length * bit)
    rate = (target - bit) / (length - 1)

    def excess(log_p: float) -> float:
        p = math.exp(log_p)
        return -p * log_p - (1.0 - p) * math.log1p(-p) - rate

    log_flip = brentq(excess, -700.0, -bit, xtol=1e-15, rtol=4 * EPS)  # pyright: ignore[reportArgumentType]
    return _bits(length, math.exp(log_flip), distance)  # pyright: ignore[reportArgumentType]


def _bits(length: int, flip: float, distance: float) -> MarkovChain:
    half = 0.5 * real("distance", distance, "a number > 0", low=0.0)
    return MarkovChain([-half, half], [[1.0 - flip, flip], [flip, 1.0 - flip]], length)
