"""Chapter 11, the block: norms, a network for each position, and a road that stays open."""

from functools import cache

import torch
from torch import nn

from attnlab import block, norms
from autograder import expect
from autograder.exercise import Exercise

B, T, D, D_FF = 3, 5, 7, 11
SQUARE = 5  # all sizes alike: no shape warns of a mistake
FLOAT32 = 1e-5  # who computes in float32, as Llama does, may


def _normal(rng, *shape, dtype=torch.float32):
    return torch.tensor(rng.normal(size=shape), dtype=dtype)


def _gaps(x):
    """The same numbers as a view: its axes lie in another order in memory, with gaps between the entries."""
    return torch.stack([x.mT, x.mT], -1).contiguous()[..., 0].mT


def _gradients(names, found, wanted):
    for name, gradient, right in zip(names, found, wanted, strict=True):
        expect.true(
            gradient is not None,
            f"No gradient reaches `{name}`: it would never learn.",
            "Was something detached, turned into NumPy, or not used at all?",
        )
        expect.close(gradient, right, f"This is the gradient of `{name}`. Is all of the way there PyTorch?", 1e-3)


def _differentiates(student_function, reference, inputs, names, g):
    leaves = [x.clone().requires_grad_() for x in inputs]
    value = reference(*leaves)
    wanted = torch.autograd.grad((value * g).sum(), leaves)
    came = student_function.gradients(*inputs, cotangent=g)
    expect.close(came.value, value, "Is it the answer that you give without gradients, too?", FLOAT32)
    _gradients(names, came.inputs, wanted)


# -------------------------------------------------------------------------------------------------------- layer_norm

layer_norm = Exercise(
    "layer_norm",
    chapter=11,
    reference=norms.layer_norm,
    minutes=15,
    difficulty=1,
    forbidden=(
        "torch.nn.functional.layer_norm",
        "torch.layer_norm",
        "torch.nn.LayerNorm",
        "torch.nn.functional.group_norm",
        "torch.nn.functional.instance_norm",
        "attnlab.norms.LayerNorm",
    ),
)


def _to_norm(rng, *front, d=D, dtype=torch.float32):
    """x far from its norm, a gain and a bias."""
    x = 3 * _normal(rng, *front, d, dtype=dtype) + 2
    return x, 1 + 0.5 * _normal(rng, d, dtype=dtype), _normal(rng, d, dtype=dtype)


@layer_norm.check(points=2)
def test_norm_of_known_numbers(student, rng):
    """`[1, 5]` has mean 3 and variance 4: with gain `[1, 2]` and bias `[0, 10]` it becomes `[−1, 12]`."""
    x, gain, bias = torch.tensor([1.0, 5.0]), torch.tensor([1.0, 2.0]), torch.tensor([0.0, 10.0])
    expect.close(
        student.layer_norm(x, gain, bias, 0.0),
        torch.tensor([-1.0, 12.0]),
        "The variance of two numbers divides by 2. What comes first, gain or bias?",
    )


@layer_norm.check(points=2)
def test_each_position_has_its_own_scale(student, rng):
    """Every vector is normed by itself, along the last axis, with a mean and a variance of its own."""
    for inputs in (_to_norm(rng, B, T), _to_norm(rng, SQUARE, SQUARE, d=SQUARE), _to_norm(rng, T)):
        want = norms.layer_norm(*inputs)
        expect.close(student.layer_norm(*inputs), want, "Over which axis are mean and variance taken?")


@layer_norm.check(points=1)
def test_eps_stands_inside_the_root(student, rng):
    """`eps` is added to the variance, under the root; vectors that hardly differ are not blown up."""
    x, gain, bias = _to_norm(rng, T)
    for eps in (3.0, 0.25):
        want = norms.layer_norm(x, gain, bias, eps)
        expect.close(student.layer_norm(x, gain, bias, eps), want, "Where is `eps` added, and to what?")
    x = 5 + 1e-3 * _normal(rng, T, D)
    want = norms.layer_norm(x, gain, bias)
    expect.close(student.layer_norm(x, gain, bias), want, "Here the variance is a millionth: eps counts.", 1e-2)


@layer_norm.check(points=1)
def test_a_constant_vector_becomes_the_bias(student, rng):
    """A vector of equal numbers has no variance: the bias is left, and no NaN."""
    _, gain, bias = _to_norm(rng, T)
    for height in (4.0, 0.0):
        x = torch.full((T, D), height)
        want = bias.expand(T, D).clone()  # to a thousandth: a mean that is summed in another order leaves a rest
        expect.close(student.layer_norm(x, gain, bias), want, "0/0 is NaN: what keeps it away?", 1e-3)


@layer_norm.check(points=1)
def test_gradients_of_layer_norm(student, rng):
    """The gradients of x, gain and bias are those of the formula: mean and variance depend on x, too."""
    inputs = _to_norm(rng, B, T, dtype=torch.float64)
    g = _normal(rng, B, T, D, dtype=torch.float64)
    _differentiates(student.layer_norm, norms.layer_norm, inputs, ("x", "gain", "bias"), g)


@layer_norm.check(points=1)
def test_layer_norm_takes_every_kind_of_tensor(student, rng):
    """It takes float64, views with gaps, a single vector, huge numbers; what is passed in is the same afterwards."""
    x, gain, bias = _to_norm(rng, B, T, dtype=torch.float64)
    for given in (_gaps(x), x[0, 0], 1e6 * x):
        want = norms.layer_norm(given, gain, bias)
        expect.close(student.layer_norm(given, gain, bias), want, "Does it count on a shape or on the memory?", FLOAT32)
    expect.unchanged(student)


@layer_norm.inputs
def _vectors_to_norm(rng):
    for front in ((), (2,), (SQUARE,)) * 4:
        yield (*_to_norm(rng, *front, d=SQUARE), float(rng.choice([1e-5, 0.5]))), {}


def _normed(x, gain, bias, eps=1e-5, *, axis=-1, centre=True, variance=None, divide=None):
    """The reference in steps, which a wrong answer can replace one by one."""
    mean = x.mean(axis, keepdim=True)
    centred = x - mean if centre else x
    v = ((x - mean) ** 2).mean(axis, keepdim=True) if variance is None else variance(x, mean)
    return gain * (centred / torch.sqrt(v + eps) if divide is None else divide(centred, v, eps)) + bias


@layer_norm.misconception(caught_by=test_norm_of_known_numbers)
def divides_by_one_less(x, gain, bias, eps=1e-5):
    """The variance divides by d − 1. That is how one *estimates* the variance of many from a few, and PyTorch's
    `var` and `std` do it unless told not to. Here the d numbers are all there are: divide by d, `correction=0`."""
    return _normed(x, gain, bias, eps, variance=lambda x, mean: x.var(-1, keepdim=True))


