"""What the denoiser of a large law holds, construction included: peaks of processes of their own."""

import subprocess
import sys

import pytest

PEAK = """
import resource, torch
from targets import Discrete, Level
atoms = torch.randn(COUNT, 784, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
law = Discrete(atoms, torch.full((COUNT,), 1.0 / COUNT, dtype=torch.float64))
built = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
y = torch.randn(BATCH, 784, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
law.denoiser(y, Level.from_snr(1.0))
print(before * 1024, built * 1024, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def peak(count, batch):
    program = PEAK.replace("COUNT", str(count)).replace("BATCH", str(batch))
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return [float(number) for number in run.stdout.split()]


@pytest.mark.slow
def test_a_few_copies_of_the_atoms():
    """Construction holds at most five copies beside the caller's; the denoiser never the scores."""
    before, built, after = peak(12_000, 2_000)
    copy = 12_000 * 784 * 8
    assert built - before <= 5 * copy
    assert after - built <= 0.5 * 12_000 * 2_000 * 8


@pytest.mark.slow
def test_sixty_thousand_atoms_in_two_gibibytes():
    """60,000 x 784 in float64 at batch 4,096, construction included."""
    assert peak(60_000, 4_096)[-1] <= 2 * 2**30
