"""One torch thread a worker, and array shapes checked at run time.

The tests run one worker a core, and more threads than cores slow every one of them.  The import hook makes jaxtyping and
beartype check the shapes that the annotations behind the public methods promise, in tests only.
"""

import torch
from jaxtyping import install_import_hook

torch.set_num_threads(1)
install_import_hook(
    [f"targets.{module}" for module in ("components", "shared", "separate", "lowrank", "laws", "markov")],
    "beartype.beartype",
)
