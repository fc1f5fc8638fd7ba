"""Shape annotations of attnlab are enforced at every call while the tests run, where jaxtyping and beartype are.

What the tests check is not ticked off on the map of whoever runs them. PyTorch has one thread: with several in each of
the processes that share the cores, threads wait for each other in a circle, and a tenth of a second becomes ten.
"""

import os
from importlib.util import find_spec

import torch

if find_spec("jaxtyping") and find_spec("beartype"):  # Colab has neither
    from jaxtyping import install_import_hook

    install_import_hook("attnlab", "beartype.beartype")

os.environ["ATTNLAB_PROGRESS"] = ""
os.environ.setdefault("OMP_NUM_THREADS", "1")  # for the processes that the tests start
torch.set_num_threads(1)
