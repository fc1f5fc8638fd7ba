"""Chapter 6, Attention in sequence to sequence: a decoder that looks back before each word it writes."""

import numpy as np
import torch

from attnlab import luong, seq2seq
from attnlab.additive import AdditiveAttention, additive_scores
from attnlab.masks import masked_softmax
from attnlab.softmax import softmax
from autograder import expect
from autograder.exercise import Exercise
from autograder.student import StudentError


def _ask(function, given, causes):
    """What the student's function returns; where shapes did not fit in it, with a likely cause beside NumPy's words."""
    try:
        return function(*given)
    except StudentError as error:
        cause = next((cause for words, cause in causes.items() if words in str(error)), "")
        if error.raised != "ValueError" or not cause:
            raise
        raise expect.CheckFailure(str(error), cause) from error


# ----------------------------------------------------------------------------------------------------- decoder_step


def _through_torch(module, name, weight):
    getattr(module, name).data = torch.as_tensor(np.ascontiguousarray(weight))


def _decoder_step(y, previous, memory, mask, attention, cell):
    """The step of ``attnlab.seq2seq``, whose weights live in modules, for arrays."""
    W_q, W_k, v = attention
    W_x, W_s, b_x, b_s = cell
    look = AdditiveAttention(W_q.shape[0], W_k.shape[0], W_q.shape[1])
    for layer, weight in ((look.W_q, W_q.T), (look.W_k, W_k.T), (look.v, v[None])):
        _through_torch(layer, "weight", weight)
    gru = torch.nn.GRUCell(W_x.shape[0], W_s.shape[0])
    for name, weight in (("weight_ih", W_x.T), ("weight_hh", W_s.T), ("bias_ih", b_x), ("bias_hh", b_s)):
        _through_torch(gru, name, weight)
    with torch.no_grad():
        h = torch.tensor(memory)
        seen = seq2seq.Memory(h, look.W_k(h), torch.tensor(mask)[:, None])
        step = seq2seq.decoder_step(torch.tensor(y), torch.tensor(previous), seen, look, gru)
    return tuple(part.numpy() for part in step)


decoder_step = Exercise(
    "decoder_step",
    chapter=6,
    reference=_decoder_step,
    minutes=25,
    difficulty=3,
    forbidden=("attnlab.seq2seq.decoder_step", "attnlab.seq2seq.BahdanauDecoder"),
)

PARTS = ("state", "context", "weights")
AVERAGE = (
    "`weights` is (B, S) and `memory` (B, S, d_h): is the sum `(weights[:, None] @ memory)[:, 0]`, or one like it?"
)
NO_FIT = {
    "same number of dimensions": AVERAGE,
    "concatenation axis": "Are word and context joined along their last axis, `axis=-1`?",
    "mask that broadcasts": "The mask is (B, S). Is the axis of length 1 taken off the scores before the softmax?",
    "matmul": "W_q takes the state, d_s; W_k the memory, d_h; `gru` takes [y; context], d_y + d_h. Which is it?",
    "broadcast together": AVERAGE,
}
B, S, D_Y, D_S, D_H, D = 2, 7, 3, 5, 11, 13


def _parameters(rng, d_y=D_Y, d_s=D_S, d_h=D_H, d=D, kind=np.float64):
    def draw(*shape):
        return rng.normal(size=shape).astype(kind)

    attention = draw(d_s, d), draw(d_h, d), draw(d)
    cell = draw(d_y + d_h, 3 * d_s) / 2, draw(d_s, 3 * d_s), draw(3 * d_s), draw(3 * d_s)
    return attention, cell


def _drawn(rng, batch=B, length=S, kind=np.float64, d=D):
    """Everything that one step is given; the second sequence ends before the memory does."""
    attention, cell = _parameters(rng, d=d, kind=kind)
    y, previous = rng.normal(size=(batch, D_Y)).astype(kind), np.tanh(rng.normal(size=(batch, D_S))).astype(kind)
    memory = np.tanh(rng.normal(size=(batch, length, D_H))).astype(kind)
    mask = np.arange(length) < np.array([length, *rng.integers(2, length, size=batch - 1)])[:, None]
    return y, previous, memory, mask, attention, cell


def _step(student, *given):
    """The student's state, context and weights, after a look at whether there are three."""
    came = _ask(student.decoder_step, given, NO_FIT)
    expect.true(
        isinstance(came, tuple | list) and len(came) == 3,
        f"Your function returned {expect.named(came)}; the three arrays state, context and weights were expected.",
        "Does it end with `return state, context, weights`?",
    )
    return dict(zip(PARTS, came, strict=True))


def _is(came, part, want, cause, tolerance=None):
    """One of the three is what it should be; an array that is another of the three is told from one that is wrong."""
    arrays = {name: expect.as_numpy(value) for name, value in came.items()}
    shapes = {name: () if array is None else array.shape for name, array in arrays.items()}
    if shapes[part] != want.shape and want.shape in shapes.values():
        what = f"Array {PARTS.index(part) + 1} of 3, the {part}, has shape {shapes[part]}; expected is {want.shape}."
        raise expect.CheckFailure(what, "In which order are the three returned: state, context, weights?")
    expect.close(came[part], want, cause, tolerance)


@decoder_step.check(points=1)
def test_step_by_hand(student, rng):
    """The step that the text solves by hand, with c for the 4: weights ¼ and ¾, context ¾c, state ½ tanh(¾c)."""
    y, previous, c = np.zeros((1, 1)), np.zeros((1, 1)), 4 * rng.uniform(0.5, 1)
    memory, mask = np.array([[[0.0], [c]]]), np.array([[True, True]])
    attention = np.zeros((1, 1)), np.full((1, 1), 100.0), np.array([np.log(3)])
    cell = np.array([[0.0, 0, 0], [0, 0, 1]]), np.zeros((1, 3)), np.zeros(3), np.zeros(3)
    came = _step(student, y, previous, memory, mask, attention, cell)
    _is(came, "weights", np.array([[0.25, 0.75]]), "Do the scores go through tanh, v and softmax?")
    _is(came, "context", np.array([[0.75 * c]]), "Is the context the weighted average of the memory?")
    _is(
        came, "state", np.array([[np.tanh(0.75 * c) / 2]]), "Does the GRU read the word and the context, in that order?"
    )


@decoder_step.check(points=2)
def test_step_looks_with_the_previous_state(student, rng):
    """Where it looks is decided by the state from before the step; the word `y` has no say in it."""
    y, previous, *rest = _drawn(rng, d=D_H)  # one width for keys and memory: who averages the keys falls elsewhere
    want = _decoder_step(y, previous, *rest)[2]
    cause = "Which state do your scores use: the one from before the step, or one that this step has already changed?"
    _is(_step(student, y, previous, *rest), "weights", want, cause)
    _is(_step(student, y + 1, previous, *rest), "weights", want, cause)
    other = -previous
    _is(_step(student, y, other, *rest), "weights", _decoder_step(y, other, *rest)[2], "Do the scores use the state?")


@decoder_step.check(points=1)
def test_step_never_looks_at_padding(student, rng):
    """Padding gets weight 0, the rest sum to one; what stands in the padding changes nothing."""
    y, previous, memory, mask, *rest = _drawn(rng)
    _, context, weights = _decoder_step(y, previous, memory, mask, *rest)
    loud = np.where(mask[..., None], memory, 100.0)
    came = _step(student, y, previous, loud, mask, *rest)
    cause = "Is the mask handed to the softmax, so that a forbidden score never counts?"
    _is(came, "weights", weights, cause)
    _is(came, "context", context, cause)
    quiet = expect.as_numpy(_step(student, y, previous, memory, mask, *rest)["state"])
    expect.true(quiet is not None, "Your new state is no array.", "Does it end with `return state, context, weights`?")
    _is(came, "state", quiet, cause)  # what a state should be is another law's: a wrong cell is no wrong mask


@decoder_step.check(points=1)
def test_context_is_the_average_of_the_memory(student, rng):
    """The context is the average of the encoder's states `memory`, under the weights of this step."""
    given = _drawn(rng)
    _is(
        _step(student, *given),
        "context",
        _decoder_step(*given)[1],
        "Is it the rows of `memory` itself that are averaged, with the weights of this step?",
    )


@decoder_step.check(points=2)
def test_state_has_read_the_word_and_the_context(student, rng):
    """The new state is `gru` of `[y; context]` and the previous state."""
    given = _drawn(rng)
    _is(
        _step(student, *given),
        "state",
        _decoder_step(*given)[0],
        "Is the input of `gru` first the word, then the context of this very step?",
    )


