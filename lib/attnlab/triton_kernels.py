"""FlashAttention for a GPU, in Triton: ``flash`` once more, a program a tile. Import it through ``gpu_kernels``.

Each program owns one block of rows, keeps its running numbers in registers, and streams the other side past them:
``_forward`` owns queries; ``_backward_kv`` owns keys and ``_backward_q`` queries, so that no two programs add to the
same place. Only tiles that the diagonal or the ragged end cuts through are masked. Tensors are contiguous, (N, T, D);
products take the inputs' precision, sums are float32, scores are in base 2 (see ``flash``).
"""

import inspect
import math

import triton
import triton.language as tl

LOG2_E = math.log2(math.e)


def kernel(function):
    """triton.jit, of the function as written: Triton reads source, and cannot see through a type checker's wrapper."""
    return triton.jit(inspect.unwrap(function))


@kernel
def _rows(X, n, length, index, D: tl.constexpr):
    """Rows ``index`` of sequence n; zeros past its end."""
    d = tl.arange(0, D)
    return tl.load(X + (n * length + index[:, None]) * D + d[None, :], mask=index[:, None] < length, other=0.0)


@kernel
def _seen(t, s, T, S, CAUSAL: tl.constexpr):
    """May query t attend to key s? Ends aligned; nothing past either end."""
    seen = (t < T) & (s < S)
    if CAUSAL:
        seen = seen & (s <= t + S - T)
    return seen


