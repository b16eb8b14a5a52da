"""What the marginal rung and the distances refuse: typed errors that say where, and what is available instead."""

from typing import Any

import numpy as np
import pytest
import torch

from targets import ArgumentError, Gaussian, Level, NotAvailableError, Product, Sphere, get
from verify import Grid, Table, kl, samplers
from verify.carry.density import density
from verify.carry.flow import flow, line_flow
from verify.carry.moments import moments
from verify.carry.radial import radial
from verify.oracle import ConstantBias, Exact, RandomField, ScaleError
from verify.samplers import BUILDERS

GRID = Grid.log_snr(6, snr=(0.1, 12.0))
TABLE = samplers.ddpm(GRID)
LINE, PLANE = get("curved_mixture"), get("codebook", n=4, dim=2)
RUNGS = [kl.marginal, kl.total_variation, kl.wasserstein]


def anything(value) -> Any:
    """`value` for a parameter whose type it does not have."""
    return value


# ---- arguments -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rung", [*RUNGS, kl.ladder])
class TestArguments:
    def test_target(self, rung):
        with pytest.raises(ArgumentError, match="target = 'two_points': expected a target"):
            rung(anything("two_points"), TABLE)

    def test_table(self, rung):
        for wrong in (GRID, samplers.ddpm, None, [TABLE]):
            with pytest.raises(
                ArgumentError, match=r"(?s)table = .*: expected a table: build one with verify.samplers"
            ):
                rung(LINE, anything(wrong))

    def test_oracle(self, rung):
        with pytest.raises(ArgumentError, match=r"oracle = .*: expected an oracle of this target"):
            rung(LINE, TABLE, oracle=anything(LINE.denoiser))
        for other in (get("two_points"), get("curved_mixture")):
            with pytest.raises(ArgumentError, match="expected an oracle of the same target, GaussianMixture"):
                rung(LINE, TABLE, oracle=Exact(other))

    def test_start(self, rung):
        with pytest.raises(ArgumentError, match=r"start = 'priors': expected .*did you mean 'prior'"):
            rung(LINE, TABLE, start="priors")
        with pytest.raises(ArgumentError, match=r"start = None: expected .*exact"):
            rung(LINE, TABLE, start=anything(None))

    def test_float32(self, rung):
        with pytest.raises(ArgumentError, match=r"target dtype = torch.float32: expected float64 .*target.to\(dtype="):
            rung(LINE.to(dtype=torch.float32), TABLE)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"points": 3}, "points = 3: expected an integer >= 8"),
        ({"points": 256.0}, "points = 256.0: expected an integer >= 8"),
        ({"points": True}, "points = True: expected an integer >= 8"),
        ({"points": "many"}, "points = 'many': expected an integer >= 8"),
        ({"seed": -1}, "seed = -1: expected an integer >= 0"),
        ({"seed": None}, "seed = None: expected an integer >= 0"),
        ({"seed": 0.5}, "seed = 0.5: expected an integer >= 0"),
    ],
)
def test_points_and_seed(changes, message):
    """Checked even where the carrier would not use them."""
    for law in (LINE, PLANE):
        with pytest.raises(ArgumentError, match=message):
            kl.marginal(law, samplers.ddim(GRID), **changes)


# ---- laws that nothing follows exactly ----------------------------------------------------------------------------------


def test_noisy_multistep_off_gaussians():
    """Multistep with noise: Gaussians only; elsewhere chain('reverse'), which works."""
    table = samplers.sde_dpmpp_2m(GRID)
    for law in (LINE, PLANE, get("two_points"), Sphere(3)):
        with pytest.raises(NotAvailableError, match=r"marginal KL of sde_dpmpp_2m .*kl.chain\(reference='reverse'\)"):
            kl.marginal(law, table)
        assert float(kl.chain(law, table, reference="reverse").value) > 0
    assert float(kl.marginal(get("gaussian", dim=3), table).value) > 0