@decoder_step.check(points=1)
def test_steps_in_a_row(student, rng):
    """Three steps, each from the state that the one before returned: states, contexts and weights all agree."""
    y, previous, *rest = _drawn(rng)
    mine = theirs = previous
    for t in range(3):
        want = _decoder_step(y + t, mine, *rest)
        came = _step(student, y + t, theirs, *rest)
        for part, expected in zip(PARTS, want, strict=True):
            _is(came, part, expected, f"Step {t + 1} went astray. Did the state before it?", tolerance=1e-7)
        mine, theirs = want[0], expect.as_numpy(came["state"])


@decoder_step.check(points=1)
def test_step_takes_every_kind_of_array(student, rng):
    """It is right for views, float32, huge scores, one position alone; what was passed in is the same afterwards."""
    y, previous, memory, mask, (W_q, W_k, v), cell = _drawn(rng)
    view = np.moveaxis(np.moveaxis(memory, 2, 0).copy(), 0, 2)
    extreme = y, previous, view, mask, (W_q, W_k, 1000 * v), cell
    for part, expected in zip(PARTS, _decoder_step(*extreme), strict=True):
        _is(_step(student, *extreme), part, expected, "What is exp(1000) in a computer?")
    given = _drawn(rng, kind=np.float32)
    for part, expected in zip(PARTS, _decoder_step(*given), strict=True):
        _is(_step(student, *given), part, expected, "Does float32 work as well?")
    given = _drawn(rng, batch=1, length=1)
    for part, expected in zip(PARTS, _decoder_step(*given), strict=True):
        _is(_step(student, *given), part, expected, "What does one look at where there is one thing to see?")
    expect.unchanged(student, "Does `+=`, `*=` or `memory[…] = …` write into it?")


@decoder_step.inputs
def _steps(rng):
    for _ in range(20):
        yield _drawn(rng, batch=3, length=int(rng.integers(3, 7))), {}


def _gru(x, s, W_x, W_s, b_x, b_s):
    """``gru`` of the chapter."""
    d = s.shape[-1]
    a, b = x @ W_x + b_x, s @ W_s + b_s
    r = 1 / (1 + np.exp(-(a + b)[..., :d]))
    z = 1 / (1 + np.exp(-(a + b)[..., d : 2 * d]))
    n = np.tanh(a[..., 2 * d :] + r * b[..., 2 * d :])
    return (1 - z) * n + z * s


def _join(y, context):
    return np.concatenate([y, context], axis=-1)


def _scores(state, memory, attention):
    return additive_scores(state[:, None], memory, *attention)[:, 0]


def _look(state, memory, mask, attention):
    """Context and weights, seen from a state."""
    weights = masked_softmax(_scores(state, memory, attention), mask)
    return _average(weights, memory), weights


def _average(weights, memory):
    return np.einsum("bs,bsd->bd", weights, memory)


def _blank(memory):
    return np.zeros_like(memory[:, 0])


@decoder_step.misconception(caught_by=test_step_looks_with_the_previous_state)
def looks_with_the_current_state(y, previous, memory, mask, attention, cell):
    """This is what comes out when the GRU moves first and the scores are made with the state *after* the step. That
    state is meant to know the context, and the context is what you are looking for: a circle. Luong may score with the
    current state, because his GRU gets no context of this step. Bahdanau looks with the state from before the step."""
    current = _gru(_join(y, _blank(memory)), previous, *cell)
    context, weights = _look(current, memory, mask, attention)
    return _gru(_join(y, context), previous, *cell), context, weights


@decoder_step.misconception(caught_by=test_step_looks_with_the_previous_state)
def returns_the_state_that_looked(y, previous, memory, mask, attention, cell):
    """This is Luong's order with Bahdanau's cell: the GRU moved before anything was seen, the scores were made with the
    state *after* the step, and the context never reached the state. First look, with `previous`; then move, with what
    was seen."""
    current = _gru(_join(y, _blank(memory)), previous, *cell)
    return current, *_look(current, memory, mask, attention)


@decoder_step.misconception(caught_by=test_step_looks_with_the_previous_state)
def looks_again_with_the_new_state(y, previous, memory, mask, attention, cell):
    """The state is right, but then you looked again with it: context and weights belong to the *next* step. One look a
    step, with the state from before it."""
    context, _ = _look(previous, memory, mask, attention)
    state = _gru(_join(y, context), previous, *cell)
    return state, *_look(state, memory, mask, attention)


@decoder_step.misconception(caught_by=test_step_looks_with_the_previous_state)
def moves_twice(y, previous, memory, mask, attention, cell):
    """The GRU moved twice: once to get a state to look with, and once more, from there, with the context. One step is
    one move. Look with the state that you were given, then move."""
    current = _gru(_join(y, _blank(memory)), previous, *cell)
    context, weights = _look(current, memory, mask, attention)
    return _gru(_join(y, context), current, *cell), context, weights


@decoder_step.misconception(caught_by=test_step_looks_with_the_previous_state)
def scores_without_the_state(y, previous, memory, mask, attention, cell):
    """The state never enters the scores: they are made from the memory alone. Then the decoder looks at the same place
    at every step, whatever it has written. Add `previous @ W_q` before the tanh."""
    context, weights = _look(np.zeros_like(previous), memory, mask, attention)
    return _gru(_join(y, context), previous, *cell), context, weights


@decoder_step.misconception(caught_by=test_step_never_looks_at_padding)
def looks_at_padding(y, previous, memory, mask, attention, cell):
    """The mask is not used: padding gets weight like anything else. Hand the mask to the softmax."""
    weights = softmax(_scores(previous, memory, attention))
    context = _average(weights, memory)
    return _gru(_join(y, context), previous, *cell), context, weights


@decoder_step.misconception(caught_by=test_step_never_looks_at_padding)
def masks_after_the_softmax(y, previous, memory, mask, attention, cell):
    """The weights of the padding were set to 0 after the softmax. What they had taken is lost, and the rest no longer
    sum to one. Mask the scores, before the softmax."""
    weights = softmax(_scores(previous, memory, attention)) * mask
    context = _average(weights, memory)
    return _gru(_join(y, context), previous, *cell), context, weights


@decoder_step.misconception(caught_by=test_step_never_looks_at_padding)
def masks_with_zero_scores(y, previous, memory, mask, attention, cell):
    """The scores of the padding were set to 0. A score of 0 is a score like any other: exp(0) = 1. A forbidden score
    must be −∞."""
    weights = softmax(_scores(previous, memory, attention) * mask)
    context = _average(weights, memory)
    return _gru(_join(y, context), previous, *cell), context, weights


@decoder_step.misconception(caught_by=test_step_never_looks_at_padding)
def turns_the_mask_around(y, previous, memory, mask, attention, cell):
    """The mask was used the wrong way round: True means *may* be looked at. Here everything but the padding was hidden,
    and a sequence without padding has nothing left to see."""
    context, weights = _look(previous, memory, ~mask, attention)
    return _gru(_join(y, context), previous, *cell), context, weights


@decoder_step.misconception(caught_by=test_context_is_the_average_of_the_memory)
def averages_the_keys(y, previous, memory, mask, attention, cell):
    """You averaged `memory @ W_k`, the keys. They are there to be compared with. What is taken home is the memory
    itself."""
    _, weights = _look(previous, memory, mask, attention)
    context = _average(weights, memory @ attention[1])
    return _gru(_join(y, context), previous, *cell), context, weights


@decoder_step.misconception(caught_by=test_context_is_the_average_of_the_memory)
def takes_everybodys_first_weights(y, previous, memory, mask, attention, cell):
    """Every memory was averaged with the weights of the *first* sequence. `weights @ memory` multiplies all weights
    with all memories, (B, B, d_h), and `[:, 0]` then picks the first weights. `(weights[:, None] @ memory)[:, 0]`
    multiplies each with its own."""
    _, weights = _look(previous, memory, mask, attention)
    context = (weights @ memory)[:, 0]
    return _gru(_join(y, context), previous, *cell), context, weights


@decoder_step.misconception(caught_by=test_context_is_the_average_of_the_memory)
def averages_the_first_memory(y, previous, memory, mask, attention, cell):
    """Every sequence averaged the memory of the *first* one. `weights @ memory` multiplies all weights with all
    memories, (B, B, d_h), and `[0]` then picks the first memory. `(weights[:, None] @ memory)[:, 0]` multiplies each
    with its own."""
    _, weights = _look(previous, memory, mask, attention)
    context = (weights @ memory)[0]
    return _gru(_join(y, context), previous, *cell), context, weights


@decoder_step.misconception(caught_by=test_step_looks_with_the_previous_state)
def asks_with_the_first_state(y, previous, memory, mask, attention, cell):
    """Every memory was asked by the state of the *first* sequence. `previous[None]` puts the axis of length 1 in front,
    and the batch becomes a row of queries. `previous[:, None]` gives each sequence its one query."""
    context, weights = _look(np.repeat(previous[:1], len(previous), 0), memory, mask, attention)
    return _gru(_join(y, context), previous, *cell), context, weights


