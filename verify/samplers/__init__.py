"""Table builders, one small file a family: a grid goes in, a table of coefficients comes out."""

from collections.abc import Callable
from functools import partial

from targets.arguments import one_of
from verify.grid import Grid
from verify.samplers.ddim import ddim
from verify.samplers.ddpm import ddpm
from verify.samplers.ei_sde import ei_sde
from verify.samplers.euler_maruyama import euler_maruyama
from verify.samplers.jain_zhang import jain_zhang
from verify.step import Table

BUILDERS: dict[str, Callable[[Grid], Table]] = {
    "ddim": ddim,
    "ddpm": ddpm,
    "ei_sde": ei_sde,
    "euler_maruyama": euler_maruyama,
    "jain_zhang": jain_zhang,
    "jain_zhang_z": partial(jain_zhang, variant="z_score"),
}


def names() -> tuple[str, ...]:
    """Every sampler that `get` knows."""
    return tuple(BUILDERS)


def get(name: str) -> Callable[[Grid], Table]:
    """The builder called `name`; an unknown name is refused with the nearest known one."""
    return BUILDERS[one_of("sampler", name, BUILDERS)]


__all__ = ["BUILDERS", "ddim", "ddpm", "ei_sde", "euler_maruyama", "get", "jain_zhang", "names"]
