"""What a training run logs: the x0-loss in bands of log γ, with standard errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    import pandas as pd


class Bands:
    """Count, Σ ℓ and Σ ℓ² of the losses ℓ = ‖X − m̂‖² that fell in each band: `sums` (3, bands), float64."""

    def __init__(self, bands: int, device: torch.device | str = "cpu") -> None:
        self.sums = torch.zeros(3, bands, dtype=torch.float64, device=device)

    def add(self, place: Tensor, losses: Tensor) -> None:
        """Losses (n,) of samples at `place` (n,) in [0, 1) along log γ."""
        count = self.sums.shape[1]
        band = (place * count).long().clamp(0, count - 1)
        values = losses.double()
        self.sums.index_add_(1, band, torch.stack([torch.ones_like(values), values, values.square()]))

    def frame(self, low: float, high: float) -> pd.DataFrame:
        """Columns logsnr (centres), loss (mean) and stderr of every band of [low, high] with at least two samples."""
        import pandas as pd

        count, total, square = self.sums.cpu().numpy()
        centres = low + (high - low) * (np.arange(len(count)) + 0.5) / len(count)
        kept = count >= 2
        count, total, square = count[kept], total[kept], square[kept]
        mean = total / count
        stderr = np.sqrt(np.maximum(square / count - mean**2, 0.0) / (count - 1))
        return pd.DataFrame({"logsnr": centres[kept], "loss": mean, "stderr": stderr})