@decoder_step.misconception(caught_by=test_context_is_the_average_of_the_memory)
def averages_with_the_scores(y, previous, memory, mask, attention, cell):
    """The memory was multiplied with the *scores*. They may be negative and sum to anything; only the weights, after
    the softmax, make an average."""
    scores = _scores(previous, memory, attention)
    context = _average(scores, memory)
    return _gru(_join(y, context), previous, *cell), context, masked_softmax(scores, mask)


@decoder_step.misconception(caught_by=test_context_is_the_average_of_the_memory)
def divides_by_the_length(y, previous, memory, mask, attention, cell):
    """The weighted positions were summed and divided by S once more (`mean` for `sum`). The weights sum to one already:
    that is the division."""
    _, weights = _look(previous, memory, mask, attention)
    context = _average(weights, memory) / memory.shape[1]
    return _gru(_join(y, context), previous, *cell), context, weights


@decoder_step.misconception(caught_by=test_step_never_looks_at_padding)
def empties_the_padding(y, previous, memory, mask, attention, cell):
    """The memory was set to 0 at the padding, and then looked at like the rest. A row of zeros has a score like any
    other, and takes its share of the weights. Hand the mask to the softmax."""
    context, weights = _look(previous, memory * mask[..., None], np.ones_like(mask), attention)
    return _gru(_join(y, context), previous, *cell), context, weights


@decoder_step.misconception(caught_by=test_context_is_the_average_of_the_memory)
def takes_the_last_state_as_context(y, previous, memory, mask, attention, cell):
    """The context is the last position of the memory, whatever the weights say. That is the decoder without attention:
    one fixed vector for everything."""
    _, weights = _look(previous, memory, mask, attention)
    context = memory[np.arange(len(memory)), mask.sum(-1) - 1]
    return _gru(_join(y, context), previous, *cell), context, weights


@decoder_step.misconception(caught_by=test_context_is_the_average_of_the_memory)
def averages_without_weights(y, previous, memory, mask, attention, cell):
    """The context is the plain mean of the memory: the weights were computed and not used. Multiply each position by
    its weight, and sum."""
    _, weights = _look(previous, memory, mask, attention)
    context = _average(mask / mask.sum(-1, keepdims=True), memory)
    return _gru(_join(y, context), previous, *cell), context, weights


@decoder_step.misconception(caught_by=test_context_is_the_average_of_the_memory)
def copies_the_best_position(y, previous, memory, mask, attention, cell):
    """The context is the one position with the greatest weight. That choice has no gradient, so nothing could be
    learned through it. The context is the average of all positions, each with its weight."""
    _, weights = _look(previous, memory, mask, attention)
    context = memory[np.arange(len(memory)), weights.argmax(-1)]
    return _gru(_join(y, context), previous, *cell), context, weights


@decoder_step.misconception(caught_by=test_state_has_read_the_word_and_the_context)
def joins_context_before_word(y, previous, memory, mask, attention, cell):
    """The GRU was given [context; y] where [y; context] is meant. The widths add up either way, so nothing complains,
    but every weight meets the wrong number."""
    context, weights = _look(previous, memory, mask, attention)
    return _gru(_join(context, y), previous, *cell), context, weights


@decoder_step.misconception(caught_by=test_state_has_read_the_word_and_the_context)
def forgets_the_context(y, previous, memory, mask, attention, cell):
    """The context was computed, and the GRU never saw it: zeros stood in its place. Then nothing that was looked up can
    be written down."""
    context, weights = _look(previous, memory, mask, attention)
    return _gru(_join(y, _blank(memory)), previous, *cell), context, weights


@decoder_step.misconception(caught_by=test_state_has_read_the_word_and_the_context)
def starts_from_zero(y, previous, memory, mask, attention, cell):
    """The GRU started from zeros, not from the previous state: it forgets at every step what it has written."""
    context, weights = _look(previous, memory, mask, attention)
    return _gru(_join(y, context), np.zeros_like(previous), *cell), context, weights


@decoder_step.misconception(caught_by=test_state_has_read_the_word_and_the_context)
def does_not_move(y, previous, memory, mask, attention, cell):
    """The state that you return is the one that you were given: the GRU's answer was thrown away. Without a new state
    the next step looks at the same place again."""
    return previous.copy(), *_look(previous, memory, mask, attention)


@decoder_step.misconception(caught_by=test_state_has_read_the_word_and_the_context)
def turns_the_update_gate_around(y, previous, memory, mask, attention, cell):
    """This is a GRU whose update gate z points the other way. Papers differ on it; here z is what is *kept*:
    state = (1 − z) · new + z · previous. The chapter's `gru` does it."""
    context, weights = _look(previous, memory, mask, attention)
    W_x, W_s, b_x, b_s = cell
    turned = np.repeat([1.0, -1.0, 1.0], previous.shape[-1]).astype(previous.dtype)
    return _gru(_join(y, context), previous, W_x * turned, W_s * turned, b_x * turned, b_s * turned), context, weights


@decoder_step.misconception(caught_by=test_step_by_hand)
def forgets_tanh(y, previous, memory, mask, attention, cell):
    """The tanh between the projections and `v` is missing. Then W_q, W_k and v collapse to two vectors, the state adds
    the same number to every score, and softmax undoes it: the state has no say in where to look."""
    W_q, W_k, v = attention
    weights = masked_softmax((memory @ W_k) @ v + ((previous @ W_q) @ v)[:, None], mask)
    context = _average(weights, memory)
    return _gru(_join(y, context), previous, *cell), context, weights


@decoder_step.misconception(caught_by=test_step_by_hand)
def takes_tanh_after_v(y, previous, memory, mask, attention, cell):
    """The tanh came after `v`, so every score lies between −1 and 1. It belongs inside: tanh of the sum of the two
    projections first, then the product with `v`."""
    W_q, W_k, v = attention
    weights = masked_softmax(np.tanh(((previous @ W_q)[:, None] + memory @ W_k) @ v), mask)
    context = _average(weights, memory)
    return _gru(_join(y, context), previous, *cell), context, weights


@decoder_step.misconception(caught_by=test_step_by_hand)
def takes_sigmoids(y, previous, memory, mask, attention, cell):
    """The scores went through a sigmoid, not a softmax. The positions then do not compete for the one look, and the
    weights do not sum to one."""
    weights = mask / (1 + np.exp(-_scores(previous, memory, attention)))
    context = _average(weights, memory)
    return _gru(_join(y, context), previous, *cell), context, weights


@decoder_step.misconception(caught_by=test_step_looks_with_the_previous_state)
def shares_over_the_batch(y, previous, memory, mask, attention, cell):
    """The softmax ran over the wrong axis: the sequences of the batch share one look at each position. It must run over
    the positions, axis −1 of the scores."""
    weights = masked_softmax(_scores(previous, memory, attention), mask, axis=0)
    context = _average(weights, memory)
    return _gru(_join(y, context), previous, *cell), context, weights


@decoder_step.misconception(caught_by=test_step_takes_every_kind_of_array)
def overflows(y, previous, memory, mask, attention, cell):
    """This is right on paper, but exp of a large score is infinite in a computer, and ∞/∞ is NaN. Use a softmax that
    subtracts the maximum: you have one from chapter 1, and one with a mask from chapter 5."""
    e = np.exp(_scores(previous, memory, attention)) * mask
    weights = e / e.sum(-1, keepdims=True)
    context = _average(weights, memory)
    return _gru(_join(y, context), previous, *cell), context, weights


@decoder_step.misconception(caught_by=test_step_by_hand)
def returns_the_scores(y, previous, memory, mask, attention, cell):
    """The third array holds the scores; the weights, after the softmax, were asked for."""
    context, _ = _look(previous, memory, mask, attention)
    return _gru(_join(y, context), previous, *cell), context, _scores(previous, memory, attention)


@decoder_step.misconception(caught_by=test_step_by_hand)
def returns_in_another_order(y, previous, memory, mask, attention, cell):
    """The three arrays are right and stand in another order. Return state, context, weights."""
    context, weights = _look(previous, memory, mask, attention)
    return context, weights, _gru(_join(y, context), previous, *cell)


@decoder_step.misconception(caught_by=test_step_takes_every_kind_of_array)
def edits_the_previous_state(y, previous, memory, mask, attention, cell):
    """The answer is right, but the caller's `previous` was overwritten with the new state. Whoever called still needs
    it: make a new array."""
    context, weights = _look(previous, memory, mask, attention)
    previous[...] = _gru(_join(y, context), previous, *cell)
    return previous, context, weights


@decoder_step.misconception(caught_by=test_step_by_hand)
def returns_the_context_first(y, previous, memory, mask, attention, cell):
    """The three are right, and come back in another order: the context stands where the state is expected. First the
    new state, then the context, then the weights."""
    state, context, weights = _decoder_step(y, previous, memory, mask, attention, cell)
    return context, state, weights