@layer_norm.misconception(caught_by=test_eps_stands_inside_the_root)
def adds_eps_outside(x, gain, bias, eps=1e-5):
    """`eps` was added to the standard deviation, outside the root. Inside the root a variance of 0 gives √eps, which is
    300 times as large as eps: small vectors come out on another scale."""
    return _normed(x, gain, bias, eps, divide=lambda c, v, eps: c / (torch.sqrt(v) + eps))


@layer_norm.misconception(caught_by=test_a_constant_vector_becomes_the_bias)
def forgets_eps(x, gain, bias, eps=1e-5):
    """`eps` is missing. A vector of equal numbers has the variance 0, and 0/0 is NaN."""
    return _normed(x, gain, bias, 0.0)


@layer_norm.misconception(caught_by=test_eps_stands_inside_the_root)
def has_an_eps_of_its_own(x, gain, bias, eps=1e-5):
    """The eps that was passed in is ignored: 1e-5 is written into the formula."""
    return _normed(x, gain, bias, 1e-5)


@layer_norm.misconception(caught_by=test_eps_stands_inside_the_root)
def has_a_smaller_eps_unless_told(x, gain, bias, eps=1e-6):
    """Where nobody says `eps`, 1e-6 is taken. The signature promises 1e-5, and who leaves an argument out relies on its
    default."""
    return _normed(x, gain, bias, eps)


@layer_norm.misconception(caught_by=test_norm_of_known_numbers)
def divides_by_one_less_and_adds_eps_outside(x, gain, bias, eps=1e-5):
    """There are two slips in it: `x.std(…)` divides by d − 1 unless told not to, and eps was added to the standard
    deviation, outside the root. Take the variance, `correction=0`, add eps to it, and then the root."""
    return _normed(x, gain, bias, eps, divide=lambda c, v, eps: c / (c.std(-1, keepdim=True) + eps))


@layer_norm.misconception(caught_by=test_eps_stands_inside_the_root)
def squares_eps(x, gain, bias, eps=1e-5):
    """`eps` was squared with the deviations. It is added to the variance as it is."""
    return _normed(x, gain, bias, eps**2)


@layer_norm.misconception(caught_by=test_eps_stands_inside_the_root)
def takes_the_larger(x, gain, bias, eps=1e-5):
    """The larger of variance and eps was taken. They are added."""
    return _normed(x, gain, bias, eps, divide=lambda c, v, eps: c / torch.sqrt(v.clamp(min=eps)))


@layer_norm.misconception(caught_by=test_each_position_has_its_own_scale)
def norms_over_the_batch(x, gain, bias, eps=1e-5):
    """Mean and variance were taken over the first axis, the batch: that is *batch* norm. Then the answer to a sentence
    depends on its neighbours, and on how many there are. Every vector is normed by itself: `dim=-1`."""
    return _normed(x, gain, bias, eps, axis=0 if x.ndim > 1 else -1)


@layer_norm.misconception(caught_by=test_each_position_has_its_own_scale)
def norms_over_the_positions(x, gain, bias, eps=1e-5):
    """Mean and variance were taken over the *positions*, for each feature. Then a word's vector depends on all the
    others, on padding and on the future too. Every vector is normed by itself: `dim=-1`."""
    return _normed(x, gain, bias, eps, axis=-2 if x.ndim > 1 else -1)


@layer_norm.misconception(caught_by=test_each_position_has_its_own_scale)
def norms_the_whole_sequence(x, gain, bias, eps=1e-5):
    """One mean and one variance were taken for all of a sequence, features and positions together. Each position
    has its own."""
    return _normed(x, gain, bias, eps, axis=(-2, -1) if x.ndim > 1 else -1)


@layer_norm.misconception(caught_by=test_each_position_has_its_own_scale)
def norms_everything(x, gain, bias, eps=1e-5):
    """`x.mean()` and `x.var()` without an axis: one mean and one variance for the whole batch. Each vector has its own,
    `dim=-1, keepdim=True`."""
    return _normed(x, gain, bias, eps, axis=tuple(range(x.ndim)))


@layer_norm.misconception(caught_by=test_norm_of_known_numbers)
def leaves_the_mean(x, gain, bias, eps=1e-5):
    """The mean was not subtracted: that is nearer to RMS norm, which comes next. Here the mean goes first."""
    return _normed(x, gain, bias, eps, centre=False)


@layer_norm.misconception(caught_by=test_norm_of_known_numbers)
def norms_by_the_mean_square(x, gain, bias, eps=1e-5):
    """This is RMS norm, which comes next, with a bias: no mean was subtracted, neither above nor below. Layer norm
    takes it off first, and divides by the root of the mean of what is left, squared."""
    return gain * x / torch.sqrt((x**2).mean(-1, keepdim=True) + eps) + bias


@layer_norm.misconception(caught_by=test_norm_of_known_numbers)
def leaves_the_scale(x, gain, bias, eps=1e-5):
    """The mean was subtracted, and nothing divided. The variance has to become 1, too."""
    return _normed(x, gain, bias, eps, divide=lambda c, v, eps: c)


@layer_norm.misconception(caught_by=test_each_position_has_its_own_scale)
def divides_by_the_variance(x, gain, bias, eps=1e-5):
    """It was divided by the variance, not by its root. To bring the variance to 1, divide by the standard deviation."""
    return _normed(x, gain, bias, eps, divide=lambda c, v, eps: c / (v + eps))


@layer_norm.misconception(caught_by=test_norm_of_known_numbers)
def divides_by_the_mean_square(x, gain, bias, eps=1e-5):
    """The mean was subtracted above, but below stands the mean of x², *with* its mean. The variance is the mean of (x −
    mean)²."""
    return _normed(x, gain, bias, eps, variance=lambda x, mean: (x**2).mean(-1, keepdim=True))


@layer_norm.misconception(caught_by=test_norm_of_known_numbers)
def divides_by_the_length(x, gain, bias, eps=1e-5):
    """It was divided by the length of the vector, the root of the *sum* of squares. Then the length is 1 and the
    variance 1/d. Take the mean of the squares."""
    return _normed(x, gain, bias, eps, variance=lambda x, mean: ((x - mean) ** 2).sum(-1, keepdim=True))


@layer_norm.misconception(caught_by=test_each_position_has_its_own_scale)
def divides_by_the_mean_deviation(x, gain, bias, eps=1e-5):
    """It was divided by the mean of the *absolute* deviations. The standard deviation is the root of the mean of their
    squares."""
    return _normed(x, gain, bias, eps, variance=lambda x, mean: (x - mean).abs().mean(-1, keepdim=True) ** 2)


