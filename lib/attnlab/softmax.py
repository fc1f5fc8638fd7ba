"""Softmax: any real numbers become positive weights that sum to one.

    softmax(x)_i = exp(x_i) / Σ_j exp(x_j)

Adding a constant to every x_j multiplies numerator and denominator alike, so it changes nothing. Taking the constant
to be −max(x) makes every exponent at most 0: exp cannot overflow, and the sum is at least 1, so nothing divides by 0.
"""

from attnlab.arrays import namespace
from attnlab.shapes import AnyArray, Float, Real


def softmax(x: Real[AnyArray, "..."], axis: int = -1) -> Float[AnyArray, "..."]:
    """The weights of ``x`` along ``axis``: each in [0, 1], together 1.

        softmax(x)_i = exp(x_i − m) / Σ_j exp(x_j − m),    m = max_j x_j

    Shape in, same shape out. An entry of −∞ gets weight 0; a row of nothing but −∞ has no softmax and gives NaN
    (``attnlab.masks.masked_softmax`` gives zeros there).
    """
    xp = namespace(x)
    weights = xp.exp(_below_peak(x, axis))
    return weights / xp.sum(weights, axis, keepdims=True)


def log_softmax(x: Real[AnyArray, "..."], axis: int = -1) -> Float[AnyArray, "..."]:
    """The logarithm of the softmax, without ever taking the logarithm of a weight that was rounded to 0.

    log softmax(x)_i = (x_i − m) − log Σ_j exp(x_j − m)
    """
    xp = namespace(x)
    x = _below_peak(x, axis)
    return x - xp.log(xp.sum(xp.exp(x), axis, keepdims=True))


def softmax_temperature(x: Real[AnyArray, "..."], tau: float | int, axis: int = -1) -> Float[AnyArray, "..."]:
    """Softmax of x / τ: τ < 1 sharpens towards the maximum, τ > 1 flattens towards equal weights.

    Reference: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015, equation 1.
    """
    if not tau > 0:
        raise ValueError(f"softmax_temperature expects tau > 0, got {tau}: for tau → 0 take the argmax instead")
    return softmax(x / tau, axis)


def softmax_vjp(p: Float[AnyArray, "..."], g: Float[AnyArray, "..."], axis: int = -1) -> Float[AnyArray, "..."]:
    """The gradient with respect to x, where p = softmax(x) and g is the gradient with respect to p.

        ∂p_i/∂x_j = p_i (δ_ij − p_j)    so    (gᵀ ∂p/∂x)_j = p_j (g_j − Σ_i g_i p_i)

    The Jacobian is symmetric and never built: its product with g costs one sum.
    """
    xp = namespace(p)
    return p * (g - xp.sum(g * p, axis, keepdims=True))


def fused_softmax(x: Float[AnyArray, "..."], axis: int = -1) -> Float[AnyArray, "..."]:
    """The numbers of ``softmax`` in one pass over memory, where the library has such a pass.

    PyTorch does; ``softmax`` above reads and writes ``x`` four times there. NumPy does not, and gets the formula.
    """
    xp = namespace(x)
    return xp.softmax(x, axis) if hasattr(xp, "softmax") else softmax(x, axis)


def _below_peak(x, axis):
    """x − max(x) along ``axis``; an axis without entries has no maximum, and nothing to subtract it from."""
    return x - namespace(x).amax(x, axis, keepdims=True) if x.shape[axis] else x