@decoder_step.misconception(caught_by=test_step_by_hand)
def keeps_the_axis_of_the_query(y, previous, memory, mask, attention, cell):
    """The weights still have the axis of length 1 that the query was given. A step has one query, and its weights are
    `(B, S)`: take that axis off again, with `[:, 0]`."""
    state, context, weights = _decoder_step(y, previous, memory, mask, attention, cell)
    return state, context, weights[:, None]


@decoder_step.misconception(caught_by=test_step_by_hand)
def squeezes_every_axis(y, previous, memory, mask, attention, cell):
    """`squeeze()` without an axis takes off *every* axis of length 1. With one sequence, or one position, it takes that
    axis as well. Say which one: `[:, 0]`, or `squeeze(1)`."""
    weights = masked_softmax(additive_scores(previous[:, None], memory, *attention).squeeze(), mask)
    context = (weights[:, None] @ memory).squeeze()
    return _gru(_join(y, context), previous, *cell), context, weights


@decoder_step.misconception(caught_by=test_step_by_hand)
def takes_the_dot_product(y, previous, memory, mask, attention, cell):
    """The projected state and the projected memory were multiplied. That is a score, but not Bahdanau's: his are
    *added*, go through tanh, and are weighed with v."""
    W_q, W_k, _ = attention
    weights = masked_softmax(np.einsum("bd,bsd->bs", previous @ W_q, memory @ W_k), mask)
    context = _average(weights, memory)
    return _gru(_join(y, context), previous, *cell), context, weights


@decoder_step.misconception(caught_by=test_step_looks_with_the_previous_state)
def asks_with_the_word(y, previous, memory, mask, attention, cell):
    """The word `y` was made the query. The question is asked by the state, `previous`: it knows all that has been
    written, the word only itself. The word enters the GRU, beside the context."""
    weights = masked_softmax(_scores(y, memory, attention), mask)
    context = _average(weights, memory)
    return _gru(_join(y, context), previous, *cell), context, weights


@decoder_step.misconception(caught_by=test_state_has_read_the_word_and_the_context)
def resets_before_the_matrix(y, previous, memory, mask, attention, cell):
    """This is a GRU as it was first published: r multiplies the *state*, before the matrix. In the chapter's `gru`, as
    in PyTorch's, it multiplies what the matrix made of the state, bias and all: r ∘ (s W + b). Call `gru`, with
    `*cell`."""
    context, weights = _look(previous, memory, mask, attention)
    W_x, W_s, b_x, b_s = cell
    d = previous.shape[-1]
    a, b = _join(y, context) @ W_x + b_x, previous @ W_s + b_s
    r, z = (1 / (1 + np.exp(-(a + b)[:, i : i + d])) for i in (0, d))
    n = np.tanh(a[:, 2 * d :] + (r * previous) @ W_s[:, 2 * d :] + b_s[2 * d :])
    return (1 - z) * n + z * previous, context, weights


@decoder_step.misconception(caught_by=test_state_has_read_the_word_and_the_context)
def exchanges_the_biases(y, previous, memory, mask, attention, cell):
    """The two biases of the cell changed places. The order is `W_x, W_s, b_x, b_s`; only where r multiplies does it
    matter which bias is whose. `*cell` hands `gru` all four as they come."""
    context, weights = _look(previous, memory, mask, attention)
    W_x, W_s, b_x, b_s = cell
    return _gru(_join(y, context), previous, W_x, W_s, b_s, b_x), context, weights


@decoder_step.alternative
def step_one_sequence_at_a_time(y, previous, memory, mask, attention, cell):
    W_q, W_k, v = attention
    states, contexts, weights = [], [], []
    for b in range(len(y)):
        e = [
            v @ np.tanh(previous[b] @ W_q + h @ W_k) if seen else -np.inf
            for h, seen in zip(memory[b], mask[b], strict=True)
        ]
        alpha = np.exp(np.array(e) - max(e))
        alpha = alpha / alpha.sum()
        c = sum(a * h for a, h in zip(alpha, memory[b], strict=True))
        states.append(_gru(np.concatenate([y[b], c]), previous[b], *cell))
        contexts.append(c)
        weights.append(alpha)
    return np.array(states), np.array(contexts), np.array(weights)


@decoder_step.alternative
def step_with_a_large_negative_fill(y, previous, memory, mask, attention, cell, fill=-1e9):
    W_q, W_k, v = attention
    hidden = np.tanh((previous @ W_q)[:, np.newaxis, :] + np.einsum("bsd,dk->bsk", memory, W_k))
    e = np.where(mask, hidden @ v, fill).astype(np.float64)
    e = np.exp(e - e.max(axis=1, keepdims=True))
    weights = e / e.sum(axis=1, keepdims=True)
    context = (weights[:, :, np.newaxis] * memory).sum(axis=1)
    return [_gru(np.hstack([y, context]), previous, *cell), context, weights]


# ------------------------------------------------------------------------------------------------------ luong_score


def _luong_score(h, memory, kind, W=None, v=None):
    """``attnlab.luong.luong_score``, for arrays."""
    W, v = (None if a is None else torch.tensor(a) for a in (W, v))
    return luong.luong_score(torch.tensor(h), torch.tensor(memory), kind, W, v).numpy()


luong_score = Exercise(
    "luong_score",
    chapter=6,
    reference=_luong_score,
    minutes=15,
    difficulty=2,
    forbidden=(
        "attnlab.luong.luong_score",
        "attnlab.luong.dot_score",
        "attnlab.luong.general_score",
        "attnlab.luong.concat_score",
    ),
)


def _pair(rng, d_h=D_H, d_m=D_H, batch=3, length=S):
    return rng.normal(size=(batch, d_h)), rng.normal(size=(batch, length, d_m))


NO_SCORE = {
    "same number of dimensions": "h is (B, d_h), the memory (B, S, d_m). Has h been repeated for every position?",
    "matmul": "W has d_h rows for h, and in `concat` d_m more. Is it cut there, and does h stand to the left of it?",
    "broadcast together": "Is h as wide as the memory by then, and does `h[:, None]` let it meet every position?",
}


def _scored_by(student, *given):
    return _ask(student.luong_score, given, NO_SCORE)


@luong_score.check(points=1)
def test_dot_of_known_numbers(student, rng):
    """`dot`: for h = (2, 5) and the memory (1, 0), (3, −1) the scores are 2 and 1."""
    k = rng.integers(1, 5)
    h, memory = np.array([[2.0, 5.0]]) * k, np.array([[[1.0, 0.0], [3.0, -1.0]]])
    expect.close(
        _scored_by(student, h, memory, "dot"), np.array([[2.0, 1.0]]) * k, "Is it one product, summed, a position?"
    )
    h, memory = _pair(rng)
    expect.close(
        _scored_by(student, h, memory, "dot"),
        _luong_score(h, memory, "dot"),
        "Does each sequence's h meet its own memory, and nothing else happen to the scores?",
    )


@luong_score.check(points=2)
def test_general_puts_a_matrix_between(student, rng):
    """`general`: hᵀ W h̄, also where h and the memory differ in width; with the identity for W it is `dot`."""
    h, memory = _pair(rng, D_S, D_H)
    W = rng.normal(size=(D_S, D_H))
    cause = "W has shape (d_h, d_m): on which side of it does h stand?"
    expect.close(_scored_by(student, h, memory, "general", W), _luong_score(h, memory, "general", W), cause)
    h, memory = _pair(rng, D_S, D_S)
    W = rng.normal(size=(D_S, D_S))
    expect.close(_scored_by(student, h, memory, "general", W), _luong_score(h, memory, "general", W), cause)
    expect.close(
        _scored_by(student, h, memory, "general", np.eye(D_S)),
        _luong_score(h, memory, "dot"),
        "With the identity in between, is `general` the same as `dot`?",
    )


@luong_score.check(points=2)
def test_concat_is_a_small_network(student, rng):
    """`concat`: vᵀ tanh(W [h; h̄]), with h first and the memory second."""
    h, memory = _pair(rng, D_S, D_H)
    W, v = rng.normal(size=(D_S + D_H, D)) / 3, rng.normal(size=D)
    expect.close(
        _scored_by(student, h, memory, "concat", W, v),
        _luong_score(h, memory, "concat", W, v),
        "Is h set in front of every position's state, then W, then tanh, then v?",
    )
    h, memory = _pair(rng, D_S, D_S)
    W = rng.normal(size=(2 * D_S, D_S)) / 3
    v = rng.normal(size=D_S)
    expect.close(
        _scored_by(student, h, memory, "concat", W, v),
        _luong_score(h, memory, "concat", W, v),
        "Is h set in front of every position's state, then W, then tanh, then v?",
    )