@layer_norm.misconception(caught_by=test_norm_of_known_numbers)
def stretches_to_the_range(x, gain, bias, eps=1e-5):
    """The smallest number was subtracted, and the range divided by, so that a vector goes from 0 to 1. Layer norm
    subtracts the *mean* and divides by the standard deviation."""
    low, high = x.amin(-1, keepdim=True), x.amax(-1, keepdim=True)
    return gain * (x - low) / (high - low + eps) + bias


@layer_norm.misconception(caught_by=test_norm_of_known_numbers)
def multiplies_by_the_gain_twice(x, gain, bias, eps=1e-5):
    """The gain came in twice: once in the norm, and once more around it, the bias included. Once, and the bias after
    it."""
    return gain * _normed(x, gain, bias, eps)


@layer_norm.misconception(caught_by=test_norm_of_known_numbers)
def forgets_the_gain(x, gain, bias, eps=1e-5):
    """The gain was not used. Without it every feature keeps the variance 1 for good."""
    return _normed(x, torch.ones_like(gain), bias, eps)


@layer_norm.misconception(caught_by=test_norm_of_known_numbers)
def forgets_the_bias(x, gain, bias, eps=1e-5):
    """The bias was not added."""
    return _normed(x, gain, torch.zeros_like(bias), eps)


@layer_norm.misconception(caught_by=test_norm_of_known_numbers)
def exchanges_gain_and_bias(x, gain, bias, eps=1e-5):
    """Gain and bias are exchanged: the gain multiplies, the bias is added."""
    return _normed(x, bias, gain, eps)


@layer_norm.misconception(caught_by=test_norm_of_known_numbers)
def multiplies_the_bias_too(x, gain, bias, eps=1e-5):
    """The bias was added first and multiplied by the gain. The gain comes first: `gain * normed + bias`."""
    return _normed(x, gain, gain * bias, eps)


@layer_norm.misconception(caught_by=test_norm_of_known_numbers)
def scales_before_it_norms(x, gain, bias, eps=1e-5):
    """Gain and bias were applied to x, and *then* it was normed, which undoes most of it. Norm first."""
    d = x.shape[-1]
    return _normed(gain * x + bias, x.new_ones(d), x.new_zeros(d), eps)


@layer_norm.misconception(caught_by=test_each_position_has_its_own_scale)
def forgets_to_keep_the_axis(x, gain, bias, eps=1e-5):
    """`keepdim=True` is missing. The means then lie along the *last* axis: wrong numbers where T and d are equal,
    an error where they are not."""
    mean, variance = x.mean(-1), x.var(-1, correction=0)
    return gain * (x - mean) / torch.sqrt(variance + eps) + bias


@layer_norm.misconception(caught_by=test_gradients_of_layer_norm)
def holds_mean_and_variance_fast(x, gain, bias, eps=1e-5):
    """The numbers are right, the gradient is not: mean and variance were detached, as if they did not depend on x. They
    do, and that is what keeps gradients from growing."""
    mean = x.detach().mean(-1, keepdim=True)
    variance = x.detach().var(-1, correction=0, keepdim=True)
    return gain * (x - mean) / torch.sqrt(variance + eps) + bias


@layer_norm.misconception(caught_by=test_gradients_of_layer_norm)
def holds_the_variance_fast(x, gain, bias, eps=1e-5):
    """The numbers are right, the gradient is not: the variance was detached, as if it did not depend on x. It does: a
    change of x along x itself changes nothing in the answer, and its gradient has to say so."""
    mean = x.mean(-1, keepdim=True)
    return gain * (x - mean) / torch.sqrt(x.detach().var(-1, correction=0, keepdim=True) + eps) + bias


@layer_norm.misconception(caught_by=test_norm_of_known_numbers)
def multiplies_by_one_more(x, gain, bias, eps=1e-5):
    """It was multiplied by 1 + gain. Some models keep their gains like that, near 0; here the gain itself
    multiplies."""
    return _normed(x, 1 + gain, bias, eps)


@layer_norm.misconception(caught_by=test_eps_stands_inside_the_root)
def subtracts_squares(x, gain, bias, eps=1e-5):
    """The variance was computed as mean(x²) − mean(x)². On paper that is the same. In float32 two large numbers are
    subtracted that differ in their last digits, and the digits that are left are noise: take mean((x − mean)²)."""
    return _normed(x, gain, bias, eps, variance=lambda x, mean: (x**2).mean(-1, keepdim=True) - mean**2)


@layer_norm.misconception(caught_by=test_layer_norm_takes_every_kind_of_tensor)
def norm_that_edits_x(x, gain, bias, eps=1e-5):
    """The caller's x is changed: `x -= …` and `x /= …` write into the tensor that was passed in, and where gradients
    are wanted PyTorch refuses. Give the difference a name of its own."""
    x -= x.mean(-1, keepdim=True)
    return gain * x / torch.sqrt((x**2).mean(-1, keepdim=True) + eps) + bias


@layer_norm.alternative
def layer_norm_by_moments(x, gain, bias, eps=1e-5, axis=-1):
    wide = x.double()
    mean = wide.mean(axis, keepdim=True)
    variance = wide.var(axis, keepdim=True, correction=0)
    return ((wide - mean) * torch.rsqrt(variance + eps)).to(x.dtype) * gain + bias


@layer_norm.alternative
def layer_norm_by_length(x, gain, bias, eps=1e-5):
    d = x.shape[-1]
    centred = x - torch.einsum("...d->...", x)[..., None] / d
    return torch.addcmul(bias.expand_as(x), gain, centred / torch.sqrt((centred * centred).sum(-1, True) / d + eps))


@layer_norm.alternative
def layer_norm_by_a_matrix_that_centres(x, gain, bias, eps=1e-5):
    d = x.shape[-1]
    centred = torch.einsum("...i,ij->...j", x, torch.eye(d, dtype=x.dtype) - 1 / d)
    return gain * centred / (centred.pow(2).sum(-1, keepdim=True) / d + eps) ** 0.5 + bias


# ---------------------------------------------------------------------------------------------------------- rms_norm

rms_norm = Exercise(
    "rms_norm",
    chapter=11,
    reference=norms.rms_norm,
    minutes=5,
    difficulty=1,
    forbidden=("torch.nn.functional.rms_norm", "torch.rms_norm", "torch.nn.RMSNorm", "attnlab.norms.RMSNorm"),
)


