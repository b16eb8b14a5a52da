"""One torch thread a worker: the tests run one worker a core, and more threads than cores slow every one of them."""

import torch

torch.set_num_threads(1)
