"""Shape annotations of attnlab are enforced at every call while the tests run."""

from jaxtyping import install_import_hook

install_import_hook("attnlab", "beartype.beartype")