@pytest.mark.parametrize("name", ["ddpm", "ei_sde", "jain_zhang", "stochastic_ddim", "dpm_solver_2_ancestral"])
def test_noise_on_general_laws_in_more_dimensions(name):
    """Told of the reverse chain where there is one (flow+noise would be refused too); deterministic tables go through."""
    table = BUILDERS[name](GRID.beyond() if name == "jain_zhang" else GRID)
    instead = r"available: particles" if name == "dpm_solver_2_ancestral" else r"'reverse'\), particles"
    message = rf"marginal KL of {name} on Discrete.*with noise, exact on Gaussians, on the line.*{instead}"
    for law in (PLANE, Product([PLANE, LINE])):
        with pytest.raises(NotAvailableError, match=message):
            kl.marginal(law, table)
    assert float(kl.marginal(PLANE, samplers.ddim(GRID)).value) > 0


def test_noise_where_no_chain_exists():
    """Tables with corrector or churn steps have particles only, and are told no chain."""
    for name in ("predictor_corrector", "edm_churn"):
        with pytest.raises(NotAvailableError, match=f"marginal KL of {name} .*; available: particles$"):
            kl.marginal(PLANE, BUILDERS[name](GRID))


@pytest.mark.parametrize("reference", ["reverse", "flow+noise"])
def test_chains_of_churn_and_corrector(reference):
    """The reason: steps at one level, steps without noise; both have a marginal."""
    for name, reason in (
        ("predictor_corrector", "step 1 does not raise the snr"),
        ("edm_churn", "a step without noise"),
    ):
        table = BUILDERS[name](GRID)
        with pytest.raises(NotAvailableError, match=rf"chain KL of {name}: {reason}.*; available: kl.marginal"):
            kl.chain(LINE, table, reference=reference)
        assert float(kl.marginal(LINE, table).value) > 0
    with pytest.raises(NotAvailableError, match="chain KL of langevin: step 0 does not raise the snr"):
        kl.chain(LINE, samplers.langevin(Level(0.6, 0.8), 2), reference=reference)


def test_carriers_refuse_what_they_cannot_follow():
    exact, noisy = Exact(LINE), samplers.sde_dpmpp_2m(GRID)
    with pytest.raises(NotAvailableError, match=r"density of sde_dpmpp_2m: a multistep table .*particles.*moments"):
        density(noisy, exact)
    with pytest.raises(NotAvailableError, match=r"density of dpmpp_2m: a multistep table .*flow carrier"):
        density(samplers.dpmpp_2m(GRID), exact)
    with pytest.raises(NotAvailableError, match=r"density of Discrete.*: laws with components on the line only"):
        density(TABLE, Exact(PLANE))
    with pytest.raises(NotAvailableError, match=r"flow of ddpm: its steps add noise.*available: .*density"):
        flow(TABLE, Exact(PLANE), points=16, seed=0)
    with pytest.raises(NotAvailableError, match="flow of sde_dpmpp_2m: its steps add noise"):
        line_flow(noisy, exact)
    for oracle in (Exact(PLANE), ScaleError(Sphere(3), 0.1)):
        with pytest.raises(
            NotAvailableError, match=r"radius of .*: rotation-invariant laws with the exact denoiser only"
        ):
            radial(TABLE, oracle)
    with pytest.raises(
        NotAvailableError, match=r"moments of GaussianMixture.*: exact on Gaussian targets only; use the"
    ):
        moments(TABLE, exact)
    with pytest.raises(NotAvailableError, match=r"moments with RandomField: .*only if the denoiser is affine"):
        moments(TABLE, RandomField(get("gaussian"), 0.1, seed=0))


# ---- maps that fold, laws out of reach ------------------------------------------------------------------------------------


def test_folded_map_on_the_line():
    """One step of heun on two points folds between them; ddim's map always increases; many steps of heun do too."""
    law, coarse = get("two_points"), Grid.log_snr(1, snr=(0.1, 10.0))
    with pytest.raises(
        NotAvailableError,
        match=r"of heun: from x = -?0\.\d+ at snr 0.1 the map to snr 10 folds .*; take more steps there, or use particles",
    ):
        kl.marginal(law, samplers.heun(coarse))
    assert float(kl.marginal(law, samplers.ddim(coarse)).value) > 0
    assert float(kl.marginal(law, samplers.heun(Grid.log_snr(16, snr=(0.1, 10.0)))).value) > 0