@luong_score.check(points=1)
def test_scores_take_every_kind_of_array(student, rng):
    """It is right for views, float32, large numbers, a batch of one; what was passed in is the same afterwards."""
    h, memory = rng.normal(size=(D_S, 3)).T, np.moveaxis(rng.normal(size=(D_S, 3, S)), 0, 2) * 1e4
    expect.close(_scored_by(student, h, memory, "dot"), _luong_score(h, memory, "dot"))
    W = rng.normal(size=(D_S, D_S))
    expect.close(_scored_by(student, h, memory, "general", W), _luong_score(h, memory, "general", W), tolerance=1e-8)
    h, memory, W, v = (
        a.astype(np.float32)
        for a in (*_pair(rng, D_S, D_H, batch=1), rng.normal(size=(D_S + D_H, D)) / 3, rng.normal(size=D))
    )
    expect.close(
        _scored_by(student, h, memory, "concat", W, v),
        _luong_score(h, memory, "concat", W, v),
        "Does a batch of one keep its axis?",
    )
    expect.unchanged(student, "Does `*=` change it in place?")


@luong_score.inputs
def _scored(rng):
    for i in range(24):
        h, memory = _pair(rng, 3, 3, batch=int(rng.integers(1, 4)), length=5)
        yield (
            ((h, memory, "dot"), {}),
            ((h, memory, "general", rng.normal(size=(3, 3))), {}),
            ((h, memory, "concat", rng.normal(size=(6, 4)), rng.normal(size=4)), {}),
        )[i % 3]


def _dot(h, memory):
    return np.einsum("bd,bsd->bs", h, memory)


def _pairs(h, memory):
    return np.concatenate([np.broadcast_to(h[:, None], (*memory.shape[:2], h.shape[-1])), memory], axis=-1)


def _wrong(*, dot=None, general=None, concat=None):
    """A ``luong_score`` that is wrong in one of its three kinds."""
    changed = {"dot": dot, "general": general, "concat": concat}

    def score(h, memory, kind, W=None, v=None):
        wrong = changed[kind]
        return wrong(h, memory, *(a for a in (W, v) if a is not None)) if wrong else _luong_score(h, memory, kind, W, v)

    return score


@luong_score.misconception(caught_by=test_dot_of_known_numbers)
def multiplies_without_summing(h, memory, kind, W=None, v=None):
    """`dot` multiplies h into every position and never sums: a score is one number a position. Sum over the last
    axis."""
    return _wrong(dot=lambda h, m: h[:, None] * m)(h, memory, kind, W, v)


@luong_score.misconception(caught_by=test_dot_of_known_numbers)
def scales_by_the_root(h, memory, kind, W=None, v=None):
    """`dot` was divided by √d. That is the Transformer's score, of chapter 4; Luong's is the plain product."""
    return _wrong(dot=lambda h, m: _dot(h, m) / np.sqrt(h.shape[-1]))(h, memory, kind, W, v)


@luong_score.misconception(caught_by=test_dot_of_known_numbers)
def takes_the_cosine(h, memory, kind, W=None, v=None):
    """`dot` was divided by the lengths of the two vectors: that is their cosine, never above 1, so softmax can never be
    sure. Luong's score is the plain product."""

    def cosine(h, m):
        return _dot(h, m) / np.linalg.norm(h, axis=-1)[:, None] / np.linalg.norm(m, axis=-1)

    return _wrong(dot=cosine)(h, memory, kind, W, v)


@luong_score.misconception(caught_by=test_dot_of_known_numbers)
def returns_weights(h, memory, kind, W=None, v=None):
    """The scores went through a softmax already. Return the scores themselves: the softmax comes later, with its
    mask."""
    return softmax(_luong_score(h, memory, kind, W, v))


@luong_score.misconception(caught_by=test_dot_of_known_numbers)
def compares_across_the_batch(h, memory, kind, W=None, v=None):
    """Every h met the memory of every sequence, so an axis is left over. Sequence b's h belongs to sequence b's memory
    alone: give h an axis of its own, `h[:, None]`, before it is multiplied."""
    return _wrong(dot=lambda h, m: np.einsum("bd,csd->bcs", h, m))(h, memory, kind, W, v)


@luong_score.misconception(caught_by=test_dot_of_known_numbers)
def uses_the_first_memory(h, memory, kind, W=None, v=None):
    """Every h met the memory of the *first* sequence. Each sequence has its own."""
    return _luong_score(h, np.repeat(memory[:1], len(memory), 0), kind, W, v)


@luong_score.misconception(caught_by=test_dot_of_known_numbers)
def uses_the_first_state(h, memory, kind, W=None, v=None):
    """The memory of every sequence met the h of the *first* one. Each sequence has its own."""
    return _luong_score(np.repeat(h[:1], len(h), 0), memory, kind, W, v)


@luong_score.misconception(caught_by=test_dot_of_known_numbers)
def leaves_an_axis(h, memory, kind, W=None, v=None):
    """The scores are right and have an axis of length 1 too many, a leftover of the product. Take it off: the shape is
    (B, S)."""
    return _luong_score(h, memory, kind, W, v)[:, None]


@luong_score.misconception(caught_by=test_dot_of_known_numbers)
def leaves_an_axis_at_the_end(h, memory, kind, W=None, v=None):
    """The scores are right and have an axis of length 1 too many at the end: `memory @ h[..., None]` leaves it there.
    Take it off: the shape is (B, S)."""
    return _luong_score(h, memory, kind, W, v)[..., None]


@luong_score.misconception(caught_by=test_dot_of_known_numbers)
def averages_the_products(h, memory, kind, W=None, v=None):
    """`dot` is the *mean* of the products, not their sum: it was divided by the width. Then wide vectors can never be
    sure of anything."""
    return _wrong(dot=lambda h, m: _dot(h, m) / h.shape[-1])(h, memory, kind, W, v)


@luong_score.misconception(caught_by=test_dot_of_known_numbers)
def turns_every_axis_around(h, memory, kind, W=None, v=None):
    """`memory.T` turns *all* axes round, the batch's too. `h[:, None] * memory`, summed over the last axis, needs
    nothing turned."""
    return _wrong(dot=lambda h, m: h @ m.T)(h, memory, kind, W, v)


@luong_score.misconception(caught_by=test_general_puts_a_matrix_between)
def turns_the_matrix_around(h, memory, kind, W=None, v=None):
    """`general` used Wᵀ where W is meant. With a square W nothing complains. Read hᵀ W h̄ from the left: h meets the
    *rows* of W, and vectors are rows here, so it is `h @ W`."""
    return _wrong(general=lambda h, m, W: _dot(h @ W.T, m))(h, memory, kind, W, v)


@luong_score.misconception(caught_by=test_general_puts_a_matrix_between)
def forgets_the_matrix(h, memory, kind, W=None, v=None):
    """`general` never used W: this is `dot`. W turns h into the space of the memory, and is what is learned."""
    return _wrong(general=lambda h, m, W: _dot(h, m))(h, memory, kind, W, v)


@luong_score.misconception(caught_by=test_general_puts_a_matrix_between)
def projects_both(h, memory, kind, W=None, v=None):
    """`general` sent both h and the memory through W. There is one matrix between them: hᵀ W h̄."""
    return _wrong(general=lambda h, m, W: _dot(h @ W, m @ W))(h, memory, kind, W, v)


@luong_score.misconception(caught_by=test_general_puts_a_matrix_between)
def squashes_general(h, memory, kind, W=None, v=None):
    """`general` has a tanh in it. The tanh belongs to `concat`; the bilinear form hᵀ W h̄ has none."""
    return _wrong(general=lambda h, m, W: _dot(np.tanh(h @ W), m))(h, memory, kind, W, v)


@luong_score.misconception(caught_by=test_general_puts_a_matrix_between)
def squashes_the_general_score(h, memory, kind, W=None, v=None):
    """`general` took the tanh of its score: no score can then exceed 1, and softmax can never be sure. The tanh belongs
    to `concat`."""
    return _wrong(general=lambda h, m, W: np.tanh(_dot(h @ W, m)))(h, memory, kind, W, v)


@luong_score.misconception(caught_by=test_concat_is_a_small_network)
def joins_the_memory_first(h, memory, kind, W=None, v=None):
    """`concat` joined [h̄; h] where [h; h̄] is meant. The widths add up either way, so nothing complains, but every
    weight meets the wrong number."""
    return _wrong(
        concat=lambda h, m, W, v: np.tanh(np.roll(_pairs(h, m), m.shape[-1], axis=-1) @ W) @ v,
    )(h, memory, kind, W, v)


@luong_score.misconception(caught_by=test_concat_is_a_small_network)
def concat_without_tanh(h, memory, kind, W=None, v=None):
    """`concat` has lost its tanh. Then W and v are one vector, h adds the same number to every position's score, and
    softmax undoes it: the decoder has no say."""
    return _wrong(concat=lambda h, m, W, v: _pairs(h, m) @ W @ v)(h, memory, kind, W, v)


