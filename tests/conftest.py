"""Shape annotations of attnlab are enforced at every call while the tests run, where jaxtyping and beartype are.

What the tests check is not ticked off on the map of whoever runs them.
"""

import os
from importlib.util import find_spec

if find_spec("jaxtyping") and find_spec("beartype"):  # Colab has neither
    from jaxtyping import install_import_hook

    install_import_hook("attnlab", "beartype.beartype")

os.environ["ATTNLAB_PROGRESS"] = ""