def _to_rms(rng, *front, d=D, dtype=torch.float32):
    x, gain, _ = _to_norm(rng, *front, d=d, dtype=dtype)
    return x, gain


@rms_norm.check(points=1)
def test_rms_of_known_numbers(student, rng):
    """`[1, 7]` has the mean square 25: with gain `[1, 2]` it becomes `[0.2, 2.8]`."""
    x, gain = torch.tensor([1.0, 7.0]), torch.tensor([1.0, 2.0])
    expect.close(
        student.rms_norm(x, gain, 0.0), torch.tensor([0.2, 2.8]), "It divides by √25 = 5. Is anything subtracted?"
    )


@rms_norm.check(points=1)
def test_rms_of_each_position(student, rng):
    """Every vector is divided by its own root mean square, and no mean is subtracted. `eps` is added under the root;
    where it is left out, it is 10⁻⁶."""
    for inputs in (_to_rms(rng, B, T), _to_rms(rng, SQUARE, SQUARE, d=SQUARE), _to_rms(rng, T)):
        want = norms.rms_norm(*inputs)
        expect.close(student.rms_norm(*inputs), want, "Over which axis, and of what?")
    x, gain = _to_rms(rng, T)
    expect.close(student.rms_norm(0 * x, gain), torch.zeros(T, D), "0/0 is NaN: what keeps it away?")
    want = norms.rms_norm(x, gain, 0.5)
    expect.close(student.rms_norm(x, gain, 0.5), want, "Where is `eps` added?")
    quiet = 1e-3 * x
    want = norms.rms_norm(quiet, gain)
    expect.close(student.rms_norm(quiet, gain), want, "These numbers are about a thousandth: an `eps` of 1e-6 counts.")


@rms_norm.check(points=1)
def test_rms_norm_can_be_trained(student, rng):
    """Gradients reach x and the gain; it takes views with gaps and float64; what is passed in is the same
    afterwards."""
    inputs = _to_rms(rng, B, T, dtype=torch.float64)
    g = _normal(rng, B, T, D, dtype=torch.float64)
    want = norms.rms_norm(_gaps(inputs[0]), inputs[1])
    cause = "Do you count on how numbers lie in memory?"
    expect.close(student.rms_norm(_gaps(inputs[0]), inputs[1]), want, cause, FLOAT32)
    _differentiates(student.rms_norm, norms.rms_norm, inputs, ("x", "gain"), g)
    expect.unchanged(student)


@rms_norm.inputs
def _vectors_to_rms(rng):
    for front in ((), (2,), (SQUARE,)) * 4:
        yield (*_to_rms(rng, *front, d=SQUARE), float(rng.choice([1e-6, 0.5]))), {}


def _rms(x, gain, eps=1e-6, *, axis=-1, divide=None):
    square = (x**2).mean(axis, keepdim=True)
    return gain * (x / torch.sqrt(square + eps) if divide is None else divide(x, square, eps))


@rms_norm.misconception(caught_by=test_rms_of_known_numbers)
def subtracts_the_mean(x, gain, eps=1e-6):
    """The mean was subtracted, as in layer norm. RMS norm leaves it: that is the point of it, one sum less."""
    return norms.layer_norm(x, gain, torch.zeros_like(gain), eps)


@rms_norm.misconception(caught_by=test_rms_of_known_numbers)
def divides_by_the_deviation(x, gain, eps=1e-6):
    """It was divided by the standard deviation, whose mean is subtracted. Here it is the root of the mean of x²
    itself."""
    return _rms(x, gain, eps, divide=lambda x, s, eps: x / torch.sqrt(x.var(-1, correction=0, keepdim=True) + eps))


@rms_norm.misconception(caught_by=test_rms_of_known_numbers)
def divides_by_the_euclidean_length(x, gain, eps=1e-6):
    """It was divided by the length, the root of the *sum* of squares. The root of the *mean* of squares makes the
    entries about 1, whatever the width."""
    return _rms(x, gain, eps, divide=lambda x, s, eps: x / torch.sqrt((x**2).sum(-1, keepdim=True) + eps))


@rms_norm.misconception(caught_by=test_rms_of_known_numbers)
def forgets_the_root(x, gain, eps=1e-6):
    """It was divided by the mean square itself. The root is missing."""
    return _rms(x, gain, eps, divide=lambda x, s, eps: x / (s + eps))


@rms_norm.misconception(caught_by=test_rms_of_known_numbers)
def multiplies_by_the_root(x, gain, eps=1e-6):
    """It was *multiplied* by the root of the mean square, so that loud vectors become louder still. A norm divides; or
    multiplies by `torch.rsqrt`, one over the root."""
    return _rms(x, gain, eps, divide=lambda x, s, eps: x * (s + eps).sqrt())


@rms_norm.misconception(caught_by=test_rms_of_known_numbers)
def divides_by_the_mean_size(x, gain, eps=1e-6):
    """It was divided by the mean of |x|. Squares, their mean, and then the root."""
    return _rms(x, gain, eps, divide=lambda x, s, eps: x / (x.abs().mean(-1, keepdim=True) + eps))


@rms_norm.misconception(caught_by=test_rms_of_known_numbers)
def squares_the_mean(x, gain, eps=1e-6):
    """The mean was squared, not the numbers: positive and negative ones cancel, and what is left may be anything. First
    squares, then their mean."""
    return gain * x / torch.sqrt(x.mean(-1, keepdim=True) ** 2 + eps)


@rms_norm.misconception(caught_by=test_rms_of_each_position)
def adds_eps_outside_the_root(x, gain, eps=1e-6):
    """`eps` was added outside the root. It goes under it, to the mean square."""
    return _rms(x, gain, eps, divide=lambda x, s, eps: x / (torch.sqrt(s) + eps))


@rms_norm.misconception(caught_by=test_rms_of_each_position)
def rms_without_eps(x, gain, eps=1e-6):
    """`eps` is missing: a vector of zeros becomes NaN."""
    return _rms(x, gain, 0.0)


@rms_norm.misconception(caught_by=test_rms_of_each_position)
def rms_with_an_eps_of_its_own(x, gain, eps=1e-6):
    """The eps that was passed in is ignored."""
    return _rms(x, gain, 1e-6)


@rms_norm.misconception(caught_by=test_rms_of_each_position)
def rms_with_a_larger_eps_unless_told(x, gain, eps=1e-5):
    """Where nobody says `eps`, 1e-5 is taken, as in layer norm. The signature promises 1e-6, and who leaves an argument
    out relies on its default."""
    return _rms(x, gain, eps)


