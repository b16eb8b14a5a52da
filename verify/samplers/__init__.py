"""Table builders, one small file a family: a grid goes in, a table of coefficients comes out."""

from collections.abc import Callable
from functools import partial

from targets.arguments import one_of
from verify.grid import Grid
from verify.samplers.ancestral import dpm_solver_2_ancestral
from verify.samplers.churn import edm_churn
from verify.samplers.ddim import ddim, stochastic_ddim
from verify.samplers.ddpm import ddpm
from verify.samplers.ei_sde import ei_sde
from verify.samplers.euler_maruyama import euler_maruyama
from verify.samplers.jain_zhang import jain_zhang
from verify.samplers.langevin import langevin, predictor_corrector
from verify.samplers.multistep import dpmpp_2m, exponential_ab2, exponential_ab3, sde_dpmpp_2m
from verify.samplers.relative_score import relative_score
from verify.samplers.runge_kutta import dpm_solver_2, heun, randomised_midpoint, rk3
from verify.step import Table

BUILDERS: dict[str, Callable[[Grid], Table]] = {
    "ddim": ddim,
    "ddpm": ddpm,
    "dpm_solver_2": dpm_solver_2,
    "dpm_solver_2_ancestral": dpm_solver_2_ancestral,
    "dpmpp_2m": dpmpp_2m,
    "edm_churn": edm_churn,
    "ei_sde": ei_sde,
    "euler_maruyama": euler_maruyama,
    "exponential_ab2": exponential_ab2,
    "exponential_ab3": exponential_ab3,
    "heun": heun,
    "jain_zhang": jain_zhang,
    "jain_zhang_z": partial(jain_zhang, variant="z_score"),
    "predictor_corrector": predictor_corrector,
    "randomised_midpoint": randomised_midpoint,
    "relative_score": relative_score,
    "rk3": rk3,
    "sde_dpmpp_2m": sde_dpmpp_2m,
    "stochastic_ddim": stochastic_ddim,
}


def names() -> tuple[str, ...]:
    """Every sampler that `get` knows."""
    return tuple(BUILDERS)


def get(name: str) -> Callable[[Grid], Table]:
    """The builder called `name`; an unknown name is refused with the nearest known one."""
    return BUILDERS[one_of("sampler", name, BUILDERS)]


__all__ = [
    "BUILDERS",
    "ddim",
    "ddpm",
    "dpm_solver_2",
    "dpm_solver_2_ancestral",
    "dpmpp_2m",
    "edm_churn",
    "ei_sde",
    "euler_maruyama",
    "exponential_ab2",
    "exponential_ab3",
    "get",
    "heun",
    "jain_zhang",
    "langevin",
    "names",
    "predictor_corrector",
    "randomised_midpoint",
    "relative_score",
    "rk3",
    "sde_dpmpp_2m",
    "stochastic_ddim",
]
