"""What may cross between the judge and a student's process: numbers, strings, arrays, and containers of them.

A frame is a header (eight bytes: the length of the JSON, the length of the rest), JSON, and the raw bytes of the
arrays. Nothing is ever unpickled, every size is bounded, and what does not fit raises ``WireError``: a reply is data
from someone we do not trust. What is neither data nor nothing (an object of the student's, a function of the judge's)
crosses as a reference, which the two callbacks ``refer`` and ``resolve`` make and read.
"""

import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from autograder.expect import as_numpy, is_tensor, named

HEADER = struct.Struct(">II")
MAX_JSON = 4 << 20
MAX_BYTES = 64 << 20
MAX_DEPTH = 8
MAX_ITEMS = 100_000
DTYPES = frozenset(
    f"{kind}{size}"
    for kind, sizes in {"f": (2, 4, 8), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "b": (1,), "c": (8, 16)}.items()
    for size in sizes
)
DATA = (bool, int, float, complex, str, bytes, type(None), list, tuple, set, frozenset, dict, np.ndarray, np.generic)
CONTAINERS: dict[str, type] = {"list": list, "tuple": tuple, "set": set}
Read = Callable[[int], bytes]
Refer = Callable[[Any], "list[Any] | None"]
Resolve = Callable[[str, "list[Any]"], Any]


class WireError(Exception):
    """A value that may not cross, or a frame that is not one."""


def encode(value: Any, refer: Refer = lambda value: None) -> bytes:
    """A value as a frame. ``WireError`` names the part that may not cross."""
    blobs: list[bytes] = []
    text = json.dumps(_pack(value, blobs, MAX_DEPTH, refer), allow_nan=True).encode()
    payload = b"".join(blobs)
    if len(text) > MAX_JSON or len(payload) > MAX_BYTES:
        raise WireError(f"a value of {(len(text) + len(payload)) >> 20} MiB is too large to hand over")
    return HEADER.pack(len(text), len(payload)) + text + payload


def decode(read: Read, resolve: Resolve | None = None) -> Any:
    """The next value of a stream; ``read(n)`` gives exactly ``n`` bytes or raises."""
    length, rest = HEADER.unpack(read(HEADER.size))
    if length > MAX_JSON or rest > MAX_BYTES:
        raise WireError("the reply claims to be larger than any may be")
    try:
        packed = json.loads(read(length))
    except (ValueError, RecursionError) as error:
        raise WireError("the reply is not in the agreed form") from error
    try:
        return _unpack(packed, memoryview(read(rest)), MAX_DEPTH, resolve)
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError, RuntimeError) as error:
        raise WireError("the reply is not in the agreed form") from error


def through(value: Any, refer: Refer, resolve: Resolve) -> Any:
    """What arrives on the other side, without a pipe: a check then sees the same values wherever the answer runs."""
    frame = memoryview(encode(value, refer))
    position = 0

    def read(n: int) -> bytes:
        nonlocal position
        position += n
        return bytes(frame[position - n : position])

    return decode(read, resolve)


def _pack(value: Any, blobs: list[bytes], depth: int, refer: Refer) -> Any:
    """JSON in which everything that is not a plain scalar is ``[tag, …]``."""
    if depth < 0:
        raise WireError("containers are nested too deeply to hand over")
    if type(value) in (int, float, str, bool, type(None)):
        if type(value) is int and value.bit_length() > 1024:
            raise WireError("a whole number of that size cannot be handed over")
        return value
    reference = refer(value)
    if reference is not None:
        tag, *items = reference
        return [tag, *(_pack(item, blobs, depth - 1, refer) for item in items)]
    if isinstance(value, list | tuple | set | frozenset):
        tag = "list" if isinstance(value, list) else "tuple" if isinstance(value, tuple) else "set"
        if len(value) > MAX_ITEMS:
            raise WireError(f"{named(value)} of {len(value)} items is too long to hand over")
        return [tag, *(_pack(item, blobs, depth - 1, refer) for item in value)]
    if isinstance(value, dict):
        return ["dict", *([_pack(k, blobs, 1, refer), _pack(v, blobs, depth - 1, refer)] for k, v in value.items())]
    return _pack_array(value, blobs)


def _pack_array(value: Any, blobs: list[bytes]) -> list[Any]:
    try:
        array = as_numpy(value)
    except Exception as error:  # a tensor that is no tensor
        raise WireError(f"{type(value).__name__} is nothing that can be handed over") from error
    if array is None or array.dtype.str[1:] not in DTYPES:
        raise WireError(f"{named(value)} is nothing that can be handed over: return arrays, numbers or strings")
    array = np.asarray(array)
    library = "tensor" if is_tensor(value) else "scalar" if isinstance(value, np.generic) else "array"
    data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    start = sum(map(len, blobs))
    blobs.append(data)
    dtype = str(value.dtype).removeprefix("torch.") if library == "tensor" else ""
    gaps = bool(array.ndim) and not array.flags.c_contiguous
    return [library, array.dtype.str[1:], list(array.shape), start, len(data), dtype, gaps]


def _unpack(packed: Any, payload: memoryview, depth: int, resolve: Resolve | None) -> Any:
    if not isinstance(packed, list):
        if isinstance(packed, dict):
            raise WireError("the reply is not in the agreed form")
        return packed
    if depth < 0 or not packed or len(packed) > MAX_ITEMS + 1 or not isinstance(packed[0], str):
        raise WireError("the reply is not in the agreed form")
    tag, *items = packed
    if tag in CONTAINERS:
        return CONTAINERS[tag](_unpack(item, payload, depth - 1, resolve) for item in items)
    if tag == "dict":
        return {_unpack(k, payload, 1, resolve): _unpack(v, payload, depth - 1, resolve) for k, v in items}
    if tag in ("array", "scalar", "tensor"):
        return _array(tag, *items, payload=payload)
    if resolve is None:
        raise WireError("the reply is not in the agreed form")
    return resolve(tag, [_unpack(item, payload, depth - 1, resolve) for item in items])


def _array(
    library: str,
    dtype: str,
    shape: list[int],
    start: int,
    length: int,
    torch_dtype: str,
    gaps: bool,
    *,
    payload: memoryview,
) -> Any:
    if dtype not in DTYPES or not all(type(n) is int and n >= 0 for n in (*shape, start, length)) or len(shape) > 16:
        raise WireError("the reply is not in the agreed form")
    if start + length > len(payload):
        raise WireError("the reply claims more bytes than it has")
    array = np.frombuffer(payload[start : start + length], np.dtype("<" + dtype)).reshape(shape).copy()
    if library == "scalar":
        return array[()]
    if gaps and array.ndim:  # a view was sent, so a view arrives
        array = np.repeat(array, 2, axis=-1)[..., ::2]
    if library == "array":
        return array
    import torch

    wanted = getattr(torch, torch_dtype, None)
    tensor = torch.from_numpy(array)
    return tensor.to(wanted) if isinstance(wanted, torch.dtype) else tensor
