"""What may cross between the judge and a student's process: numbers, strings, arrays, and containers of them.

A frame is a header (eight bytes: the length of the JSON, the length of the rest), JSON, and the raw bytes of the
arrays. Nothing is ever unpickled, every size is bounded, and what does not fit raises ``WireError``: a reply is data
from someone we do not trust.
"""

import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from autograder.expect import as_numpy, named

HEADER = struct.Struct(">II")
MAX_JSON = 4 << 20
MAX_BYTES = 256 << 20
MAX_DEPTH = 8
MAX_ITEMS = 100_000
DTYPES = frozenset(
    f"{kind}{size}" for kind, sizes in {"f": (2, 4, 8), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "b": (1,)}.items()
    for size in sizes
)  # fmt: skip
Read = Callable[[int], bytes]


class WireError(Exception):
    """A value that may not cross, or a frame that is not one."""


def encode(value: Any) -> bytes:
    """A value as a frame. ``WireError`` names the part that may not cross."""
    blobs: list[bytes] = []
    text = json.dumps(_pack(value, blobs, MAX_DEPTH), allow_nan=True).encode()
    payload = b"".join(blobs)
    if len(text) > MAX_JSON or len(payload) > MAX_BYTES:
        raise WireError(f"a value of {(len(text) + len(payload)) >> 20} MiB is too large to hand over")
    return HEADER.pack(len(text), len(payload)) + text + payload


def decode(read: Read) -> Any:
    """The next value of a stream; ``read(n)`` gives exactly ``n`` bytes or raises."""
    length, rest = HEADER.unpack(read(HEADER.size))
    if length > MAX_JSON or rest > MAX_BYTES:
        raise WireError("the reply claims to be larger than any may be")
    try:
        packed = json.loads(read(length))
    except (ValueError, RecursionError) as error:
        raise WireError("the reply is not in the agreed form") from error
    return _unpack(packed, memoryview(read(rest)), MAX_DEPTH)


def _pack(value: Any, blobs: list[bytes], depth: int) -> Any:
    """JSON in which everything that is not a plain scalar is ``[tag, …]``."""
    if depth < 0:
        raise WireError("containers are nested too deeply to hand over")
    if type(value) in (int, float, str, bool, type(None)):
        if type(value) is int and value.bit_length() > 1024:
            raise WireError("a whole number of that size cannot be handed over")
        return value
    if type(value) in (list, tuple):
        return [type(value).__name__, *(_pack(item, blobs, depth - 1) for item in value)]
    if type(value) is dict:
        return ["dict", *([_pack(k, blobs, 0), _pack(v, blobs, depth - 1)] for k, v in value.items())]
    try:
        array = as_numpy(value)
    except Exception as error:  # a tensor that is no tensor
        raise WireError(f"{type(value).__name__} is nothing that can be handed over") from error
    if array is None or array.dtype.str[1:] not in DTYPES:
        raise WireError(f"{named(value)} is nothing that can be handed over: return arrays, numbers or strings")
    array = np.asarray(array)
    library = "tensor" if hasattr(value, "detach") else "scalar" if isinstance(value, np.generic) else "array"
    data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    start = sum(map(len, blobs))
    blobs.append(data)
    dtype = str(value.dtype).removeprefix("torch.") if library == "tensor" else ""
    gaps = bool(array.ndim) and not array.flags.c_contiguous
    return [library, array.dtype.str[1:], list(array.shape), start, len(data), dtype, gaps]


def _unpack(packed: Any, payload: memoryview, depth: int) -> Any:
    if not isinstance(packed, list):
        return packed
    if depth < 0 or not packed or len(packed) > MAX_ITEMS:
        raise WireError("the reply is not in the agreed form")
    tag, *items = packed
    try:
        if tag in ("list", "tuple"):
            values = [_unpack(item, payload, depth - 1) for item in items]
            return values if tag == "list" else tuple(values)
        if tag == "dict":
            return {_unpack(k, payload, 0): _unpack(v, payload, depth - 1) for k, v in items}
        if tag in ("array", "scalar", "tensor"):
            return _array(tag, *items, payload=payload)
    except (TypeError, ValueError) as error:
        raise WireError("the reply is not in the agreed form") from error
    raise WireError("the reply is not in the agreed form")


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
    if dtype not in DTYPES or not all(isinstance(n, int) and n >= 0 for n in (*shape, start, length)):
        raise WireError("the reply is not in the agreed form")
    if start + length > len(payload):
        raise WireError("the reply claims more bytes than it has")
    array = np.frombuffer(payload[start : start + length], np.dtype("<" + dtype)).reshape(shape).copy()
    if library == "scalar":
        return array[()]
    if gaps:  # a view was sent, so a view arrives
        array = np.repeat(array, 2, axis=-1)[..., ::2]
    if library == "array":
        return array
    import torch

    wanted = getattr(torch, torch_dtype, None)
    tensor = torch.from_numpy(array)
    return tensor.to(wanted) if isinstance(wanted, torch.dtype) else tensor
