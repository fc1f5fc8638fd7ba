"""Masks: who may attend to whom. The only place where masks are made.

A mask is boolean, **True means: may attend**, and broadcasts to ``(B, H, T, S)``. Functions here make one, combine
several, and turn masked scores into weights. A query that may attend to nothing gets zeros.
"""

from attnlab.arrays import namespace
from attnlab.shapes import AnyArray, Array, Bool, Float, Tensor
from attnlab.softmax import fused_softmax


def padding_mask(lengths: AnyArray, S: int) -> Bool[AnyArray, "B 1 1 S"]:
    """Sequence b has ``lengths[b]`` tokens, the rest up to S is padding: no query may look at it.

        mask[b, 0, 0, s] = s < lengths[b]

    The mask hides *keys*. What a padded *query* computes is of no interest to anyone, and is left alone.
    """
    if lengths.ndim != 1:
        raise ValueError(f"padding_mask expects one length a sequence, shape (B,), got shape {tuple(lengths.shape)}")
    if ((lengths < 0) | (lengths > S)).any():
        raise ValueError(
            f"padding_mask expects lengths from 0 to S = {S}, got {lengths.min()} to {lengths.max()}: "
            "was the batch cut after its lengths were measured?"
        )
    return (_places(S, like=lengths) < lengths[:, None])[:, None, None, :]


def causal_mask(T: int, S: int | None = None, *, like: AnyArray | None = None) -> Bool[AnyArray, "T S"]:
    """Nobody may look at the future. Queries are the *last* T of S positions (S defaults to T).

        mask[t, s] = s ≤ t + S − T

    With S > T the earlier keys come from a cache; the last query always sees everything. With S < T the first
    T − S queries precede every key, and see nothing. ``like`` gives the library and the device of the mask.
    """
    t, s = _queries_and_keys(T, S, like)
    return s <= t


def local_mask(T: int, S: int, radius: int, *, like: AnyArray | None = None) -> Bool[AnyArray, "T S"]:
    """Each query sees the keys at most ``radius`` places away, itself included: 2 · radius + 1 of them.

        mask[t, s] = |s − (t + S − T)| ≤ radius

    Aligned at the end like ``causal_mask``, so that the two combine to a sliding window.
    """
    if radius < 0:
        raise ValueError(f"local_mask expects a radius of 0 or more, got {radius}")
    t, s = _queries_and_keys(T, S, like)
    return abs(s - t) <= radius


def window_mask(centre: AnyArray, S: int, radius: int | float) -> Bool[AnyArray, "*batch S"]:
    """Each query sees the keys within ``radius`` of a centre of its own, which need not be a whole number.

    mask[…, s] = |s − centre[…]| ≤ radius
    """
    return abs(_places(S, like=centre) - centre[..., None]) <= radius


def combine(*masks: AnyArray | None) -> AnyArray | None:
    """What every mask permits: their logical *and*. ``None`` permits everything; so does no mask at all."""
    permitted = None
    for mask in masks:
        if mask is not None:
            require_boolean(mask)
            permitted = mask if permitted is None else permitted & mask
    return permitted


def masked_softmax(
    scores: Float[AnyArray, "..."], mask: Array | Tensor | None, axis: int = -1
) -> Float[AnyArray, "..."]:
    """Softmax over the permitted entries alone; the others get weight 0, and so does a row that permits nothing.

        weights_i = mask_i exp(x_i) / Σ_j mask_j exp(x_j)    (0 where the sum is empty)

    A forbidden score becomes −∞ *before* the softmax, so the rest sum to one: exp(x + log m) = m exp(x). A row of
    nothing but −∞ would be 0/0, in the gradient too: such a row is left open, and its weights are zeroed afterwards.
    """
    if mask is None or scores.shape[axis] == 0:
        return fused_softmax(scores, axis)
    require_boolean(mask)
    mask = _fit(mask, scores)
    xp = namespace(scores)
    has_key = xp.any(mask, axis, keepdims=True)
    if not has_key.all():
        return xp.where(has_key, masked_softmax(scores, mask | ~has_key, axis), 0.0)
    # log mask, at the mask's own size. Added rather than filled in: the gradient passes through an addition for free.
    barrier = xp.asarray(xp.where(mask, 0.0, -xp.inf), dtype=scores.dtype)
    return fused_softmax(scores + barrier, axis)


def require_boolean(mask: Array | Tensor) -> None:
    """A mask of 0 and 1, or of 0 and −∞, means something else in every library: refuse it."""
    if mask.dtype != namespace(mask).bool:
        raise TypeError(
            f"a mask is boolean, True = may attend; got dtype {mask.dtype} of shape {tuple(mask.shape)}: "
            "compare first (ids != PAD), or turn a mask of 0 and −∞ into `mask == 0`"
        )


def _fit(mask, scores):
    """The mask with as many axes as the scores; its axes of length 1 are broadcast later."""
    if mask.shape == scores.shape:
        return mask
    missing = scores.ndim - mask.ndim
    if missing < 0 or any(m not in (1, n) for m, n in zip(mask.shape, scores.shape[missing:], strict=True)):
        raise ValueError(
            f"expected a mask that broadcasts to the scores, {tuple(scores.shape)}, got {tuple(mask.shape)}: "
            "axes are matched from the right, so is one for the heads or the queries missing, or one too many?"
        )
    return mask[(None,) * missing]


def _queries_and_keys(T, S, like):
    """The places of queries, as a column, and of keys, as a row, in one sequence that both end with."""
    S = T if S is None else S
    return _places(T, like)[:, None] + (S - T), _places(S, like)[None, :]


def _places(n, like):
    return namespace(like).arange(n, device="cpu" if like is None else like.device)
