"""What can be asked of a student's function or object: to be called, differentiated, measured, read and set.

This runs where the student's code runs: in the learner's kernel, or in the sandbox.
"""

import random
import sys
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from autograder.expect import is_tensor, named

Operation = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]


class Impossible(Exception):
    """A question that this object cannot answer. The message is for the student; ``{name}`` stands for its name."""


def seed(number: int) -> None:
    """Start the global generators anew."""
    random.seed(number)
    np.random.seed(number)
    if torch := sys.modules.get("torch"):
        torch.random.default_generator.manual_seed(number)


@contextmanager
def repeatable(number: int) -> Iterator[None]:
    """The global generators start from a seed of ours, so that an answer is the same on every day; then as before."""
    torch = sys.modules.get("torch")
    state = random.getstate(), np.random.get_state(), torch.get_rng_state() if torch else None
    seed(number)
    try:
        yield
    finally:
        random.setstate(state[0])
        np.random.set_state(state[1])
        if torch and state[2] is not None:
            torch.set_rng_state(state[2])


def call(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return function(*args, **kwargs)


def gradients(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The result, and the gradients of ``Σ cotangent · result``; the cotangent is the first argument."""
    import torch

    cotangent, *inputs = (_leaf(value) for value in args)
    keywords = {key: _leaf(value) for key, value in kwargs.items()}
    value = function(*inputs, **keywords)
    result = value[0] if isinstance(value, tuple | list) and value else value
    if not is_tensor(result):
        raise Impossible(f"Your `{{name}}` returned {named(result)}; a tensor was expected, to be differentiated.")
    if not result.requires_grad:
        raise Impossible("No gradient flows through your `{name}`. Was its result detached, or made by NumPy?")
    if cotangent is None and result.numel() != 1:
        raise Impossible(f"Your `{{name}}` returned {named(result)}; a single number was expected.")
    total = result.sum() if cotangent is None else (result * cotangent.detach()).sum()
    module = getattr(function, "__self__", function)
    named_parameters = dict(module.named_parameters()) if isinstance(module, torch.nn.Module) else {}
    sources = [*inputs, *keywords.values(), *named_parameters.values()]
    wanted = [source for source in sources if is_tensor(source) and source.requires_grad]
    found = iter(torch.autograd.grad(total, wanted, allow_unused=True)) if wanted else iter(())

    def gradient(source: Any) -> Any:
        return next(found) if is_tensor(source) and source.requires_grad else None

    return {
        "value": value,
        "inputs": tuple(gradient(source) for source in inputs),
        "keywords": {key: gradient(source) for key, source in keywords.items()},
        "parameters": {name: gradient(source) for name, source in named_parameters.items()},
    }


def _leaf(value: Any) -> Any:
    if is_tensor(value) and value.is_floating_point():
        return value.detach().clone().requires_grad_()
    return value


def peak_bytes(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """The peak of what was allocated during the call: NumPy's arrays, and PyTorch's tensors."""
    from torch.autograd.profiler import profile

    tracemalloc.start()
    try:
        with profile(profile_memory=True) as recorded:
            function(*args, **kwargs)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    held = highest = 0
    for event in recorded.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            highest = max(highest, held)
    return peak + highest


def parameters(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    learned = _module(module).named_parameters()  # a module may keep buffers for itself
    return {name: value.detach().clone() for name, value in learned}


def load(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Set parameters and buffers by name. What is missing or of another shape is said in a sentence."""
    import torch

    state = {**dict(_module(module).named_parameters()), **dict(module.named_buffers())}
    values: Mapping[str, Any] = args[0]
    for name, value in values.items():
        if name not in state:
            there = ", ".join(f"`{known}`" for known in state) or "none"
            raise Impossible(f"Your `{type(module).__name__}` has no parameter `{name}`; it has {there}.")
        if tuple(state[name].shape) != tuple(value.shape):
            raise Impossible(
                f"`{name}` of your `{type(module).__name__}` has shape {tuple(state[name].shape)}; "
                f"expected is {tuple(value.shape)}."
            )
    with torch.no_grad():
        for name, value in values.items():
            state[name].copy_(torch.as_tensor(value))


def attribute(thing: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    try:
        return getattr(thing, args[0])
    except AttributeError:
        raise Impossible(f"Your `{type(thing).__name__}` has no attribute `{args[0]}`.") from None


def _module(module: Any) -> Any:
    import torch

    if not isinstance(module, torch.nn.Module):
        raise Impossible(f"Your `{{name}}` is {named(module)}; a class derived from `torch.nn.Module` was expected.")
    return module


OPERATIONS: dict[str, Operation] = {
    "call": call,
    "gradients": gradients,
    "peak_bytes": peak_bytes,
    "parameters": parameters,
    "load": load,
    "attribute": attribute,
}
