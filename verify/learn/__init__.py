"""Learned scores: networks trained by denoising score matching, whose error is known exactly because the mmse is.

plan.py, architecture.py, principal.py   what is trained, and how
training.py, state.py, bands.py          the run: `train`, resumable to the same weights, and its log of losses
checkpoint.py, progress.py               safetensors files; the bar
learned.py, evaluation.py                the network as an oracle; its loss on a fixed evaluation set
error_curve.py                           its error along the noise level, and what that costs in nats
"""

from verify.learn.architecture import Architecture, Network
from verify.learn.error_curve import ErrorCurve
from verify.learn.evaluation import EvaluationSet
from verify.learn.learned import Learned
from verify.learn.plan import Training
from verify.learn.training import DivergedError, Trained, load, train, untrained

__all__ = [
    "Architecture",
    "DivergedError",
    "ErrorCurve",
    "EvaluationSet",
    "Learned",
    "Network",
    "Trained",
    "Training",
    "load",
    "train",
    "untrained",
]