@luong_score.misconception(caught_by=test_concat_is_a_small_network)
def concat_with_tanh_outside(h, memory, kind, W=None, v=None):
    """`concat` took the tanh after v, of the finished score. It belongs between W and v."""
    return _wrong(concat=lambda h, m, W, v: np.tanh(_pairs(h, m) @ W @ v))(h, memory, kind, W, v)


@luong_score.misconception(caught_by=test_concat_is_a_small_network)
def concat_sums_in_place_of_v(h, memory, kind, W=None, v=None):
    """`concat` summed the hidden units with equal weight: v was never used."""
    return _wrong(concat=lambda h, m, W, v: np.tanh(_pairs(h, m) @ W).sum(-1))(h, memory, kind, W, v)


@luong_score.misconception(caught_by=test_concat_is_a_small_network)
def concat_squashes_first(h, memory, kind, W=None, v=None):
    """`concat` took the tanh of the joined vectors, before W. The order is: join, W, tanh, v."""
    return _wrong(concat=lambda h, m, W, v: np.tanh(_pairs(h, m)) @ W @ v)(h, memory, kind, W, v)


@luong_score.misconception(caught_by=test_concat_is_a_small_network)
def concat_squashes_each_part(h, memory, kind, W=None, v=None):
    """`concat` took a tanh of h's part and a tanh of the memory's, and added them. The sum comes first, and then one
    tanh: only so does what h says change how a position is heard."""

    def apart(h, m, W, v):
        n = h.shape[-1]
        return (np.tanh(h @ W[:n])[:, None] + np.tanh(m @ W[n:])) @ v

    return _wrong(concat=apart)(h, memory, kind, W, v)


@luong_score.misconception(caught_by=test_concat_is_a_small_network)
def concat_with_a_relu(h, memory, kind, W=None, v=None):
    """`concat` has a ReLU where the tanh is meant."""
    return _wrong(concat=lambda h, m, W, v: np.maximum(_pairs(h, m) @ W, 0) @ v)(h, memory, kind, W, v)


@luong_score.misconception(caught_by=test_concat_is_a_small_network)
def concat_forgets_the_state(h, memory, kind, W=None, v=None):
    """In `concat` only the memory went through W: h has no say, and every step looks at the same place. The upper rows
    of W are for h, the lower for the memory."""
    return _wrong(concat=lambda h, m, W, v: np.tanh(m @ W[h.shape[-1] :]) @ v)(h, memory, kind, W, v)


@luong_score.misconception(caught_by=test_scores_take_every_kind_of_array)
def squeezes_the_batch(h, memory, kind, W=None, v=None):
    """`squeeze()` takes off *every* axis of length 1, the batch's too when there is one sequence. Say which axis you
    mean."""
    return _luong_score(h, memory, kind, W, v).squeeze()


@luong_score.misconception(caught_by=test_scores_take_every_kind_of_array)
def edits_the_memory(h, memory, kind, W=None, v=None):
    """The scores are right, but the caller's memory was multiplied in place: `memory *= …` writes into it. Every later
    step would read the damaged one."""
    out = _luong_score(h, memory, kind, W, v)
    if kind == "dot":
        memory *= h[:, None]
    return out


@luong_score.misconception(caught_by=test_dot_of_known_numbers)
def keeps_all_pairs_of_sequences(h, memory, kind, W=None, v=None):
    """`h @ memory.swapaxes(1, 2)` multiplies *every* h with *every* memory, and comes out as (B, B, S). A sequence's h
    meets its own memory only: give h an axis of length 1, `h[:, None]`."""
    every = {"dot": lambda h, m: h @ m.swapaxes(1, 2), "general": lambda h, m, W: h @ W @ m.swapaxes(1, 2)}
    return _wrong(**every)(h, memory, kind, W, v)


@luong_score.misconception(caught_by=test_concat_is_a_small_network)
def concat_deals_the_states_out(h, memory, kind, W=None, v=None):
    """In `concat`, h was repeated as a whole, the batch again and again, and then reshaped: most positions got the
    state of another sequence. Each h belongs at all positions of its *own* one: `np.repeat(h[:, None], S, axis=1)`."""

    def concat(h, m, W, v):
        dealt = np.tile(h, (m.shape[1], 1)).reshape(*m.shape[:2], -1)
        return np.tanh(np.concatenate([dealt, m], axis=-1) @ W) @ v

    return _wrong(concat=concat)(h, memory, kind, W, v)


@luong_score.alternative
def luong_by_loops(h, memory, kind, W=None, v=None):
    def score(a, b):
        if kind == "dot":
            return sum(x * y for x, y in zip(a, b, strict=True))
        if kind == "general":
            return a @ W @ b
        return v @ np.tanh(W.T @ np.concatenate([a, b]))

    return np.array([[score(a, b) for b in row] for a, row in zip(h, memory, strict=True)])


@luong_score.alternative
def luong_with_the_matrix_split(h, memory, kind, W=None, v=None, dtype=np.float64):
    h, memory = np.asarray(h, dtype), np.asarray(memory, dtype)
    if kind == "concat":
        d = h.shape[-1]
        return np.tanh((h @ W[:d])[:, None] + memory @ W[d:]) @ v
    return (memory @ (h if kind == "dot" else h @ W)[..., None]).squeeze(-1)


# -------------------------------------------------------------------------------------------------- local_attention


def _local_attention(scores, centre, radius, sigma):
    """``attnlab.luong.local_attention``, for arrays."""
    return luong.local_attention(torch.tensor(scores), torch.tensor(centre), radius, sigma).numpy()


local_attention = Exercise(
    "local_attention",
    chapter=6,
    reference=_local_attention,
    minutes=20,
    difficulty=2,
    forbidden=("attnlab.luong.local_attention",),
)

WIDE = 1e6  # a bell so wide that it is 1 everywhere
NO_WINDOW = {
    "broadcast": "Is there a distance for each sequence and each position, (B, S)? `centre[:, None]` is (B, 1)."
}


def _looked(student, *given):
    return _ask(student.local_attention, given, NO_WINDOW)


@local_attention.check(points=1)
def test_local_of_known_numbers(student, rng):
    """Five equal scores, centre 2, radius 1, σ = 1: the weights are 0, b/3, 1/3, b/3, 0 with b = exp(−½)."""
    b = np.exp(-0.5) / 3
    expect.close(
        _looked(student, np.full((1, 5), rng.normal()), np.array([2.0]), 1, 1.0),
        np.array([[0, b, 1 / 3, b, 0]]),
        "Equal shares inside the window first; then the bell?",
    )


@local_attention.check(points=2)
def test_softmax_runs_over_the_window(student, rng):
    """Nothing outside |s − centre| ≤ radius counts: under a very wide bell the window's weights sum to one."""
    scores, centre = rng.normal(size=(3, 11)), np.array([3.0, 5.0, 7.0])
    scores[:, 0] = 9.0
    expect.close(
        _looked(student, scores, centre, 2, WIDE),
        _local_attention(scores, centre, 2, WIDE),
        "Are there 2 · radius + 1 positions in the window, and does the softmax see these alone?",
    )


@local_attention.check(points=2)
def test_the_bell_comes_last(student, rng):
    """The softmax weights are multiplied by exp(−(s − centre)² / 2σ²), and that is the end: no second division."""
    for sigma in (0.7, 1.5):
        scores, centre = rng.normal(size=(3, 11)), np.array([3.0, 5.0, 7.0])
        expect.close(
            _looked(student, scores, centre, 3, sigma),
            _local_attention(scores, centre, 3, sigma),
            "Is the bell multiplied onto the finished weights, and are they left as they are then?",
        )


@local_attention.check(points=1)
def test_the_centre_may_lie_between_positions(student, rng):
    """A centre need not be a whole number, and each sequence has its own; positions count from 0."""
    scores, centre = rng.normal(size=(3, 11)), np.array([2.5, 5.2, 6.9])
    expect.close(
        _looked(student, scores, centre, 2.5, 1.25),
        _local_attention(scores, centre, 2.5, 1.25),
        "Are the distances measured from the centre as it is, unrounded, a centre for each row?",
    )


@local_attention.check(points=1)
def test_the_window_ends_where_the_sequence_ends(student, rng):
    """What lies beyond either end is ignored; a window that holds no position at all gives zeros."""
    scores, centre = rng.normal(size=(4, 7)), np.array([0.0, 1.0, 6.0, 6.9])
    expect.close(
        _looked(student, scores, centre, 2, 1.0),
        _local_attention(scores, centre, 2, 1.0),
        "Does a slice start at a negative index?",
    )
    expect.close(
        _looked(student, scores[:2], np.array([2.5, 3.0]), 0.25, 0.5),
        _local_attention(scores[:2], np.array([2.5, 3.0]), 0.25, 0.5),
        "Where the window is empty: is 0 divided by 0, or is everything forbidden, and so all alike?",
    )


