"""A heat map as a tiny picture inside a drawing: one pixel a cell, stretched without blurring."""

import base64
import struct
import zlib

import numpy as np

from attnlab.shapes import Array

# Matplotlib's viridis, the map of weights in attnlab.plotting, at sixteen places; in between it is nearly straight.
COLOURS = (
    "440154 481a6c 472f7d 414487 39568c 31688e 2a788e 23888e 1f988b 22a884 35b779 54c568 7ad151 a5db36 d2e21b fde725"
)


def picture_of(
    weights: Array, may: Array, x: float | int, y: float | int, width: float | int, height: float | int
) -> str:
    """Weights (T, S) from 0 to 1 as an SVG image at a place. What the mask forbids, and gets nothing, is clear."""
    levels = 1 + np.rint(np.clip(weights, 0, 1) * 15).astype(np.uint8)
    data = base64.b64encode(png(np.where(may | (weights > 0), levels, 0).astype(np.uint8))).decode()
    return (
        f'<image x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" preserveAspectRatio="none" '
        f'style="image-rendering:pixelated" href="data:image/png;base64,{data}"/>'
    )


def png(levels: Array) -> bytes:
    """A picture of (rows, columns) numbers: 0 is clear, n is the n-th of the colours."""
    T, S = levels.shape

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = np.concatenate([np.zeros((T, 1), np.uint8), levels], axis=1)  # each begins with its filter: none
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (
            chunk(b"IHDR", struct.pack(">IIBBBBB", S, T, 8, 3, 0, 0, 0)),
            chunk(b"PLTE", bytes.fromhex("000000" + COLOURS)),
            chunk(b"tRNS", b"\0"),
            chunk(b"IDAT", zlib.compress(rows.tobytes(), 9)),
            chunk(b"IEND", b""),
        )
    )