@rms_norm.misconception(caught_by=test_rms_of_each_position)
def rms_over_the_batch(x, gain, eps=1e-6):
    """The mean square was taken over the first axis, across the batch. Every vector has its own: `dim=-1`."""
    return _rms(x, gain, eps, axis=0 if x.ndim > 1 else -1)


@rms_norm.misconception(caught_by=test_rms_of_each_position)
def rms_over_the_positions(x, gain, eps=1e-6):
    """The mean square was taken over the positions. Every vector has its own: `dim=-1`."""
    return _rms(x, gain, eps, axis=-2 if x.ndim > 1 else -1)


@rms_norm.misconception(caught_by=test_rms_of_each_position)
def rms_over_everything(x, gain, eps=1e-6):
    """One mean square was taken for all vectors together. Every vector has its own: `dim=-1, keepdim=True`."""
    return _rms(x, gain, eps, axis=tuple(range(x.ndim)))


@rms_norm.misconception(caught_by=test_rms_of_known_numbers)
def rms_without_gain(x, gain, eps=1e-6):
    """The gain was not used."""
    return _rms(x, torch.ones_like(gain), eps)


@rms_norm.misconception(caught_by=test_rms_of_known_numbers)
def rms_with_gain_plus_one(x, gain, eps=1e-6):
    """It was multiplied by 1 + gain. Some models keep their gains like that, near 0; here the gain itself
    multiplies."""
    return _rms(x, 1 + gain, eps)


@rms_norm.misconception(caught_by=test_rms_of_known_numbers)
def adds_the_gain(x, gain, eps=1e-6):
    """The gain was added. It multiplies, feature by feature."""
    return _rms(x, torch.ones_like(gain), eps) + gain


@rms_norm.misconception(caught_by=test_rms_norm_can_be_trained)
def rms_held_fast(x, gain, eps=1e-6):
    """The numbers are right, the gradient is not: the root mean square was detached, as if it did not depend on x."""
    return gain * x / torch.sqrt((x.detach() ** 2).mean(-1, keepdim=True) + eps)


@rms_norm.misconception(caught_by=test_rms_norm_can_be_trained)
def rms_that_edits_x(x, gain, eps=1e-6):
    """The answer is right, but the caller's x is changed: `x *= …` or `x /= …` writes into it."""
    answer = norms.rms_norm(x, gain, eps)
    if not x.requires_grad:
        x *= 2
    return answer


@rms_norm.alternative
def rms_by_rsqrt(x, gain, eps=1e-6, name="rms"):
    return x * torch.rsqrt(x.pow(2).mean(dim=-1, keepdim=True) + eps) * gain


@rms_norm.alternative
def rms_in_float32_and_back(x, gain, eps=1e-6):
    """As in Llama's code: the norm in float32, whatever x is."""
    wide = x.float()
    return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)).type_as(x) * gain


@rms_norm.alternative
def rms_by_length(x, gain, eps=1e-6):
    d = x.shape[-1]
    return gain * x * d**0.5 / torch.sqrt(torch.einsum("...d,...d->...", x, x)[..., None] + d * eps)


# ------------------------------------------------------------------------------------------------------ feed_forward

feed_forward = Exercise(
    "feed_forward",
    chapter=11,
    reference=block.feed_forward,
    minutes=10,
    difficulty=1,
    forbidden=("torch.nn.TransformerEncoderLayer", "attnlab.block.FeedForward"),
)
LAYERS = ("W_1", "b_1", "W_2", "b_2")


def _network(rng, *front, d=D, d_ff=D_FF, dtype=torch.float32):
    return tuple(_normal(rng, *shape, dtype=dtype) for shape in ((*front, d), (d, d_ff), (d_ff,), (d_ff, d), (d,)))


@feed_forward.check(points=2)
def test_network_of_known_numbers(student, rng):
    """One hidden number, `max(0, 2x − 1)`, and the answer is 3 times it, plus 4: `1` becomes 7, and `−1` becomes 4."""
    W_1, b_1, W_2, b_2 = (torch.tensor(v) for v in ([[2.0]], [-1.0], [[3.0]], [4.0]))
    x = torch.tensor([[1.0], [-1.0], [0.75]])
    expect.close(
        student.feed_forward(x, W_1, b_1, W_2, b_2),
        torch.tensor([[7.0], [4.0], [5.5]]),
        "For x = −1 the hidden number is −3: what does max(0, …) make of it?",
    )


@feed_forward.check(points=2)
def test_network_is_the_same_at_each_position(student, rng):
    """Every position goes through the same network by itself, however many axes stand in front."""
    for inputs in (_network(rng, T), _network(rng, B, T), _network(rng), _network(rng, SQUARE, d=SQUARE, d_ff=SQUARE)):
        want = block.feed_forward(*inputs)
        expect.close(
            student.feed_forward(*inputs), want, "Which matrix meets which axis, and where is the maximum?", 1e-4
        )


@feed_forward.check(points=1)
def test_network_can_be_trained(student, rng):
    """Gradients reach x and all four parameters; it takes views with gaps; what is passed in is the same afterwards."""
    inputs = _network(rng, B, T, dtype=torch.float64)
    g = _normal(rng, B, T, D, dtype=torch.float64)
    spread = [_gaps(x) if x.ndim > 1 else x for x in inputs]
    want = block.feed_forward(*spread)
    expect.close(student.feed_forward(*spread), want, "Do you count on how numbers lie in memory?")
    _differentiates(student.feed_forward, block.feed_forward, inputs, ("x", *LAYERS), g)
    expect.unchanged(student, "Does `relu_` or `clamp_`, or `+=`, write into an input?")


@feed_forward.inputs
def _networks(rng):
    for front in ((), (2,), (SQUARE,)) * 4:
        yield _network(rng, *front, d=SQUARE, d_ff=SQUARE), {}


def _two(x, W_1, b_1, W_2, b_2, *, act=torch.relu):
    return act(x @ W_1 + b_1) @ W_2 + b_2


@feed_forward.misconception(caught_by=test_network_of_known_numbers)
def forgets_the_maximum(x, W_1, b_1, W_2, b_2):
    """The ReLU is missing. Two matrices without anything between them are one matrix: x W_1 W_2, and no hidden layer at
    all."""
    return _two(x, W_1, b_1, W_2, b_2, act=lambda h: h)


@feed_forward.misconception(caught_by=test_network_is_the_same_at_each_position)
def takes_the_maximum_at_the_end(x, W_1, b_1, W_2, b_2):
    """The ReLU stands behind the second matrix. It belongs between the two; the network ends in a sum that may be
    negative."""
    return torch.relu((x @ W_1 + b_1) @ W_2 + b_2)