@local_attention.check(points=1)
def test_local_takes_every_kind_of_array(student, rng):
    """It is right for huge scores, float32 and views, and both arrays are the same afterwards."""
    scores, centre = (rng.normal(size=(11, 3)) * 2000).T, np.array([3.0, 5.0, 7.0])
    expect.close(
        _looked(student, scores, centre, 2, 1.0),
        _local_attention(scores, centre, 2, 1.0),
        "What is exp(1000) in a computer?",
    )
    scores[:, 0] = 20_000.0  # outside every window
    expect.close(
        _looked(student, scores, centre, 2, 1.0),
        _local_attention(scores, centre, 2, 1.0),
        "The greatest score lies outside the window. If you subtract one, is it the greatest *of the window*?",
    )
    scores, centre = rng.normal(size=(2, 5)).astype(np.float32), np.array([1.0, 2.5], np.float32)
    expect.close(_looked(student, scores, centre, 1, 0.5), _local_attention(scores, centre, 1, 0.5))
    expect.unchanged(student, "Does `scores[…] = …` write into it?")


@local_attention.inputs
def _windows(rng):
    for _ in range(24):
        scores = rng.normal(size=(2, 7)) * rng.choice([1, 3])
        yield (scores, rng.uniform(0.5, 5.5, size=2), int(rng.integers(1, 4)), float(rng.uniform(0.5, 2))), {}


def _distance(scores, centre):
    return np.arange(scores.shape[-1]) - centre[:, None]


def _bell(scores, centre, sigma):
    return np.exp(-(_distance(scores, centre) ** 2) / (2 * sigma**2))


def _window(scores, centre, radius):
    return abs(_distance(scores, centre)) <= radius


def _in_window(scores, window):
    return masked_softmax(scores, window)


@local_attention.misconception(caught_by=test_the_bell_comes_last)
def forgets_the_bell(scores, centre, radius, sigma):
    """The bell is missing: this is the softmax over the window alone. Then the centre matters only through where the
    window is cut, and a cut has no gradient: the network could not learn where to look."""
    return _in_window(scores, _window(scores, centre, radius))


@local_attention.misconception(caught_by=test_the_bell_comes_last)
def normalises_again(scores, centre, radius, sigma):
    """After the bell the weights were divided by their sum again (adding the bell's exponent to the scores comes to the
    same). Luong does not: weights may sum to less than one, and a decoder whose favourite lies far from its own centre
    sees little."""
    weights = _local_attention(scores, centre, radius, sigma)
    total = weights.sum(-1, keepdims=True)
    return np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)


@local_attention.misconception(caught_by=test_the_bell_comes_last)
def lowers_the_scores(scores, centre, radius, sigma):
    """The bell was multiplied onto the *scores*, before the softmax. A score far off then tends to 0, which is no low
    score, and a negative one even rises. Multiply the weights, after the softmax."""
    return _in_window(scores * _bell(scores, centre, sigma), _window(scores, centre, radius))


@local_attention.misconception(caught_by=test_the_bell_comes_last)
def forgets_the_two(scores, centre, radius, sigma):
    """The bell is exp(−d²/σ²); the 2 under the fraction is missing, so it is too narrow by a factor of √2."""
    window = _window(scores, centre, radius)
    return _in_window(scores, window) * _bell(scores, centre, sigma / np.sqrt(2))


@local_attention.misconception(caught_by=test_the_bell_comes_last)
def takes_sigma_for_the_variance(scores, centre, radius, sigma):
    """The bell is exp(−d²/2σ): σ was not squared. σ is a distance, in positions; σ² is the variance."""
    window = _window(scores, centre, radius)
    return _in_window(scores, window) * _bell(scores, centre, np.sqrt(sigma))


@local_attention.misconception(caught_by=test_the_bell_comes_last)
def multiplies_by_the_variance(scores, centre, radius, sigma):
    """`-d**2 / 2 * sigma**2` divides by 2 and then *multiplies* by σ²: a wide bell turns narrow. Put brackets round
    what is under the fraction, `(2 * sigma**2)`."""
    return _in_window(scores, _window(scores, centre, radius)) * _bell(scores, centre, 1 / sigma)


@local_attention.misconception(caught_by=test_local_of_known_numbers)
def adds_the_bell(scores, centre, radius, sigma):
    """The bell was added to the weights. It is a factor: it lowers each weight by its distance, and what has no weight
    stays without."""
    return _in_window(scores, _window(scores, centre, radius)) + _bell(scores, centre, sigma)


@local_attention.misconception(caught_by=test_the_bell_comes_last)
def does_not_square_the_distance(scores, centre, radius, sigma):
    """The bell is exp(−|d|/2σ²): the distance was not squared, which gives a tent with a sharp tip, not a bell."""
    window = _window(scores, centre, radius)
    return _in_window(scores, window) * np.exp(-abs(_distance(scores, centre)) / (2 * sigma**2))


@local_attention.misconception(caught_by=test_local_of_known_numbers)
def turns_the_bell_upside_down(scores, centre, radius, sigma):
    """The minus sign in the exponent is missing: the weights grow with the distance from the centre."""
    window = _window(scores, centre, radius)
    return _in_window(scores, window) / _bell(scores, centre, sigma)


@local_attention.misconception(caught_by=test_local_of_known_numbers)
def uses_a_density(scores, centre, radius, sigma):
    """The bell was divided by σ√(2π), as the density of a normal distribution is. Here its top is 1: a position at the
    centre keeps its whole weight."""
    return _local_attention(scores, centre, radius, sigma) / (sigma * np.sqrt(2 * np.pi))


@local_attention.misconception(caught_by=test_the_bell_comes_last)
def sets_sigma_itself(scores, centre, radius, sigma):
    """This is the bell for σ = radius / 2, whatever `sigma` says. The paper sets it so; here it is an argument."""
    return _local_attention(scores, centre, radius, radius / 2)


@local_attention.misconception(caught_by=test_local_of_known_numbers)
def looks_only_at_the_bell(scores, centre, radius, sigma):
    """This is the bell alone, cut at the window: the scores have no say. The bell only lowers the weights that the
    softmax gave."""
    return _bell(scores, centre, sigma) * _window(scores, centre, radius)


@local_attention.misconception(caught_by=test_softmax_runs_over_the_window)
def cuts_after_the_softmax(scores, centre, radius, sigma):
    """The softmax ran over the whole sequence, and the window was cut out of it afterwards. What lies outside has taken
    its share and lost it. Outside the window a score is −∞, *before* the softmax."""
    return softmax(scores) * _window(scores, centre, radius) * _bell(scores, centre, sigma)


@local_attention.misconception(caught_by=test_softmax_runs_over_the_window)
def forgets_the_window(scores, centre, radius, sigma):
    """There is no window: the softmax ran over the whole sequence, and only the bell was applied. `radius` has to
    count."""
    return softmax(scores) * _bell(scores, centre, sigma)


@local_attention.misconception(caught_by=test_softmax_runs_over_the_window)
def hides_with_zeros(scores, centre, radius, sigma):
    """Outside the window the scores were set to 0. A score of 0 is a score like any other: exp(0) = 1, and it takes its
    share. Outside the window a score is −∞."""
    window = _window(scores, centre, radius)
    return softmax(scores * window) * window * _bell(scores, centre, sigma)


@local_attention.misconception(caught_by=test_local_of_known_numbers)
def has_no_left_edge(scores, centre, radius, sigma):
    """The window is open to the left: s − centre ≤ radius holds for everything before the centre. The *distance* is
    meant, |s − centre|: `abs`."""
    return _in_window(scores, _distance(scores, centre) <= radius) * _bell(scores, centre, sigma)


@local_attention.misconception(caught_by=test_the_window_ends_where_the_sequence_ends)
def shares_an_empty_window(scores, centre, radius, sigma):
    """A large negative number was put in place of the forbidden scores. Where *every* position is forbidden, all are
    alike again, and the softmax shares evenly among them. A window that holds no position gives zeros."""
    e = np.where(_window(scores, centre, radius), scores, -1e9)
    return softmax(e) * _bell(scores, centre, sigma)


@local_attention.misconception(caught_by=test_softmax_runs_over_the_window)
def leaves_out_the_edge(scores, centre, radius, sigma):
    """The window lost both its edges: |s − centre| < radius where ≤ is meant. A radius of 2 spans five positions, two
    on each side."""
    window = abs(_distance(scores, centre)) < radius
    return _in_window(scores, window) * _bell(scores, centre, sigma)


@local_attention.misconception(caught_by=test_softmax_runs_over_the_window)
def loses_the_right_edge(scores, centre, radius, sigma):
    """The window is one short on the right, as a slice `[centre - radius : centre + radius]` is: a slice ends *before*
    its end. Add 1."""
    d = _distance(scores, centre)
    return _in_window(scores, (-radius <= d) & (d < radius)) * _bell(scores, centre, sigma)


