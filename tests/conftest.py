"""One thread and one process a worker, no curves kept between runs, and array shapes checked at run time.

The tests run one worker a core, and more threads or processes than cores slow every one of them.  A kept curve would hide a
change that a test makes to the code that computes it.  The import hook makes jaxtyping and beartype check the shapes that the
annotations behind the public methods promise, in tests only, and not where they are timed.
"""

import os
import sys

import torch
from jaxtyping import install_import_hook

os.environ["TRUERATE_CACHE"] = "off"
os.environ["LOKY_MAX_CPU_COUNT"] = "1"
torch.set_num_threads(1)
if "--benchmark-only" not in sys.argv:
    install_import_hook(
        [f"targets.{module}" for module in ("components", "shared", "separate", "lowrank", "laws", "markov")],
        "beartype.beartype",
    )
