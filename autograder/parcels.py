"""Arguments that are no data but can be built again on the other side: random generators, types, small modules."""

from collections.abc import Callable
from typing import Any

import numpy as np

# torch.nn modules that a check may pass, and how each was made
MODULES: dict[str, tuple[str, ...]] = {
    "Dropout": ("p",),
    "Embedding": ("num_embeddings", "embedding_dim", "padding_idx"),
    "GELU": (),
    "Identity": (),
    "LayerNorm": ("normalized_shape", "eps"),
    "Linear": ("in_features", "out_features"),
    "ReLU": (),
    "Tanh": (),
}


def pack(value: Any) -> list[Any] | None:
    """``[tag, …]`` for a value of one of these kinds; None for any other."""
    if isinstance(value, np.random.Generator):
        state = value.bit_generator.state
        if state["bit_generator"] == "PCG64":
            inner = state["state"]
            return ["generator", str(inner["state"]), str(inner["inc"]), state["has_uint32"], state["uinteger"]]
    if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic)):
        return ["numpy type", np.dtype(value).name]
    kind = type(value)
    if kind.__module__ == "torch" and kind.__name__ == "dtype":
        return ["torch type", str(value).removeprefix("torch.")]
    made_from = MODULES.get(kind.__name__)
    if made_from is not None and kind.__module__.startswith("torch.nn."):
        made = {name: getattr(value, name) for name in made_from}
        if kind.__name__ == "Linear":
            made["bias"] = value.bias is not None
        return ["module", kind.__name__, made, dict(value.state_dict()), value.training]
    return None


def unpack(tag: str, items: list[Any]) -> Any:
    if tag == "generator":
        bits = np.random.PCG64()
        bits.state = {
            "bit_generator": "PCG64",
            "state": {"state": int(items[0]), "inc": int(items[1])},
            "has_uint32": items[2],
            "uinteger": items[3],
        }
        return np.random.Generator(bits)
    if tag == "numpy type":
        return np.dtype(items[0])
    if tag == "torch type":
        import torch

        return getattr(torch, items[0])
    if tag == "module":
        return _build(*items)
    raise ValueError(f"nothing is called {tag}")


def _build(name: str, made: dict[str, Any], state: dict[str, Any], training: bool) -> Any:
    import torch

    if name not in MODULES:
        raise ValueError(f"no module is called {name}")
    kind: Callable[..., Any] = getattr(torch.nn, name)
    built = kind(**made)
    for key, value in state.items():
        setattr(built, key, torch.nn.Parameter(value))
    return built.train(training)