@local_attention.misconception(caught_by=test_softmax_runs_over_the_window)
def loses_the_left_edge(scores, centre, radius, sigma):
    """The window is one short on the left: centre − radius itself belongs to it."""
    d = _distance(scores, centre)
    return _in_window(scores, (-radius < d) & (d <= radius)) * _bell(scores, centre, sigma)


@local_attention.misconception(caught_by=test_softmax_runs_over_the_window)
def reaches_one_too_far(scores, centre, radius, sigma):
    """The window is one too wide on each side: a radius of 2 spans five positions, not seven."""
    return _in_window(scores, _window(scores, centre, radius + 1)) * _bell(scores, centre, sigma)


@local_attention.misconception(caught_by=test_softmax_runs_over_the_window)
def takes_radius_for_the_width(scores, centre, radius, sigma):
    """The window is `radius` wide in all. The radius is how far it reaches on *each* side of the centre."""
    return _in_window(scores, _window(scores, centre, radius / 2)) * _bell(scores, centre, sigma)


@local_attention.misconception(caught_by=test_local_of_known_numbers)
def counts_from_one(scores, centre, radius, sigma):
    """Window and bell stand one position too far left: positions were counted from 1. In Python the first is 0."""
    return _local_attention(scores, centre - 1, radius, sigma)


@local_attention.misconception(caught_by=test_local_of_known_numbers)
def shifts_to_the_right(scores, centre, radius, sigma):
    """Window and bell stand one position too far right of the centre."""
    return _local_attention(scores, centre + 1, radius, sigma)


@local_attention.misconception(caught_by=test_the_centre_may_lie_between_positions)
def rounds_the_centre(scores, centre, radius, sigma):
    """The centre was rounded to a whole position. It may lie between two: the bell then lowers both, and, moving
    smoothly, tells the network which way to shift. Rounding has no gradient."""
    return _local_attention(scores, np.round(centre), radius, sigma)


@local_attention.misconception(caught_by=test_the_centre_may_lie_between_positions)
def cuts_the_fraction_off(scores, centre, radius, sigma):
    """The fraction of the centre was cut off, as `int(…)` does. It may lie between two positions."""
    return _local_attention(scores, np.floor(centre), radius, sigma)


@local_attention.misconception(caught_by=test_softmax_runs_over_the_window)
def centres_on_the_greatest_score(scores, centre, radius, sigma):
    """The window stands round the greatest score, not round the centre. The centre is decided *before* any score is
    looked at: that is what makes the window cheap."""
    return _local_attention(scores, scores.argmax(-1).astype(float), radius, sigma)


@local_attention.misconception(caught_by=test_softmax_runs_over_the_window)
def uses_one_centre_for_all(scores, centre, radius, sigma):
    """Every sequence was given the centre of the first. Each has its own: `centre[:, None]` sets them in a column."""
    return _local_attention(scores, np.full_like(centre, centre[0]), radius, sigma)


@local_attention.misconception(caught_by=test_the_window_ends_where_the_sequence_ends)
def wraps_around(scores, centre, radius, sigma):
    """The window goes round the ends: what sticks out on the left comes in again on the right, as negative indices do.
    What lies beyond an end is ignored."""
    S = scores.shape[-1]
    d = (_distance(scores, centre) + S / 2) % S - S / 2
    return _in_window(scores, abs(d) <= radius) * np.exp(-(d**2) / (2 * sigma**2))


@local_attention.misconception(caught_by=test_the_window_ends_where_the_sequence_ends)
def pushes_the_window_inside(scores, centre, radius, sigma):
    """At an end, the window was pushed back inside, so as to keep its width. It stays where the centre is, and what
    sticks out is ignored."""
    inside = np.clip(centre, radius, scores.shape[-1] - 1 - radius) if 2 * radius < scores.shape[-1] else centre
    return _in_window(scores, _window(scores, inside, radius)) * _bell(scores, centre, sigma)


@local_attention.misconception(caught_by=test_the_window_ends_where_the_sequence_ends)
def divides_by_an_empty_window(scores, centre, radius, sigma):
    """Where the window holds no position, every score is −∞ and the softmax divides 0 by 0: NaN. Such a row gets
    zeros, as in chapter 5."""
    window = _window(scores, centre, radius)
    empty = ~window.any(-1, keepdims=True)
    return np.where(empty, np.nan, _local_attention(scores, centre, radius, sigma))


@local_attention.misconception(caught_by=test_local_takes_every_kind_of_array)
def local_overflows(scores, centre, radius, sigma):
    """This is right on paper, but exp of a large score is infinite in a computer, and ∞/∞ is NaN. Subtract the greatest
    score of the window first, or use the softmax of chapter 5, which does."""
    window = _window(scores, centre, radius)
    e = np.exp(scores) * window
    total = e.sum(-1, keepdims=True)
    weights = np.where(total == 0, 0.0, e / np.where(total == 0, 1.0, total))
    return weights * _bell(scores, centre, sigma)


@local_attention.misconception(caught_by=test_local_takes_every_kind_of_array)
def edits_the_scores(scores, centre, radius, sigma):
    """The weights are right, but −∞ was written into the caller's scores. Make a new array: `np.where(window, scores,
    -np.inf)`."""
    out = _local_attention(scores, centre, radius, sigma)
    scores[~_window(scores, centre, radius)] = -np.inf
    return out


@local_attention.misconception(caught_by=test_local_takes_every_kind_of_array)
def subtracts_a_score_from_outside(scores, centre, radius, sigma):
    """The greatest score of the *whole* sequence was subtracted before exp. Where it lies far above those of the
    window, all of these become exp(−1000) = 0, and the window seems empty. Cut the window first; then take its greatest
    score."""
    e = np.exp(scores - scores.max(-1, keepdims=True)) * _window(scores, centre, radius)
    total = e.sum(-1, keepdims=True)
    return e / np.where(total > 0, total, 1.0) * _bell(scores, centre, sigma)


@local_attention.misconception(caught_by=test_local_of_known_numbers)
def hides_with_zeros_and_lets_them_count(scores, centre, radius, sigma):
    """The scores outside the window were set to 0, and the softmax ran over all. A score of 0 is a score like any
    other: exp(0) = 1, so the outside keeps a share. Outside the window a score is −∞."""
    return softmax(scores * _window(scores, centre, radius)) * _bell(scores, centre, sigma)


@local_attention.misconception(caught_by=test_the_bell_comes_last)
def doubles_sigma(scores, centre, radius, sigma):
    """The bell is exp(−d²/(2σ)²): the 2 was squared as well, so it is too wide by a factor of √2. Only σ is squared,
    `2 * sigma**2`."""
    return _in_window(scores, _window(scores, centre, radius)) * _bell(scores, centre, sigma * np.sqrt(2))


@local_attention.misconception(caught_by=test_the_centre_may_lie_between_positions)
def cuts_the_window_round_a_whole_position(scores, centre, radius, sigma):
    """The bell stands at the centre, but the window was cut round a whole position beside it, as `int(centre)` gives it
    to a slice. Both are measured from the centre itself: |s − centre| ≤ radius."""
    return _in_window(scores, _window(scores, np.floor(centre), radius)) * _bell(scores, centre, sigma)


@local_attention.misconception(caught_by=test_the_window_ends_where_the_sequence_ends)
def pulls_the_centre_inside(scores, centre, radius, sigma):
    """A centre beyond the last position was moved onto it. A centre may lie anywhere, as far as S; it stays there,
    window and bell with it, and what sticks out is ignored."""
    return _local_attention(scores, np.clip(centre, 0, scores.shape[-1] - 1), radius, sigma)


@local_attention.alternative
def local_by_loops(scores, centre, radius, sigma):
    out = np.zeros(scores.shape)
    for b, p in enumerate(centre):
        inside = [s for s in range(scores.shape[1]) if p - radius <= s <= p + radius]
        if inside:
            top = max(scores[b, s] for s in inside)
            total = sum(np.exp(scores[b, s] - top) for s in inside)
            for s in inside:
                out[b, s] = np.exp(scores[b, s] - top) / total * np.exp(-((s - p) ** 2) / (2 * sigma**2))
    return out


@local_attention.alternative
def local_with_a_large_negative_fill(scores, centre, radius, sigma, fill=-1e30):
    d = np.arange(scores.shape[1]) - np.asarray(centre, dtype=float)[:, None]
    e = np.where(np.abs(d) > radius, fill, scores.astype(float))
    e = np.exp(e - e.max(axis=1, keepdims=True)) * (np.abs(d) <= radius)
    total = e.sum(axis=1, keepdims=True)
    return e / np.where(total > 0, total, 1) * np.exp(-0.5 * (d / sigma) ** 2)