@feed_forward.misconception(caught_by=test_network_is_the_same_at_each_position)
def takes_the_maximum_twice(x, W_1, b_1, W_2, b_2):
    """There is a second ReLU behind the second matrix. The network ends in a sum that may be negative: it has to be
    able to take away from the road."""
    return torch.relu(_two(x, W_1, b_1, W_2, b_2))


@feed_forward.misconception(caught_by=test_network_of_known_numbers)
def takes_the_maximum_first(x, W_1, b_1, W_2, b_2):
    """The ReLU was put on x, before the first matrix. It belongs behind it."""
    return (torch.relu(x) @ W_1 + b_1) @ W_2 + b_2


@feed_forward.misconception(caught_by=test_network_of_known_numbers)
def adds_the_bias_after_the_maximum(x, W_1, b_1, W_2, b_2):
    """The first bias was added *after* the maximum. Inside, it says where each hidden number begins to speak:
    max(0, x W_1 + b_1)."""
    return (torch.relu(x @ W_1) + b_1) @ W_2 + b_2


@feed_forward.misconception(caught_by=test_network_of_known_numbers)
def forgets_the_first_bias(x, W_1, b_1, W_2, b_2):
    """The first bias is missing."""
    return _two(x, W_1, 0 * b_1, W_2, b_2)


@feed_forward.misconception(caught_by=test_network_of_known_numbers)
def forgets_the_second_bias(x, W_1, b_1, W_2, b_2):
    """The second bias is missing."""
    return _two(x, W_1, b_1, W_2, 0 * b_2)


@feed_forward.misconception(caught_by=test_network_of_known_numbers)
def forgets_both_biases(x, W_1, b_1, W_2, b_2):
    """Both biases are missing."""
    return _two(x, W_1, 0 * b_1, W_2, 0 * b_2)


@feed_forward.misconception(caught_by=test_network_of_known_numbers)
def adds_x_again(x, W_1, b_1, W_2, b_2):
    """The input was added to the answer. That is the residual connection, which comes next, and is not the network's
    business."""
    return x + _two(x, W_1, b_1, W_2, b_2)


@feed_forward.misconception(caught_by=test_network_of_known_numbers)
def bends_by_gelu(x, W_1, b_1, W_2, b_2):
    """The bend is a GELU. GPT has it; the formula here has max(0, …)."""
    return _two(x, W_1, b_1, W_2, b_2, act=nn.functional.gelu)


@feed_forward.misconception(caught_by=test_network_of_known_numbers)
def bends_by_tanh(x, W_1, b_1, W_2, b_2):
    """The bend is a tanh. The formula here has max(0, …)."""
    return _two(x, W_1, b_1, W_2, b_2, act=torch.tanh)


@feed_forward.misconception(caught_by=test_network_of_known_numbers)
def bends_by_sigmoid(x, W_1, b_1, W_2, b_2):
    """The bend is a sigmoid. The formula here has max(0, …)."""
    return _two(x, W_1, b_1, W_2, b_2, act=torch.sigmoid)


@feed_forward.misconception(caught_by=test_network_of_known_numbers)
def keeps_a_leak(x, W_1, b_1, W_2, b_2):
    """The bend lets a hundredth of what is negative through, a leaky ReLU. The formula here has max(0, …)."""
    return _two(x, W_1, b_1, W_2, b_2, act=nn.functional.leaky_relu)


@feed_forward.misconception(caught_by=test_network_of_known_numbers)
def takes_the_absolute_value(x, W_1, b_1, W_2, b_2):
    """What is negative was turned round, not cut off: that is the absolute value, not max(0, …)."""
    return _two(x, W_1, b_1, W_2, b_2, act=torch.abs)


@feed_forward.misconception(caught_by=test_network_of_known_numbers)
def takes_the_minimum(x, W_1, b_1, W_2, b_2):
    """What is *positive* was cut off. max(0, h) keeps what is above zero: `clamp(min=0)`, for `clamp(max=0)` is the
    minimum."""
    return _two(x, W_1, b_1, W_2, b_2, act=lambda h: h.clamp(max=0))


@feed_forward.misconception(caught_by=test_network_of_known_numbers)
def shares_out_the_hidden_layer(x, W_1, b_1, W_2, b_2):
    """The bend is a softmax, so that the hidden numbers compete. That is attention's trick; here it is max(0, …)."""
    return _two(x, W_1, b_1, W_2, b_2, act=lambda h: torch.softmax(h, -1))


@feed_forward.misconception(caught_by=test_network_is_the_same_at_each_position)
def mixes_the_positions(x, W_1, b_1, W_2, b_2):
    """The matrices met the axis of *positions*: words were mixed, and features left alone. That is what attention
    is for. Here each position goes through by itself, `x @ W_1`."""
    return _two(x.mT, W_1, b_1, W_2, b_2).mT if x.ndim > 1 else _two(x, W_1, b_1, W_2, b_2)


@feed_forward.misconception(caught_by=test_network_is_the_same_at_each_position)
def averages_the_positions(x, W_1, b_1, W_2, b_2):
    """The positions were averaged before the network, so every word gets the same answer. Each goes through by
    itself."""
    mean = x.mean(-2, keepdim=True).expand_as(x) if x.ndim > 1 else x
    return _two(mean, W_1, b_1, W_2, b_2)


@feed_forward.misconception(caught_by=test_network_is_the_same_at_each_position)
def turns_the_matrices_over(x, W_1, b_1, W_2, b_2):
    """This is `x @ W.T`. `nn.Linear` keeps its matrix turned over; here W_1 has the shape (d_model, d_ff), as in
    the paper."""
    return _two(x, W_1.T, b_1, W_2.T, b_2)


@feed_forward.misconception(caught_by=test_network_is_the_same_at_each_position)
def multiplies_from_the_left(x, W_1, b_1, W_2, b_2):
    """This is `W @ x`, as for one vector that stands upright. Words are rows here, so the matrix stands on the
    right."""
    return W_2 @ torch.relu(W_1 @ x + b_1) + b_2


@feed_forward.misconception(caught_by=test_network_is_the_same_at_each_position)
def stops_after_one_layer(x, W_1, b_1, W_2, b_2):
    """There is one layer only: max(0, x W_1 + b_1). A second matrix brings the hidden numbers back to the road."""
    return torch.relu(x @ W_1 + b_1)


@feed_forward.misconception(caught_by=test_network_can_be_trained)
def cuts_the_way_back(x, W_1, b_1, W_2, b_2):
    """The numbers are right, but the hidden layer was detached: x, W_1 and b_1 never learn."""
    return torch.relu(x @ W_1 + b_1).detach() @ W_2 + b_2


