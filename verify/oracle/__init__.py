"""Denoiser oracles: exact, and imperfect with declared error moments.

Exact, ConstantBias, ScaleError     closed.py      closed forms on any target
RandomField                         field.py       exact moments on any target
Clipped, Rounded                    pointwise.py   what libraries do to an answer: moments by draws of the true law
WrongLevel, Empirical, WrongWeights another.py     the denoiser of another law or level: moments by draws
"""

from verify.oracle.another import Empirical, WrongLevel, WrongWeights
from verify.oracle.base import ErrorMoments, Oracle
from verify.oracle.closed import ConstantBias, Exact, ScaleError
from verify.oracle.field import RandomField
from verify.oracle.pointwise import Clipped, Rounded

__all__ = [
    "Clipped",
    "ConstantBias",
    "Empirical",
    "ErrorMoments",
    "Exact",
    "Oracle",
    "RandomField",
    "Rounded",
    "ScaleError",
    "WrongLevel",
    "WrongWeights",
]