@kernel
def _attend(
    q, m, l, out, K, V, n, t, first, end, T, S, scale,
    D: tl.constexpr, BLOCK_S: tl.constexpr, CAUSAL: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    """The online softmax over the keys first … end − 1."""
    for j in range(first, end, BLOCK_S):
        s_index = j + tl.arange(0, BLOCK_S)
        k = _rows(K, n, S, s_index, D)
        v = _rows(V, n, S, s_index, D)
        s = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
        if MASKED:
            s = tl.where(_seen(t[:, None], s_index[None, :], T, S, CAUSAL), s, float("-inf"))
        m_new = tl.maximum(m, tl.max(s, 1))
        p = tl.exp2(s - m_new[:, None])
        shrink = tl.exp2(m - m_new)
        l = l * shrink + tl.sum(p, 1)
        out = out * shrink[:, None] + tl.dot(p.to(v.dtype), v, input_precision="ieee")
        m = m_new
    return m, l, out


@kernel
def _forward(
    Q, K, V, OUT, L, T, S, scale,
    D: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_S: tl.constexpr, CAUSAL: tl.constexpr,
):  # fmt: skip
    """OUT and L = m + log₂ l for one block of queries."""
    i, n = tl.program_id(0) * BLOCK_T, tl.program_id(1).to(tl.int64)
    t = i + tl.arange(0, BLOCK_T)
    q = _rows(Q, n, T, t, D)
    m = tl.full([BLOCK_T], -1e30, tl.float32)  # finite: a row that sees nothing stays at 2^−∞ = 0
    l = tl.zeros([BLOCK_T], tl.float32)
    out = tl.zeros([BLOCK_T, D], tl.float32)
    seen_by_all, seen_by_any = S, S
    if CAUSAL:
        seen_by_all = tl.minimum(tl.maximum(i + S - T + 1, 0), S)
        seen_by_any = tl.minimum(tl.maximum(i + BLOCK_T + S - T, 0), S)
    whole = seen_by_all // BLOCK_S * BLOCK_S
    m, l, out = _attend(q, m, l, out, K, V, n, t, 0, whole, T, S, scale, D, BLOCK_S, CAUSAL, False)
    m, l, out = _attend(q, m, l, out, K, V, n, t, whole, seen_by_any, T, S, scale, D, BLOCK_S, CAUSAL, True)
    L_t = tl.where(l == 0, 0.0, m + tl.log2(tl.where(l == 0, 1.0, l)))
    out = out / tl.where(l == 0, 1.0, l)[:, None]
    d = tl.arange(0, D)
    tl.store(OUT + (n * T + t[:, None]) * D + d[None, :], out.to(OUT.dtype.element_ty), mask=t[:, None] < T)
    tl.store(L + n * T + t, L_t, mask=t < T)


@kernel
def _backward_kv(
    Q, K, V, DOUT, L, DELTA, DK, DV, T, S, scale, rate,
    D: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_S: tl.constexpr, CAUSAL: tl.constexpr,
):  # fmt: skip
    """dK and dV for one block of keys; tiles are keys × queries, so nothing is transposed to add to them."""
    j, n = tl.program_id(0) * BLOCK_S, tl.program_id(1).to(tl.int64)
    s_index = j + tl.arange(0, BLOCK_S)
    k = _rows(K, n, S, s_index, D)
    v = _rows(V, n, S, s_index, D)
    dk = tl.zeros([BLOCK_S, D], tl.float32)
    dv = tl.zeros([BLOCK_S, D], tl.float32)
    first = 0
    if CAUSAL:
        first = tl.maximum(j - (S - T), 0) // BLOCK_T * BLOCK_T
    for i in range(first, T, BLOCK_T):
        t = i + tl.arange(0, BLOCK_T)
        q = _rows(Q, n, T, t, D)
        dout = _rows(DOUT, n, T, t, D)
        L_t = tl.load(L + n * T + t, mask=t < T, other=0.0)
        delta = tl.load(DELTA + n * T + t, mask=t < T, other=0.0)
        s = tl.dot(k, tl.trans(q), input_precision="ieee") * scale
        s = tl.where(_seen(t[None, :], s_index[:, None], T, S, CAUSAL), s, float("-inf"))
        p = tl.exp2(s - L_t[None, :])
        dv += tl.dot(p.to(dout.dtype), dout, input_precision="ieee")
        dp = tl.dot(v, tl.trans(dout), input_precision="ieee")
        ds = p * (dp - delta[None, :])
        dk += tl.dot(ds.to(q.dtype), q, input_precision="ieee")
    d = tl.arange(0, D)
    place = (n * S + s_index[:, None]) * D + d[None, :]
    tl.store(DK + place, (dk * rate).to(DK.dtype.element_ty), mask=s_index[:, None] < S)
    tl.store(DV + place, dv.to(DV.dtype.element_ty), mask=s_index[:, None] < S)


@kernel
def _backward_q(
    Q, K, V, DOUT, L, DELTA, DQ, T, S, scale, rate,
    D: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_S: tl.constexpr, CAUSAL: tl.constexpr,
):  # fmt: skip
    """dQ for one block of queries."""
    i, n = tl.program_id(0) * BLOCK_T, tl.program_id(1).to(tl.int64)
    t = i + tl.arange(0, BLOCK_T)
    q = _rows(Q, n, T, t, D)
    dout = _rows(DOUT, n, T, t, D)
    L_t = tl.load(L + n * T + t, mask=t < T, other=0.0)
    delta = tl.load(DELTA + n * T + t, mask=t < T, other=0.0)
    dq = tl.zeros([BLOCK_T, D], tl.float32)
    end = S
    if CAUSAL:
        end = tl.minimum(tl.maximum(i + BLOCK_T + S - T, 0), S)
    for j in range(0, end, BLOCK_S):
        s_index = j + tl.arange(0, BLOCK_S)
        k = _rows(K, n, S, s_index, D)
        v = _rows(V, n, S, s_index, D)
        s = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
        s = tl.where(_seen(t[:, None], s_index[None, :], T, S, CAUSAL), s, float("-inf"))
        p = tl.exp2(s - L_t[:, None])
        dp = tl.dot(dout, tl.trans(v), input_precision="ieee")
        ds = p * (dp - delta[:, None])
        dq += tl.dot(ds.to(k.dtype), k, input_precision="ieee")
    d = tl.arange(0, D)
    tl.store(DQ + (n * T + t[:, None]) * D + d[None, :], (dq * rate).to(DQ.dtype.element_ty), mask=t[:, None] < T)


def forward(q, k, v, out, L, causal):
    """Fill ``out`` and ``L``."""
    N, T, D = q.shape
    S = k.shape[1]
    block_t, block_s = 128, 64 if D <= 64 else 32
    grid = (triton.cdiv(T, block_t), N)
    _forward[grid](q, k, v, out, L, T, S, LOG2_E * D**-0.5, D, block_t, block_s, causal, num_warps=4, num_stages=3)


def backward(q, k, v, dout, L, delta, dq, dk, dv, causal):
    """Fill ``dq``, ``dk`` and ``dv``."""
    N, T, D = q.shape
    S = k.shape[1]
    scale, rate = LOG2_E * D**-0.5, D**-0.5
    common = {"D": D, "BLOCK_T": 64, "BLOCK_S": 64, "CAUSAL": causal, "num_warps": 4, "num_stages": 2}
    _backward_kv[(triton.cdiv(S, 64), N)](q, k, v, dout, L, delta, dk, dv, T, S, scale, rate, **common)
    _backward_q[(triton.cdiv(T, 64), N)](q, k, v, dout, L, delta, dq, T, S, scale, rate, **common)