@feed_forward.misconception(caught_by=test_network_can_be_trained)
def network_that_edits_x(x, W_1, b_1, W_2, b_2):
    """The answer is right, but the caller's x is changed: a function with a `_` at its end, or `+=`, writes into it."""
    answer = block.feed_forward(x, W_1, b_1, W_2, b_2)
    if not x.requires_grad:
        x.add_(1)
    return answer


@feed_forward.alternative
def network_by_linear(x, W_1, b_1, W_2, b_2, p=0.0):
    return nn.functional.linear(torch.relu(nn.functional.linear(x, W_1.T, b_1)), W_2.T, b_2)


@feed_forward.alternative
def network_by_einsum(x, W_1, b_1, W_2, b_2):
    hidden = torch.einsum("...d,df->...f", x, W_1) + b_1
    return torch.einsum("...f,fd->...d", torch.where(hidden > 0, hidden, 0.0), W_2) + b_2


# ---------------------------------------------------------------------------------------------------------- residual

residual = Exercise("residual", chapter=11, reference=block.residual, minutes=10, difficulty=1)


class _Half:
    """A sublayer or a norm of the check's: a formula with a number in it. It counts how often it is asked."""

    def __init__(self, kind, number):
        self.kind, self.number, self.asked = kind, number, 0

    def __call__(self, x):
        self.asked += 1
        if self.kind == "sublayer":
            return torch.sin(self.number * x) + x.flip(-1)
        return self.number * x / (x**2).mean(-1, keepdim=True).sqrt()

    def __eq__(self, other):
        """The diagnosis compares what two answers were asked: the same formula is the same question."""
        return isinstance(other, _Half) and (self.kind, self.number) == (other.kind, other.number)

    __hash__ = object.__hash__


def _halves(rng):
    return _Half("sublayer", float(rng.uniform(0.5, 2))), _Half("norm", float(rng.uniform(0.5, 2)))


@cache
def _modules(number):
    """A sublayer and a norm that are rebuilt where the student's code runs, so that gradients flow through them."""
    generator = torch.Generator().manual_seed(number)
    linear, norm = nn.Linear(D, D), nn.LayerNorm(D)
    with torch.no_grad():
        for parameter in (*linear.parameters(), *norm.parameters()):
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return linear, norm


def _doubled(x):
    return 2 * x


def _less_the_first(x):
    return x - x[..., :1]


@residual.check(points=1)
def test_residual_of_known_numbers(student, rng):
    """With a sublayer that doubles and a norm that takes off the first number, `[1, 4]` becomes `[0, 9]`, or `[1,
    10]`."""
    x = torch.tensor([1.0, 4.0])
    for order, want in (("post", [0.0, 9.0]), ("pre", [1.0, 10.0])):
        expect.close(
            student.residual(x, _doubled, _less_the_first, order),
            torch.tensor(want),
            f'order="{order}": post norms the sum [3, 12]; pre doubles the normed copy [0, 3], and adds it to [1, 4].',
        )


@residual.check(points=2)
def test_norm_after_the_sum(student, rng):
    """`order="post"`: the norm of x plus what the sublayer makes of x."""
    for shape in ((B, T, D), (T, D)):
        x, (sublayer, norm) = _normal(rng, *shape), _halves(rng)
        want = block.residual(x, sublayer, norm, "post")
        expect.close(student.residual(x, sublayer, norm, "post"), want, "What does the sublayer read, what is normed?")


@residual.check(points=2)
def test_norm_before_the_sublayer(student, rng):
    """`order="pre"`: x itself, plus what the sublayer makes of the normed x."""
    for shape in ((B, T, D), (T, D)):
        x, (sublayer, norm) = _normal(rng, *shape), _halves(rng)
        want = block.residual(x, sublayer, norm, "pre")
        expect.close(student.residual(x, sublayer, norm, "pre"), want, "Is the sum taken over x itself?")


@residual.check(points=1)
def test_each_half_is_asked_once(student, rng):
    """Sublayer and norm are each asked once: asked twice, a sublayer with dropout would give two answers."""
    x = _normal(rng, T, D)
    for order in ("post", "pre"):
        sublayer, norm = _halves(rng)
        want = block.residual(x, sublayer, norm, order)
        sublayer.asked = norm.asked = 0
        expect.close(student.residual(x, sublayer, norm, order), want, f'This is order="{order}".')
        for half in (sublayer, norm):
            expect.true(
                half.asked == 1,
                f"Your function asked the {half.kind} {half.asked} times; once is enough.",
                "Is its answer kept in a variable?",
            )


@residual.check(points=1)
def test_the_road_carries_gradients(student, rng):
    """Gradients flow to x through the sum and through the sublayer; x is the same afterwards."""
    x, g = _normal(rng, T, D), _normal(rng, T, D)
    linear, norm = _modules(int(rng.integers(1000)))
    for order in ("post", "pre"):
        leaf = x.clone().requires_grad_()
        value = block.residual(leaf, linear, norm, order)
        (want,) = torch.autograd.grad((value * g).sum(), [leaf])
        came = student.residual.gradients(x, linear, norm, order, cotangent=g)
        expect.close(came.value, value, "Is it the answer that you give without gradients, too?", 1e-4)
        _gradients(("x",), came.inputs[:1], (want,))
        expect.close(student.residual(x, linear, norm, order), value, f'This is order="{order}".', 1e-4)
    expect.unchanged(student, "Does `x += …` write into the input? `x = x + …` does not.")


@residual.inputs
def _roads(rng):
    for order in ("pre", "post") * 5:
        yield (_normal(rng, 2, SQUARE), *_halves(rng), order), {}


@residual.misconception(caught_by=test_residual_of_known_numbers)
def exchanges_the_orders(x, sublayer, norm, order):
    """The two orders are exchanged. *Post*: `norm(x + sublayer(x))`. *Pre*: `x + sublayer(norm(x))`."""
    return block.residual(x, sublayer, norm, "pre" if order == "post" else "post")


@residual.misconception(caught_by=test_norm_after_the_sum)
def always_pre(x, sublayer, norm, order):
    """The norm stands before the sublayer whatever `order` says. With "post" it comes after the sum: `norm(x +
    sublayer(x))`."""
    return x + sublayer(norm(x))


@residual.misconception(caught_by=test_norm_before_the_sublayer)
def always_post(x, sublayer, norm, order):
    """The norm stands after the sum whatever `order` says. With "pre" it stands before the sublayer: `x +
    sublayer(norm(x))`."""
    return norm(x + sublayer(x))