def test_folded_map_in_the_plane():
    with pytest.raises(
        NotAvailableError, match=r"flow of heun: the map to snr 50 folds at \d+ of 256 points .*; take more steps there"
    ):
        kl.marginal(PLANE, samplers.heun(Grid.log_snr(2, snr=(0.1, 50.0))))


def test_fold_of_a_later_step_is_placed():
    """The message names the levels of the step that folds, not of the whole table."""
    grid = Grid.from_snr(np.array([0.05, 0.1, 10.0]))
    with pytest.raises(NotAvailableError, match=r"the map to snr 10 folds"):
        kl.marginal(get("two_points"), samplers.heun(grid))


def test_infinite_divergence():
    """A denoiser that is off by a hundred: p lies where q underflows; on Gaussians a sampler without spread."""
    law = get("two_points")
    with pytest.raises(NotAvailableError, match=r"marginal KL of ddpm: infinite or beyond floats, 1 of the true mass"):
        kl.marginal(law, TABLE, oracle=ConstantBias(law, [100.0]))
    assert float(kl.total_variation(law, TABLE, oracle=ConstantBias(law, [3.0])).value) > 0.9
    ddim = samplers.ddim(GRID)
    collapsed = Table.one_stage(ddim.method, GRID, 0.0 * ddim.state, 0.0 * ddim.state, 0.0)
    with pytest.raises(NotAvailableError, match=r"infinite, the sampler's law is singular; available: kl.wasserstein"):
        kl.marginal(Gaussian([0.5], [[0.25]]), collapsed)
    assert float(kl.wasserstein(Gaussian([0.5], [[0.25]]), collapsed).value) > 0


def test_flow_that_misses_the_truth():
    """Without a check every weight is zero and E[w log w − w + 1] is 1 with no error at all."""
    with pytest.raises(
        NotAvailableError, match=r"of ddim by flow: E_q\[p/q\] is 0 instead of 1 over 256 points.*more steps"
    ):
        kl.marginal(PLANE, samplers.ddim(GRID), oracle=ConstantBias(PLANE, [100.0, 0.0]))


def test_refused_before_heavy_work():
    """Noise too fine for the width of the law: said how many nodes, how many are allowed and what to do."""
    table = samplers.ddpm(Grid.log_snr(400, snr=(0.1, 1e9)))
    with pytest.raises(
        NotAvailableError, match=r"resolution not reached, it would take .* nodes in a step \(most .*snr"
    ):
        kl.marginal(get("curved_mixture"), table)


# ---- distances --------------------------------------------------------------------------------------------------------


def test_distances_off_the_line():
    both = Product([LINE, get("two_points")])
    with pytest.raises(
        NotAvailableError, match=r"total variation on Product.*does not add .*kl.marginal, and √\(KL/2\)"
    ):
        kl.total_variation(both, TABLE)
    assert float(kl.wasserstein(both, TABLE).value) > 0
    for rung in (kl.total_variation, kl.wasserstein):
        with pytest.raises(NotAvailableError, match=r"distances of ddim on Discrete.*available: kl.marginal where"):
            rung(PLANE, samplers.ddim(GRID))
        with pytest.raises(NotAvailableError, match="distances of sde_dpmpp_2m on GaussianMixture"):
            rung(LINE, samplers.sde_dpmpp_2m(GRID))


def test_ladder_shows_refusals_and_raises_on_asking():
    ladder = kl.ladder(PLANE, samplers.predictor_corrector(GRID))
    text = " ".join(str(ladder).split())
    assert "does not raise" in text
    assert "nan" not in text
    with pytest.raises(NotAvailableError, match=r"chain \(reverse\): chain KL of predictor_corrector"):
        _ = ladder["chain (reverse)"]
    with pytest.raises(NotAvailableError, match="marginal: marginal KL of predictor_corrector"):
        _ = ladder["marginal"]
    with pytest.raises(ArgumentError, match=r"rung = 'margin': .*did you mean 'marginal'"):
        _ = ladder["margin"]
    with pytest.raises(ArgumentError, match=r"rung = 'chain': .*chain \(reverse\), chain \(flow\+noise\)"):
        _ = ladder["chain"]
