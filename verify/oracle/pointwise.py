"""What is done to an answer before it is used: clipping, and rounding to a smaller number format."""

from __future__ import annotations

import torch
from torch import Tensor

from targets import Level, NotAvailableError, Target
from targets.arguments import one_of, real
from verify.oracle.sampled import SampledOracle

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Clipped(SampledOracle):
    """m̂ = min(max(m, low), high) in each coordinate, as libraries do to the predicted x0 by default.

    No error on laws whose convex hull lies inside the cube [low, high]^d, such as images in their usual range.
    """

    smooth = False

    def __init__(
        self, target: Target, low: float = -1.0, high: float = 1.0, *, points: int = 128, seed: int = 0
    ) -> None:
        super().__init__(target, points=points, seed=seed)
        self.low = real("low", low, "a finite number")
        self.high = real("high", high, "a finite number > low", low=self.low)

    def error(self, y: Tensor, denoised: Tensor, at: Level) -> Tensor:
        return denoised.clamp(self.low, self.high) - denoised

    def error_product(self, y: Tensor, product: Tensor, probe: Tensor, at: Level) -> Tensor:
        denoised = self.target.denoiser(y, at)
        return torch.where((denoised > self.low) & (denoised < self.high), 0.0, -product)


class Rounded(SampledOracle):
    """m̂ = r(m(r(y))), r the rounding to `dtype` ("float32", "bfloat16" or "float16"); the arithmetic inside stays exact.

    What storing states and answers in a small format costs by itself.  A state or an answer that overflows the format
    raises `NotAvailableError`, and so does the derivative: m̂ is a step function.
    """

    def __init__(self, target: Target, dtype: str, *, points: int = 128, seed: int = 0) -> None:
        super().__init__(target, points=points, seed=seed)
        self.dtype = one_of("dtype", dtype, DTYPES)

    def error(self, y: Tensor, denoised: Tensor, at: Level) -> Tensor:
        return self._rounded("answer", self.target.denoiser(self._rounded("state", y), at)) - denoised

    def error_product(self, y: Tensor, product: Tensor, probe: Tensor, at: Level) -> Tensor:
        raise NotAvailableError(
            f"derivative of a denoiser rounded to {self.dtype}: it is a step function, and densities and flows need one; "
            "available: particles, kl.path, kl.chain(reference='reverse')"
        )

    def _rounded(self, what: str, value: Tensor) -> Tensor:
        most = torch.finfo(DTYPES[self.dtype]).max
        if value.numel() and (size := float(value.abs().max())) > most:
            raise NotAvailableError(
                f"{what} of size {size:.6g}: beyond {self.dtype}, whose largest number is {most:.6g}; available: bfloat16, "
                "or process='vp'"
            )
        return value.to(DTYPES[self.dtype]).to(value.dtype)
