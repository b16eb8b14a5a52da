"""Rates read off measured points: what a curve of values over x (steps, dimension, entropy) says of its asymptotics.

    asymptotic      which points lie in the asymptotic range                              window
    fit             slope of log value against log x with a 95% interval                  slope
    limit           limit of a sequence whose order of approach is known                  limit
    joint           exponents of several factors at once                                  joint
    choose          which of several shapes predicts points that it was not fitted to     choice
    steps_to_reach  the least K at which a divergence is below a level                    reach

All read `Estimate`s, or values with standard errors (`points`): exact rows (no standard error) are judged by their change
with x, noisy rows by their stated errors, and an estimate's bias by the most that it can do.
"""

from verify.rates.choice import Choice, choose
from verify.rates.joint import JointFit, joint
from verify.rates.limit import limit
from verify.rates.reach import StepsToReach, steps_to_reach
from verify.rates.slope import RateFit, fit
from verify.rates.window import Window, asymptotic

__all__ = [
    "Choice",
    "JointFit",
    "RateFit",
    "StepsToReach",
    "Window",
    "asymptotic",
    "choose",
    "fit",
    "joint",
    "limit",
    "steps_to_reach",
]