@residual.misconception(caught_by=test_residual_of_known_numbers)
def drops_the_road(x, sublayer, norm, order):
    """The residual connection is missing: the sublayer's answer *replaces* x. Add it to x."""
    return norm(sublayer(x)) if order == "post" else sublayer(norm(x))


@residual.misconception(caught_by=test_norm_before_the_sublayer)
def drops_the_road_in_pre(x, sublayer, norm, order):
    """With "pre" the residual connection is missing: x has to be added to what the sublayer makes of the normed
    copy."""
    return norm(x + sublayer(x)) if order == "post" else sublayer(norm(x))


@residual.misconception(caught_by=test_norm_after_the_sum)
def drops_the_road_in_post(x, sublayer, norm, order):
    """With "post" the residual connection is missing: it is the *sum* of x and the sublayer's answer that is normed."""
    return norm(sublayer(x)) if order == "post" else x + sublayer(norm(x))


@residual.misconception(caught_by=test_norm_before_the_sublayer)
def norms_the_road(x, sublayer, norm, order):
    """With "pre" the sublayer's answer was added to the *normed* copy. The road has to stay as it is: `x +
    sublayer(norm(x))`."""
    if order == "post":
        return norm(x + sublayer(x))
    y = norm(x)
    return y + sublayer(y)


@residual.misconception(caught_by=test_norm_after_the_sum)
def norms_the_answer_only(x, sublayer, norm, order):
    """With "post" only the sublayer's answer was normed, `x + norm(sublayer(x))`. The norm is put on the sum."""
    return x + norm(sublayer(x)) if order == "post" else x + sublayer(norm(x))


@residual.misconception(caught_by=test_residual_of_known_numbers)
def norms_every_answer(x, sublayer, norm, order):
    """Whatever `order` says, the norm is put on the sublayer's *answer*: `x + norm(sublayer(x))`. With "post" it is put
    on the sum, with "pre" on what the sublayer reads."""
    return x + norm(sublayer(x))


@residual.misconception(caught_by=test_norm_before_the_sublayer)
def norms_question_and_answer(x, sublayer, norm, order):
    """With "pre" the norm is used twice, on what the sublayer reads and on what it says. There are models built like
    that; here its answer is added as it is: `x + sublayer(norm(x))`."""
    return norm(x + sublayer(x)) if order == "post" else x + norm(sublayer(norm(x)))


@residual.misconception(caught_by=test_norm_after_the_sum)
def norms_x_only(x, sublayer, norm, order):
    """With "post" x was normed and the sublayer's answer was not: `norm(x) + sublayer(x)`. The norm is put on the
    sum."""
    return norm(x) + sublayer(x) if order == "post" else x + sublayer(norm(x))


@residual.misconception(caught_by=test_residual_of_known_numbers)
def forgets_the_norm(x, sublayer, norm, order):
    """The norm is never used: `x + sublayer(x)`."""
    return x + sublayer(x)


@residual.misconception(caught_by=test_norm_before_the_sublayer)
def forgets_the_norm_in_pre(x, sublayer, norm, order):
    """With "pre" the norm is never used. The sublayer reads a normed copy: `x + sublayer(norm(x))`."""
    return norm(x + sublayer(x)) if order == "post" else x + sublayer(x)


@residual.misconception(caught_by=test_norm_after_the_sum)
def forgets_the_norm_in_post(x, sublayer, norm, order):
    """With "post" the norm is never used. It is put on the sum: `norm(x + sublayer(x))`."""
    return x + sublayer(x) if order == "post" else x + sublayer(norm(x))


@residual.misconception(caught_by=test_residual_of_known_numbers)
def norms_twice(x, sublayer, norm, order):
    """There are two norms, one before the sublayer and one after the sum. One is enough; `order` says which."""
    return norm(x + sublayer(norm(x)))


@residual.misconception(caught_by=test_residual_of_known_numbers)
def halves_the_sum(x, sublayer, norm, order):
    """The sum was halved, as if a mean were meant. It is a plain sum."""
    return norm((x + sublayer(x)) / 2) if order == "post" else (x + sublayer(norm(x))) / 2


@residual.misconception(caught_by=test_residual_of_known_numbers)
def multiplies_in_place_of_adding(x, sublayer, norm, order):
    """The sublayer's answer was multiplied with x. They are added: a road that is multiplied by something near 0 is
    closed."""
    return norm(x * sublayer(x)) if order == "post" else x * sublayer(norm(x))


@residual.misconception(caught_by=test_residual_of_known_numbers)
def takes_the_answer_off(x, sublayer, norm, order):
    """The sublayer's answer was subtracted. A sublayer could learn to live with that; the formula adds."""
    return norm(x - sublayer(x)) if order == "post" else x - sublayer(norm(x))


@residual.misconception(caught_by=test_each_half_is_asked_once)
def asks_the_sublayer_twice(x, sublayer, norm, order):
    """The numbers are right, but the sublayer was asked twice. It may be large, and with dropout its two answers
    differ. Keep the first."""
    if order == "post":
        sublayer(x)
        return norm(x + sublayer(x))
    sublayer(norm(x))
    return x + sublayer(norm(x))


@residual.misconception(caught_by=test_the_road_carries_gradients)
def closes_the_road_to_gradients(x, sublayer, norm, order):
    """The numbers are right, but x was detached in the sum: gradients flow through the sublayer only, and the road
    is closed to them."""
    return norm(x.detach() + sublayer(x)) if order == "post" else x.detach() + sublayer(norm(x))


@residual.misconception(caught_by=test_the_road_carries_gradients)
def closes_the_side_street_to_gradients(x, sublayer, norm, order):
    """The numbers are right, but the sublayer reads a detached x: gradients come down the road alone, and what stands
    below never hears what this sublayer would have wanted to read."""
    y = x.detach()
    return norm(x + sublayer(y)) if order == "post" else x + sublayer(norm(y))


@residual.misconception(caught_by=test_the_road_carries_gradients)
def residual_that_edits_x(x, sublayer, norm, order):
    """The caller's x is changed: `x += sublayer(x)` writes into it, and where gradients are wanted PyTorch refuses.
    Write `x = x + sublayer(x)`."""
    if order == "post":
        x += sublayer(x)
        return norm(x)
    x += sublayer(norm(x))
    return x


@residual.alternative
def residual_in_steps(x, sublayer, norm, order, dropout=None):
    read = norm(x) if order == "pre" else x
    total = torch.add(x, sublayer(read))
    return norm(total) if order == "post" else total


@residual.alternative
def residual_by_table(x, sublayer, norm, order):
    return {"post": lambda: norm(sublayer(x) + x), "pre": lambda: sublayer(norm(x)) + x}[order]()
