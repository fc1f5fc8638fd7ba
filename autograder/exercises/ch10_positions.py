"""Chapter 10, positions: four ways to tell attention the order of what it looks at."""

import builtins
import contextlib
import math

import numpy as np
import torch

from attnlab import positions as reference
from attnlab.dot_product import attention_weights, dot_scores, scaled_dot_product_attention
from attnlab.masks import causal_mask, masked_softmax
from autograder import expect
from autograder.exercise import Exercise
from autograder.student import StudentError

BASE = 10000.0
ROUNDING = 5e-5  # angles made in float32, at places up to a hundred


def _tensor(rng, *shape, dtype=torch.float32):
    return torch.tensor(rng.normal(size=shape), dtype=dtype)


def _view(rng, *shape):
    """A tensor with gaps between its entries, and with its axes in another order in memory."""
    wide = torch.tensor(rng.normal(size=(2 * shape[-1], *shape[:-1])), dtype=torch.float32)
    return wide.movedim(0, -1)[..., ::2]


def _heads(rng, heads, T, d_k):
    """Heads as they are cut out of a wider row: a view, whose columns are neighbours and whose rows lie apart."""
    return _tensor(rng, T, heads * d_k).unflatten(-1, (heads, d_k)).transpose(0, 1)


# --------------------------------------------------------------------------------------------- sinusoidal_positions

sinusoidal_positions = Exercise(
    "sinusoidal_positions",
    chapter=10,
    reference=reference.sinusoidal_positions,
    minutes=15,
    difficulty=2,
    forbidden=("attnlab.positions.SinusoidalPositions",),
)


def _table(T, d_model, places=None, speeds=None, angles=lambda angles: angles):
    """The table of the formula in float64; a wrong answer replaces the places (T,), the speeds (d_model / 2,), or what
    becomes of the angles."""
    even = torch.arange(0, d_model, 2, dtype=torch.float64)
    places = torch.arange(T, dtype=torch.float64) if places is None else places
    theta = angles(places[:, None] * (BASE ** (-even / d_model) if speeds is None else speeds))
    return torch.stack((theta.sin(), theta.cos()), dim=-1).flatten(-2)


def _sizes(rng):
    """A length, a prime, and a width, twice a prime."""
    return int(rng.choice([5, 7, 11, 13])), 2 * int(rng.choice([3, 7, 11, 13]))


@sinusoidal_positions.check(points=2)
def test_sinusoids_of_known_numbers(student, rng):
    """For `d_model = 4`, row t is `sin t, cos t, sin(t/100), cos(t/100)`."""
    T = int(rng.choice([3, 5, 7]))
    want = np.array([[math.sin(t), math.cos(t), math.sin(t / 100), math.cos(t / 100)] for t in range(T)])
    expect.close(
        student.sinusoidal_positions(T, 4),
        want,
        "Row 1 is sin 1, cos 1, sin 0.01, cos 0.01: which of the four columns differs, and what is its angle?",
        ROUNDING,
    )


@sinusoidal_positions.check(points=2)
def test_each_pair_of_columns_has_one_speed(student, rng):
    """Columns 2i and 2i+1 are the sine and the cosine of one angle, `t / 10000^(2i/d_model)`."""
    for T, d_model in (_sizes(rng), (3, 34), (11, 10)):
        expect.close(
            student.sinusoidal_positions(T, d_model),
            _table(T, d_model),
            "Do sine and cosine of a pair share their angle, and is the exponent 2i/d_model, with i the number of the "
            "pair?",
            ROUNDING,
        )


@sinusoidal_positions.check(points=1)
def test_a_row_knows_its_place_and_nothing_else(student, rng):
    """The row of a place is the same in a short table and in a long one."""
    T, d_model = _sizes(rng)
    want = _table(T, d_model)
    short, long = (student.sinusoidal_positions(n, d_model) for n in (T, T + 17))
    cause = "Does the number of rows enter the angle? Only the place t and the pair i may."
    expect.close(short, want, cause, ROUNDING)
    expect.close(expect.is_array(long, (T + 17, d_model))[:T], want, cause, ROUNDING)


@sinusoidal_positions.check(points=1)
def test_products_of_rows_tell_the_distance(student, rng):
    """The dot product of two rows depends on their distance alone: it is the sum of `cos(distance · speed)`."""
    T, d_model = 23, _sizes(rng)[1]
    distance = int(rng.integers(2, 9))
    speeds = BASE ** (-np.arange(0, d_model, 2) / d_model)
    P = expect.is_array(student.sinusoidal_positions(T, d_model), (T, d_model))
    expect.close(
        (P[distance:] * P[:-distance]).sum(-1).astype(np.float64),
        np.full(T - distance, np.cos(distance * speeds).sum()),
        "sin a sin b + cos a cos b = cos(a − b): is there a cosine for every sine, with the same angle?",
        1e-3,
    )


@sinusoidal_positions.check(points=1)
def test_sinusoids_of_one_place_and_of_thousands(student, rng):
    """A table of one row and a table of thousands are right, to the last row."""
    expect.close(student.sinusoidal_positions(1, 6), _table(1, 6), "Place 0 has the angle 0: 0, 1, 0, 1, …", ROUNDING)
    T = int(rng.integers(5100, 5400))
    expect.close(  # one pair, with the speed 1: its angles are whole numbers, which no way of computing them rounds
        student.sinusoidal_positions(T, 2),
        _table(T, 2),
        "Does the table have T rows, and are places and angles kept in float32 or better all the way?",
        ROUNDING,
    )


@sinusoidal_positions.inputs
def _lengths_and_widths(rng):
    for _ in range(8):
        yield _sizes(rng), {}


def _half(d_model):
    return torch.arange(d_model // 2, dtype=torch.float64)


@sinusoidal_positions.misconception(caught_by=test_sinusoids_of_known_numbers)
def puts_sines_in_one_half(T, d_model):
    """The sines fill the left half and the cosines the right one. The numbers are right, and some libraries keep them
    so; the formula deals them out in turn: `P[:, 0::2]` sines, `P[:, 1::2]` cosines."""
    P = _table(T, d_model)
    return torch.cat((P[:, 0::2], P[:, 1::2]), dim=1)


@sinusoidal_positions.misconception(caught_by=test_sinusoids_of_known_numbers)
def puts_cosines_first(T, d_model):
    """Cosines are in the even columns and sines in the odd ones. The formula has them the other way round: sine first,
    so that place 0 is 0, 1, 0, 1 and so on."""
    return _table(T, d_model).unflatten(-1, (-1, 2)).flip(-1).flatten(-2)


@sinusoidal_positions.misconception(caught_by=test_sinusoids_of_known_numbers)
def gives_each_column_a_speed(T, d_model):
    """Every column has a speed of its own: the cosine in column j has the exponent j/d_model, where its sine has
    (j − 1)/d_model. Then the two are no longer the shadows of one clock hand. Both columns of pair i take 2i/d_model:
    `j // 2 * 2`."""
    columns = torch.arange(d_model, dtype=torch.float64)
    angles = torch.arange(T)[:, None] / BASE ** (columns / d_model)
    return torch.where(columns % 2 == 0, angles.sin(), angles.cos())


@sinusoidal_positions.misconception(caught_by=test_sinusoids_of_known_numbers)
def takes_the_cosine_of_the_next_angle(T, d_model):
    """The cosine has the angle of the *next* pair, `2(i + 1)/d_model`, as if one had counted on between the two
    columns. Sine and cosine of a pair share one angle."""
    even = torch.arange(0, d_model, 2)
    right, late = (_table(T, d_model, speeds=BASE ** -((even + shift) / d_model)) for shift in (0.0, 2.0))
    return torch.stack((right[:, 0::2], late[:, 1::2]), dim=-1).flatten(-2)


@sinusoidal_positions.misconception(caught_by=test_sinusoids_of_known_numbers)
def doubles_an_even_index(T, d_model):
    """The exponent is twice what it should be: the index ran over the even columns, 0, 2, 4, …, and was multiplied by 2
    once more; or d_model was halved. The formula's 2i *is* the even column. The last pair divides by nearly 10000, not
    by its square."""
    return _table(T, d_model, speeds=BASE ** (-4 * _half(d_model) / d_model))


@sinusoidal_positions.misconception(caught_by=test_sinusoids_of_known_numbers)
def doubles_and_runs_ahead(T, d_model):
    """The loop runs over the even columns, i = 0, 2, 4, …, and the formula's 2i and 2(i + 1) were copied on top of it.
    So the index is doubled twice, and the cosine has another angle than its sine. With i the even column, both take
    `t / 10000 ** (i / d_model)`."""
    even = torch.arange(0, d_model, 2, dtype=torch.float64)
    right, late = (_table(T, d_model, speeds=BASE ** (-2 * (even + shift) / d_model)) for shift in (0, 1))
    return torch.stack((right[:, 0::2], late[:, 1::2]), dim=-1).flatten(-2)


@sinusoidal_positions.misconception(caught_by=test_sinusoids_of_known_numbers)
def forgets_the_two_in_the_exponent(T, d_model):
    """The exponent is i/d_model, half of what it should be. The slowest clock then turns a hundred times too fast. With
    i the number of the pair, the exponent is 2i/d_model."""
    return _table(T, d_model, speeds=BASE ** (-_half(d_model) / d_model))


@sinusoidal_positions.misconception(caught_by=test_sinusoids_of_known_numbers)
def stretches_the_exponent_to_one(T, d_model):
    """The exponents run from 0 to exactly 1, as `linspace` makes them. In the formula the last pair has
    (d_model − 2)/d_model, a little less than 1: divide by d_model, not by the number of steps between the pairs."""
    return _table(T, d_model, speeds=BASE ** -torch.linspace(0, 1, d_model // 2, dtype=torch.float64))


@sinusoidal_positions.misconception(caught_by=test_sinusoids_of_known_numbers)
def multiplies_by_the_power(T, d_model):
    """The place was *multiplied* by 10000^(2i/d_model), which makes clocks that turn thousands of times a step. Divide,
    or give the exponent a minus sign."""
    angles = torch.arange(T)[:, None] * BASE ** (torch.arange(0, d_model, 2) / d_model)
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(-2)


@sinusoidal_positions.misconception(caught_by=test_sinusoids_of_known_numbers)
def divides_without_remainder(T, d_model):
    """The place was divided with `//`, which throws the remainder away, so a slow clock stands still for many places
    and then jumps. An angle is no whole number: divide with `/`."""
    return _table(T, d_model, speeds=None, angles=lambda angles: angles.floor())


@sinusoidal_positions.misconception(caught_by=test_sinusoids_of_known_numbers)
def stacks_in_front(T, d_model):
    """Two tables were stacked in front, `stack((sines, cosines))`, and the shape was forced with `reshape`: now the
    first rows are all sines, of several places in a row. Sine and cosine have to meet on the *last* axis:
    `stack((sines, cosines), dim=-1).flatten(-2)`."""
    P = _table(T, d_model)
    return torch.stack((P[:, 0::2], P[:, 1::2])).reshape(T, d_model)


@sinusoidal_positions.misconception(caught_by=test_sinusoids_of_known_numbers)
def counts_from_one(T, d_model):
    """The places are counted from 1. Here, as everywhere in Python, the first has the number 0, and the row 0, 1, 0, 1
    and so on."""
    return _table(T, d_model, places=torch.arange(1, T + 1, dtype=torch.float64))


@sinusoidal_positions.misconception(caught_by=test_sinusoids_of_known_numbers)
def turns_whole_circles(T, d_model):
    """There is a factor 2π in the angle. The formula has none: the fastest clock turns by 1 radian a step, so that
    whole numbers of steps never make whole turns."""
    return _table(T, d_model, places=2 * math.pi * torch.arange(T, dtype=torch.float64))


@sinusoidal_positions.misconception(caught_by=test_sinusoids_of_known_numbers)
def counts_in_degrees(T, d_model):
    """The angles were taken for degrees. `torch.sin` reads radians, and so does the formula."""
    return _table(T, d_model, places=torch.arange(T, dtype=torch.float64) * math.pi / 180)


@sinusoidal_positions.misconception(caught_by=test_sinusoids_of_known_numbers)
def uses_sines_only(T, d_model):
    """Every column is a sine. A sine alone cannot tell whether the hand goes up or down; with the cosine of the same
    angle beside it, it can."""
    return _table(T, d_model)[:, 0::2].repeat_interleave(2, dim=1)


@sinusoidal_positions.misconception(caught_by=test_sinusoids_of_known_numbers)
def has_one_speed(T, d_model):
    """All pairs turn at the same speed. Then d_model columns say what two could say, and every 6.28 steps the place
    looks the same again. Pair i turns by 1 / 10000^(2i/d_model) a step."""
    return _table(T, d_model, speeds=torch.ones(d_model // 2, dtype=torch.float64))


@sinusoidal_positions.misconception(caught_by=test_sinusoids_of_known_numbers)
def starts_with_the_slowest(T, d_model):
    """The slow clocks come first. In the formula pair 0 is the fastest, with 1 radian a step, and the last one the
    slowest."""
    return _table(T, d_model, speeds=(BASE ** (-2 * _half(d_model) / d_model)).flip(0))


@sinusoidal_positions.misconception(caught_by=test_sinusoids_of_known_numbers)
def takes_another_base(T, d_model):
    """The base is 1000 where 10000 is meant."""
    return _table(T, d_model, speeds=1000.0 ** (-2 * _half(d_model) / d_model))


@sinusoidal_positions.misconception(caught_by=test_sinusoids_of_known_numbers)
def takes_a_decimal_logarithm(T, d_model):
    """The powers were made as exp(−(2i/d_model) · log 10000), which is a good way, but with the *decimal* logarithm, 4.
    It has to be the natural one, 9.21: `math.log(10000)`."""
    return _table(T, d_model, speeds=torch.exp(-4 * 2 * _half(d_model) / d_model))


@sinusoidal_positions.misconception(caught_by=test_sinusoids_of_known_numbers)
def returns_the_angles(T, d_model):
    """These are the angles. Their sines and cosines are wanted: numbers between −1 and 1, however long the sequence."""
    angles = torch.arange(T)[:, None] * BASE ** (-2 * _half(d_model) / d_model)
    return angles.repeat_interleave(2, dim=1)


@sinusoidal_positions.misconception(caught_by=test_sinusoids_of_known_numbers)
def gives_places_as_columns(T, d_model):
    """This table is turned over: a column for each place. It is added to a sequence of shape (T, d_model), so a
    place is a row."""
    return _table(T, d_model).T


@sinusoidal_positions.misconception(caught_by=test_sinusoids_of_known_numbers)
def adds_a_batch_axis(T, d_model):
    """There is an axis of length 1 in front. Broadcasting makes one where it is needed; the table is (T, d_model)."""
    return _table(T, d_model)[None]


@sinusoidal_positions.misconception(caught_by=test_sinusoids_of_known_numbers)
def makes_half_as_many_columns(T, d_model):
    """There is one column for each pair: sine and cosine were added, or one of them was left out. Each pair has two."""
    return _table(T, d_model)[:, 0::2]


@sinusoidal_positions.misconception(caught_by=test_sinusoids_of_known_numbers)
def adds_sine_and_cosine_up_to_half(T, d_model):
    """Only half of the columns are filled and the rest are zero: the loop over pairs wrote columns i and i + 1, or
    stopped too soon. Pair i owns the columns 2i and 2i + 1, for i up to d_model/2 − 1."""
    P = _table(T, d_model)
    P[:, d_model // 2 :] = 0
    return P


@sinusoidal_positions.misconception(caught_by=test_a_row_knows_its_place_and_nothing_else)
def divides_by_the_length(T, d_model):
    """The places were divided by T, so that they run from 0 to 1. Then place 5 of a short text looks like place 10 of
    one twice as long, and *the word before* is at another distance in each."""
    return _table(T, d_model, places=torch.arange(T, dtype=torch.float64) / T)


@sinusoidal_positions.misconception(caught_by=test_a_row_knows_its_place_and_nothing_else)
def counts_from_the_end(T, d_model):
    """The places are counted from the end, so that the row of a place depends on how long the sequence is. Count from
    the beginning."""
    return _table(T, d_model, places=torch.arange(T - 1, -1, -1, dtype=torch.float64))


@sinusoidal_positions.misconception(caught_by=test_a_row_knows_its_place_and_nothing_else)
def scales_the_table(T, d_model):
    """The table was divided by √d_model or another number. The formula has plain sines and cosines; whoever wants them
    smaller beside the words makes the *words* larger."""
    return _table(T, d_model) / d_model**0.5


@sinusoidal_positions.misconception(caught_by=test_sinusoids_of_one_place_and_of_thousands)
def rounds_the_places(T, d_model):
    """Somewhere the places pass through half precision (`.half()`, `float16`). It has 11 bits: from 2048 on, neighbours
    share one number and so one place."""
    return _table(T, d_model, places=torch.arange(T).half().double())


@sinusoidal_positions.misconception(caught_by=test_sinusoids_of_one_place_and_of_thousands)
def ends_at_five_thousand(T, d_model):
    """The table was made for 5,000 places, whatever T says, and cut. For a longer text it is too short, and nobody is
    told. The formula knows no end: make T rows."""
    return _table(5000, d_model)[:T]


@sinusoidal_positions.alternative
def sinusoids_one_by_one(T, d_model, base=10000.0):
    P = torch.zeros(T, d_model)
    for t in range(T):
        for j in range(d_model):
            angle = t / base ** (j // 2 * 2 / d_model)
            P[t, j] = math.cos(angle) if j % 2 else math.sin(angle)
    return P


@sinusoidal_positions.alternative
def sinusoids_by_exponentials(T, d_model):
    speeds = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10000.0) / d_model))
    angles = torch.arange(T).unsqueeze(1) * speeds
    P = torch.zeros(T, d_model)
    P[:, 0::2], P[:, 1::2] = torch.sin(angles), torch.cos(angles)
    return P


@sinusoidal_positions.alternative
def sinusoids_in_numpy(T, d_model):
    angles = np.outer(np.arange(T), 10000.0 ** (-np.arange(0, d_model, 2) / d_model))
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(T, d_model)


@sinusoidal_positions.alternative
def sinusoids_of_late_cosines(T, d_model):
    """A cosine is a sine that is a quarter of a turn ahead."""
    angles = torch.arange(T)[:, None] / BASE ** (torch.arange(d_model) // 2 * 2 / d_model)
    return torch.sin(angles.double() + math.pi / 2 * (torch.arange(d_model) % 2))


# ------------------------------------------------------------------------------------------------- learned_positions

learned_positions = Exercise(
    "learned_positions",
    chapter=10,
    reference=reference.learned_positions,
    minutes=10,
    difficulty=1,
    forbidden=("attnlab.positions.LearnedPositions",),
)


@learned_positions.check(points=1)
def test_rows_are_added_in_order(student, rng):
    """The rows `[1, 2]`, `[3, 4]` with the table `[10, 20]`, `[30, 40]`, `[50, 60]` become `[11, 22]`, `[33, 44]`."""
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    table = torch.tensor([[10.0, 20.0], [30.0, 40.0], [50.0, 60.0]])
    cause = "Is row t of the table added to row t of x, for as many rows as x has?"
    expect.close(student.learned_positions(x, table), np.array([[11, 22], [33, 44]], dtype=np.float32), cause)
    x, table = _tensor(rng, 5, 7), _tensor(rng, 11, 7)
    want = x + table[:5]
    expect.close(student.learned_positions(x, table), want, cause)


@learned_positions.check(points=1)
def test_every_sequence_gets_the_same_rows(student, rng):
    """All sequences of a batch get the same rows: the place decides, not the sequence."""
    for front in ((3,), (5,), (2, 3)):
        x, table = _tensor(rng, *front, 5, 7), _tensor(rng, 11, 7)
        want = x + table[:5]
        expect.close(
            student.learned_positions(x, table),
            want,
            "Is it the axis of the places, the last but one, that chooses the row of the table?",
        )


@learned_positions.check(points=2)
def test_start_says_where_x_begins(student, rng):
    """With `start`, the first row of x stands at that place: it gets row `start` of the table."""
    for T, start in ((3, int(rng.integers(1, 8))), (1, 5), (3, 8), (11, 0)):
        x, table = _tensor(rng, 2, T, 7), _tensor(rng, 11, 7)
        want = x + table[start : start + T]
        expect.close(
            student.learned_positions(x, table, start=start),
            want,
            f"With T = {T} and start = {start}: are the rows start to start + T − 1 used, the last one included?",
        )


def _refused(student, x, table, start):
    """The type of the error that the student's function raises, its own or PyTorch's; what it returns otherwise."""
    try:
        return "", student.learned_positions(x, table, start=start)
    except StudentError as error:
        if error.kind != "raised":
            raise
        return error.raised, None


@learned_positions.check(points=2)
def test_places_without_a_row_are_refused(student, rng):
    """Where the table ends before x does, it raises a ValueError; it never makes a row up."""
    table = _tensor(rng, 5, 7)
    inside = _tensor(rng, 3, 7)
    want = inside + table[2:]
    expect.close(
        student.learned_positions(inside, table, start=2), want, "These three rows, 2 to 4, the table does have."
    )
    asked = ((7, 0), (1, 5), (3, 4), (1, 9), (3, 3))
    answers = [_refused(student, _tensor(rng, 2, T, 7), table, start) for T, start in asked]
    for (T, start), (raised, came) in zip(asked, answers, strict=True):
        given = (
            f"With a table of 5 rows, T = {T} and start = {start}, the places {start} to {start + T - 1} were asked for"
        )
        expect.true(
            raised,
            f"{given}; your function returned {expect.named(came)}, where a ValueError was expected.",
            "What does a slice do that reaches beyond the end of a table, and what does broadcasting make of the rest?",
        )
    for (T, start), (raised, _) in zip(asked, answers, strict=True):
        expect.true(
            issubclass(getattr(builtins, raised, ValueError), ValueError),  # one of the student's own may be one
            f"With a table of 5 rows, T = {T} and start = {start}, your function raised {raised}; a ValueError was "
            "expected.",
            "Do you compare `start + T` with the number of rows, and raise it yourself, with a sentence that says why?",
        )


@learned_positions.check(points=2)
def test_rows_in_use_learn(student, rng):
    """The gradient of a row of the table is the sum over all sequences that used it; unused rows get none."""
    B, T, start = 3, 5, 2
    x, table, g = _tensor(rng, B, T, 7), _tensor(rng, 11, 7), _tensor(rng, B, T, 7)
    value, rows = x + table[start : start + T], torch.zeros(11, 7)
    rows[start : start + T] = g.sum(0)
    came = student.learned_positions.gradients(x, table, start, cotangent=g)
    expect.close(came.value, value)
    for name, gradient, right in (("x", came.inputs[0], g), ("table", came.inputs[1], rows)):
        expect.true(
            gradient is not None,
            f"No gradient reaches `{name}`: it would never learn.",
            "Was it detached, or copied by `torch.tensor` or through NumPy?",
        )
        expect.close(gradient, right, f"This is the gradient of `{name}`. Is the way there all PyTorch?", 1e-4)


@learned_positions.check(points=1)
def test_learned_positions_leave_their_inputs_alone(student, rng):
    """It is right for views and float64, and x and the table are the same afterwards."""
    x, table = _view(rng, 2, 3, 7), _view(rng, 11, 7)
    want = x + table[4:7]
    expect.close(student.learned_positions(x, table, 4), want)
    x, table = _tensor(rng, 3, 7, dtype=torch.float64), 1e6 * _tensor(rng, 5, 7, dtype=torch.float64)
    want = x + table[:3]
    expect.close(student.learned_positions(x, table), want)
    expect.unchanged(student, "`x += …` writes into x; `x = x + …` does not. Which of the two do you have?")


@learned_positions.inputs
def _sequences_and_tables(rng):
    for i in range(10):
        T, T_max = (3, 3) if i % 3 == 0 else (3, 11)
        start = 0 if T_max == T else int(rng.integers(0, 9))
        yield (_tensor(rng, 3, T, 3), _tensor(rng, T_max, 3), start), {}


def _rows(x, table, start):
    return reference.learned_positions(x, table, start) - x


@learned_positions.misconception(caught_by=test_places_without_a_row_are_refused)
def slices_without_looking(x, table, start=0):
    """This is right as long as the table is long enough. Beyond its end a slice does not complain: it is just shorter.
    If one row is left, broadcasting gives it to *every* place; if none is left and x has one row, the answer is empty.
    Compare `start + T` with the number of rows first, and raise a ValueError."""
    return x + table[start : start + x.shape[-2]]


@learned_positions.misconception(caught_by=test_places_without_a_row_are_refused)
def gives_the_last_row_to_the_rest(x, table, start=0):
    """Places beyond the table get its last row, as `clamp` makes it. So they cannot be told apart, and nobody is
    warned. Raise a ValueError."""
    places = torch.arange(start, start + x.shape[-2]).clamp(max=len(table) - 1)
    return x + table[places]


@learned_positions.misconception(caught_by=test_places_without_a_row_are_refused)
def begins_the_table_again(x, table, start=0):
    """Places beyond the table begin it again, as the remainder `%` makes it. Then the first place and one far off have
    the same row. Raise a ValueError."""
    return x + table[torch.arange(start, start + x.shape[-2]) % len(table)]


@learned_positions.misconception(caught_by=test_places_without_a_row_are_refused)
def adds_nothing_beyond_the_table(x, table, start=0):
    """Places beyond the table get zeros, that is, no position at all. A model that was trained with positions has never
    seen that. Raise a ValueError."""
    rows = torch.cat((table, table.new_zeros(start + x.shape[-2], table.shape[1])))
    return x + rows[start : start + x.shape[-2]]


@learned_positions.misconception(caught_by=test_places_without_a_row_are_refused)
def cuts_the_sequence_off(x, table, start=0):
    """What lies beyond the table was cut off, so the answer is shorter than x, and nobody is told. Raise a
    ValueError."""
    rows = table[start : start + x.shape[-2]]
    return x[..., : len(rows), :] + rows


@learned_positions.misconception(caught_by=test_places_without_a_row_are_refused)
def refuses_what_just_fits(x, table, start=0):
    """The last row is refused though it is there: `>=` where `>` is meant. The places are start to start + T − 1, so
    `start + T` may be as large as the number of rows."""
    if start + x.shape[-2] >= len(table):
        raise ValueError
    return x + table[start : start + x.shape[-2]]


@learned_positions.misconception(caught_by=test_places_without_a_row_are_refused)
def looks_at_the_length_only(x, table, start=0):
    """The length of x is compared with the table, but not where x *begins*. Row `start + T − 1` must be there, not just
    row T − 1."""
    if x.shape[-2] > len(table):
        raise ValueError
    return x + table[start : start + x.shape[-2]]


@learned_positions.misconception(caught_by=test_places_without_a_row_are_refused)
def looks_at_the_start_only(x, table, start=0):
    """It was asked whether row `start` is there, but x goes on for T rows. The last of them, `start + T - 1`, must be
    there, too."""
    if start >= len(table):
        raise ValueError
    return x + table[start : start + x.shape[-2]]


@learned_positions.misconception(caught_by=test_places_without_a_row_are_refused)
def says_it_without_raising(x, table, start=0):
    """Where the table is too short, nothing came back, and no error was raised: a message that is printed stops nobody,
    and the caller goes on with `None`. Write `raise ValueError("…")`."""
    if start + x.shape[-2] > len(table):
        return None
    return x + table[start : start + x.shape[-2]]


@learned_positions.misconception(caught_by=test_start_says_where_x_begins)
def forgets_the_start(x, table, start=0):
    """The rows are taken from 0 on, whatever `start` says. A model that writes word by word passes one word at a time:
    each of them would be told that it is the first."""
    return reference.learned_positions(x, table)


@learned_positions.misconception(caught_by=test_start_says_where_x_begins)
def ends_at_the_length(x, table, start=0):
    """The slice is `table[start:T]`, and ends at row T, wherever it begins. It has to hold T rows:
    `start : start + T`."""
    if start + x.shape[-2] > len(table):
        raise ValueError
    return x + table[start : x.shape[-2]]


@learned_positions.misconception(caught_by=test_rows_are_added_in_order)
def begins_one_row_late(x, table, start=0):
    """The rows are taken one too late: the first place has row 0."""
    return reference.learned_positions(x, table, start + 1)


@learned_positions.misconception(caught_by=test_rows_are_added_in_order)
def takes_the_last_rows(x, table, start=0):
    """The last T rows of the table were taken. Place 0 has row 0, however long the table is."""
    return reference.learned_positions(x, table, len(table) - x.shape[-2] - start)


@learned_positions.misconception(caught_by=test_rows_are_added_in_order)
def adds_the_whole_table(x, table, start=0):
    """The whole table was added, which has more rows than x. Take the rows `start : start + T` of it."""
    if start + x.shape[-2] > len(table):
        raise ValueError
    return x + table


@learned_positions.misconception(caught_by=test_rows_are_added_in_order)
def gives_one_row_to_all(x, table, start=0):
    """Every place gets the same row, so the places cannot be told apart. Take T rows, `table[start : start + T]`, not
    one."""
    if start + x.shape[-2] > len(table):
        raise ValueError
    return x + table[start]


@learned_positions.misconception(caught_by=test_rows_are_added_in_order)
def multiplies_by_the_rows(x, table, start=0):
    """The rows were multiplied with x. They are added: a word *and* its place."""
    return x * _rows(x, table, start)


@learned_positions.misconception(caught_by=test_rows_are_added_in_order)
def subtracts_the_rows(x, table, start=0):
    """The rows were subtracted. They are added."""
    return x - _rows(x, table, start)


@learned_positions.misconception(caught_by=test_rows_are_added_in_order)
def returns_the_rows_alone(x, table, start=0):
    """These are the rows of the table without x. Then the model knows where it is, but not what stands there."""
    return _rows(x, table, start)


@learned_positions.misconception(caught_by=test_rows_are_added_in_order)
def sets_word_and_place_side_by_side(x, table, start=0):
    """Word and place were set side by side, twice as wide. Models of this kind *add* them, so the width stays."""
    return torch.cat((x, _rows(x, table, start)), dim=-1)


@learned_positions.misconception(caught_by=test_rows_are_added_in_order)
def averages_word_and_place(x, table, start=0):
    """This is the mean of word and place, half of their sum."""
    return x + _rows(x, table, start) / 2 - x / 2


@learned_positions.misconception(caught_by=test_rows_are_added_in_order)
def enlarges_the_words(x, table, start=0):
    """The words were multiplied by √d_model. Many models do that, to word embeddings, and chapter 14 will; this
    function adds the rows and leaves x as it is."""
    return x * x.shape[-1] ** 0.5 + _rows(x, table, start)


@learned_positions.misconception(caught_by=test_rows_are_added_in_order)
def adds_sinusoids_instead(x, table, start=0):
    """These are the sinusoids of the exercise before. Here the rows come from the table, whatever stands in it."""
    waves = reference.sinusoidal_positions(start + x.shape[-2], x.shape[-1])[start:]
    return x + waves.to(x) + 0 * _rows(x, table, start)


@learned_positions.misconception(caught_by=test_every_sequence_gets_the_same_rows)
def numbers_the_sequences(x, table, start=0):
    """The rows were chosen by the *sequence*, the first axis, and not by the place in it. Place is the last axis but
    one, `x.shape[-2]`."""
    n = x.shape[0]
    if start + n > len(table):
        raise ValueError
    rows = table[start : start + n]
    return x + rows.reshape(n, *(1,) * (x.ndim - 2), rows.shape[-1])


@learned_positions.misconception(caught_by=test_every_sequence_gets_the_same_rows)
def measures_the_first_axis(x, table, start=0):
    """T was read from the first axis, `len(x)` or `x.shape[0]`. In a batch that is the number of sequences. The places
    are the last axis but one, `x.shape[-2]`."""
    if start + len(x) > len(table):
        raise ValueError
    return x + table[start : start + len(x)]


@learned_positions.misconception(caught_by=test_every_sequence_gets_the_same_rows)
def expects_one_axis_in_front(x, table, start=0):
    """T was read from axis 1. That is the place only where exactly one axis stands in front: count from the end,
    `x.shape[-2]`."""
    T = x.shape[1]
    if start + T > len(table):
        raise ValueError
    return x + table[start : start + T]


@learned_positions.misconception(caught_by=test_rows_in_use_learn)
def cuts_the_table_from_its_gradient(x, table, start=0):
    """The numbers are right, but the table gets no gradient: it was detached, or copied with `torch.tensor` or
    `.data`. These positions are called learned: the gradient has to reach them."""
    return reference.learned_positions(x, table.detach(), start)


@learned_positions.misconception(caught_by=test_learned_positions_leave_their_inputs_alone)
def writes_into_x(x, table, start=0):
    """The answer is right, but x is changed afterwards: `x += …` writes into the caller's tensor. `return x + …`
    makes a new one."""
    rows = _rows(x, table, start)
    with contextlib.suppress(RuntimeError):  # a leaf that wants a gradient refuses, as it should
        x += rows
        return x
    raise RuntimeError


@learned_positions.misconception(caught_by=test_places_without_a_row_are_refused)
def leaves_the_refusal_to_the_index(x, table, start=0):
    """Nothing is made up: indexing complains by itself. But it raises an IndexError, which speaks of an index, and
    whoever called you gave none. A ValueError was asked for, that says what is wrong with x and the table."""
    return x + table[torch.arange(start, start + x.shape[-2])]


@learned_positions.misconception(caught_by=test_places_without_a_row_are_refused)
def asserts_that_the_table_is_long_enough(x, table, start=0):
    """A table that is too short was refused, but by an `assert`, which raises AssertionError and is left out when
    Python runs with `-O`. It is for what cannot happen; a wrong argument is a `ValueError`."""
    if start + x.shape[-2] > len(table):
        raise AssertionError
    return x + table[start : start + x.shape[-2]]


@learned_positions.misconception(caught_by=test_places_without_a_row_are_refused)
def returns_x_as_it_was(x, table, start=0):
    """Where the table is too short, x came back as it was, without positions. A model that was trained with them has
    never seen that, and nobody is warned. Raise a ValueError."""
    return x if start + x.shape[-2] > len(table) else x + _rows(x, table, start)


@learned_positions.misconception(caught_by=test_places_without_a_row_are_refused)
def lets_one_row_too_many_pass(x, table, start=0):
    """The comparison is off by one: `start + T - 1 > len(table)`. The last row that is used, start + T − 1, is counted
    from 0, so it must be *less* than the number of rows: refuse where `start + T > len(table)`."""
    if start + x.shape[-2] - 1 > len(table):
        raise ValueError
    return x + table[start : start + x.shape[-2]]


@learned_positions.alternative
def learned_positions_looked_up(x, table, start=0):
    try:
        return x + table[torch.arange(start, start + x.shape[-2])]
    except IndexError as error:
        raise ValueError(f"the table has {len(table)} rows") from error


@learned_positions.alternative
def learned_positions_by_embedding(x, table, start=0):
    places = torch.arange(start, start + x.shape[-2]).expand(x.shape[:-1])
    if not (places < len(table)).all():
        raise type("TableTooShort", (ValueError,), {})("too short")
    return torch.nn.functional.embedding(places, table) + x


@learned_positions.alternative
def learned_positions_place_by_place(x, table, start=0):
    T = x.shape[-2]
    if len(table) < start + T:
        raise ValueError
    return torch.stack([x[..., t, :] + table[start + t] for t in range(T)], dim=-2)


@learned_positions.alternative
def learned_positions_by_one_hot(x, table, start=0):
    T, T_max = x.shape[-2], len(table)
    if start + T > T_max:
        raise ValueError(f"only {T_max} places")
    chosen = torch.nn.functional.one_hot(torch.arange(start, start + T), T_max).to(table)
    return x + chosen @ table


# ------------------------------------------------------------------------------------------------------------ rotate

rotate = Exercise(
    "rotate",
    chapter=10,
    reference=reference.rotate,
    minutes=20,
    difficulty=3,
    forbidden=("attnlab.positions.rotation", "attnlab.positions.turn"),
)


def _angles(positions, d_k, speeds=None):
    """The angle of every place and pair, in float64; a wrong answer replaces the speeds."""
    even = torch.arange(0, d_k, 2, dtype=torch.float64)
    return positions.double()[..., None] * (BASE ** (-even / d_k) if speeds is None else speeds)


def _turned(x, positions, speeds=None):
    """x with its pairs turned, in float64: what every check compares with."""
    return _turned_by(x, _angles(positions, x.shape[-1], speeds))


def _turned_by(x, angles):
    a, b = x.double().unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = angles.cos(), angles.sin()
    return torch.stack((a * cos - b * sin, a * sin + b * cos), dim=-1).flatten(-2)


@rotate.check(points=2)
def test_a_pair_turns_by_its_angle(student, rng):
    """At place t the pair `1, 0` becomes `cos t, sin t`; as the second pair of four, `cos(t/100), sin(t/100)`."""
    t = int(rng.integers(1, 20))
    x = torch.tensor([[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0]])
    c, s, slow_c, slow_s = math.cos(t), math.sin(t), math.cos(t / 100), math.sin(t / 100)
    expect.close(
        student.rotate(x, torch.tensor([t, t])),
        np.array([[c, s, slow_c, slow_s], [-s, c, -slow_s, slow_c]]),
        f"Both rows stand at place {t}. Which columns make a pair, what is its angle, and does it turn to the left?",
        ROUNDING,
    )


@rotate.check(points=2)
def test_every_pair_has_its_own_speed(student, rng):
    """Columns 2i and 2i+1 turn together, by `position / 10000^(2i/d_k)`."""
    for T, d_k in ((7, 2 * 5), (5, 2 * 11), (14, 14)):
        x, positions = _tensor(rng, T, d_k), torch.arange(T)
        want = _turned(x, positions)
        expect.close(
            student.rotate(x, positions),
            want,
            "The angles are those of the sinusoids: are they, and do neighbouring columns make a pair?",
            ROUNDING,
        )


@rotate.check(points=2)
def test_scores_of_turned_vectors_know_the_distance_only(student, rng):
    """The score of a turned query with a turned key stays the same when both move by as many places."""
    T, d_k, distance = 17, 2 * 7, int(rng.integers(2, 9))
    q, k = _tensor(rng, 1, d_k), _tensor(rng, 1, d_k)
    score = (_turned(q, torch.tensor([0])) * _turned(k, torch.tensor([distance]))).sum()
    positions = torch.arange(T)
    turned_q = student.rotate(q.expand(T, d_k).contiguous(), positions)
    turned_k = student.rotate(k.expand(T, d_k).contiguous(), positions + distance)
    turned_q, turned_k = (expect.is_array(turned, (T, d_k)).astype(np.float64) for turned in (turned_q, turned_k))
    expect.close(
        (turned_q * turned_k).sum(-1),
        score.repeat(T),
        "Is every pair only *turned*, by an angle in proportion to its position? Turning both by as much changes no "
        "angle between them.",
        5e-4,
    )


@rotate.check(points=2)
def test_positions_are_given_not_counted(student, rng):
    """A row is turned by the position that is passed for it, whichever row it is; position 0 leaves it as it is."""
    x = _tensor(rng, 7, 2 * 5)
    places = torch.tensor(rng.permutation(50)[:7])
    for positions in (places, torch.zeros(7, dtype=torch.long), places[3].expand(7)):
        want = _turned(x, positions)
        expect.close(
            student.rotate(x, positions),
            want,
            f"For the positions {positions.tolist()}: does your angle come from `positions`?",
            ROUNDING,
        )
    one = _tensor(rng, 1, 2 * 5)
    want = _turned(one, places[:1])
    expect.close(student.rotate(one, places[:1]), want, "A single row at a place of its own.", ROUNDING)


@rotate.check(points=1)
def test_rotate_keeps_batch_and_heads(student, rng):
    """Axes in front of the last two are kept; `positions` is `(T,)` for all, or broadcasts to `(..., T)`."""
    for front in ((3,), (2, 3), (5, 5)):
        x, positions = _tensor(rng, *front, 5, 2 * 5), torch.arange(5) + 2
        want = _turned(x, positions)
        expect.close(
            student.rotate(x, positions), want, "Is it the last axis but one that the positions belong to?", ROUNDING
        )
    x, start = _tensor(rng, 3, 2, 5, 2 * 7), torch.tensor(rng.permutation(20)[:3])
    positions = start[:, None, None] + torch.arange(5)
    want = _turned(x, positions)
    expect.close(
        student.rotate(x, positions),
        want,
        "These positions have shape (3, 1, 5), each sequence begins elsewhere: does a new *last* axis, "
        "`positions[..., None]`, meet the pairs?",
        ROUNDING,
    )


@rotate.check(points=1)
def test_rotate_far_away_and_in_half_precision(student, rng):
    """At places of several thousand the angle is exact, and stays so where x is in half precision."""
    positions = 2 * torch.tensor(rng.integers(1500, 2500, size=5)) + 1
    for dtype, tolerance in ((torch.float32, ROUNDING), (torch.float16, 1e-2)):
        x = _tensor(rng, 5, 2).to(dtype)
        want = _turned(x, positions).to(dtype)
        expect.close(
            student.rotate(x, positions),
            want,
            f"x is {str(dtype).removeprefix('torch.')}; were places or angles rounded to fewer digits than float32 "
            "has?",
            tolerance,
        )


@rotate.check(points=1)
def test_gradients_turn_back(student, rng):
    """The gradient with respect to x is the gradient that comes in, turned back by the same angles."""
    x, g, positions = _tensor(rng, 5, 2 * 7), _tensor(rng, 5, 2 * 7), torch.arange(5) + 3
    value, right = _turned(x, positions), _turned(g, -positions)
    came = student.rotate.gradients(x, positions, cotangent=g)
    expect.close(came.value, value, "", ROUNDING)
    expect.true(
        came.inputs[0] is not None,
        "No gradient comes back through your function: what made x could not learn.",
        "Was something detached, or turned into NumPy?",
    )
    expect.close(came.inputs[0], right, "Is every step PyTorch's, on x itself?", ROUNDING)


@rotate.check(points=1)
def test_rotate_leaves_its_inputs_alone(student, rng):
    """It is right for views and float64, and x and the positions are the same afterwards."""
    x, positions = _heads(rng, 3, 5, 2 * 7), torch.arange(5) + 1
    want = _turned(x, positions)
    expect.close(student.rotate(x, positions), want, "", ROUNDING)
    x = 1000 * _tensor(rng, 5, 2 * 7, dtype=torch.float64)
    want = _turned(x, positions)
    expect.close(student.rotate(x, positions), want, "", ROUNDING)
    expect.unchanged(student, "Does it write into a slice of x?")


@rotate.inputs
def _vectors_and_places(rng):
    for i in range(10):
        front = ((), (5,), (2, 5))[i % 3]
        x = _tensor(rng, *front, 5, (6, 10)[i % 2])
        yield (x, torch.arange(5) if i % 4 == 3 else torch.tensor(rng.permutation(20)[:5])), {}


@rotate.misconception(caught_by=test_a_pair_turns_by_its_angle)
def pairs_the_halves(x, positions):
    """Column i makes a pair with column i + d_k/2 here. Many libraries do it so, and weights can be carried over if the
    columns are put in another order. Here a pair is two neighbours, `x[..., 0::2]` and `x[..., 1::2]`."""
    half = x.shape[-1] // 2
    mixed = torch.stack((x[..., :half], x[..., half:]), dim=-1).flatten(-2)
    turned = _turned(mixed, positions)
    return torch.cat((turned[..., 0::2], turned[..., 1::2]), dim=-1)


@rotate.misconception(caught_by=test_a_pair_turns_by_its_angle)
def leaves_the_pairs_apart(x, positions):
    """The pairs are turned as they should be, and then not put back: all first halves stand on the left, all second
    halves on the right. Deal them out in turn again: `torch.stack((…, …), dim=-1).flatten(-2)`."""
    turned = _turned(x, positions)
    return torch.cat((turned[..., 0::2], turned[..., 1::2]), dim=-1)


@rotate.misconception(caught_by=test_every_pair_has_its_own_speed)
def mixes_two_layouts(x, positions):
    """Two conventions are mixed: the pairs are neighbours, but the angles were laid out for pairs of halves, `cat((θ,
    θ))`. So the two columns of a pair turn by different angles, which is no rotation. Repeat each angle for its two
    columns, `repeat_interleave(2)`."""
    angles = _angles(positions, x.shape[-1])
    angles = torch.cat((angles, angles), dim=-1)
    x = x.double()
    a, b = x[..., 0::2], x[..., 1::2]
    swapped = torch.stack((-b, a), dim=-1).flatten(-2)
    return x * angles.cos() + swapped * angles.sin()


@rotate.misconception(caught_by=test_a_pair_turns_by_its_angle)
def swaps_the_halves_for_neighbours(x, positions):
    """Two conventions are mixed: the angles belong to neighbouring columns, but what is added with the sine comes from
    half a vector away. Column 2i needs column 2i + 1, its neighbour."""
    angles = _angles(positions, x.shape[-1]).repeat_interleave(2, dim=-1)
    x = x.double()
    half = x.shape[-1] // 2
    swapped = torch.cat((-x[..., half:], x[..., :half]), dim=-1)
    return x * angles.cos() + swapped * angles.sin()


@rotate.misconception(caught_by=test_a_pair_turns_by_its_angle)
def deals_out_the_halves(x, positions):
    """The pairs were read as halves, column i with column i + d_k/2, and written back as neighbours. So the numbers
    wander to other columns, even at position 0, where nothing may change. Read neighbours, too: `x[..., 0::2]` and
    `x[..., 1::2]`."""
    half = x.shape[-1] // 2
    return _turned(torch.stack((x[..., :half], x[..., half:]), dim=-1).flatten(-2), positions)


@rotate.misconception(caught_by=test_a_pair_turns_by_its_angle)
def turns_the_first_pair_only(x, positions):
    """Only the first two columns were turned. Each of the d_k/2 pairs turns, with a speed of its own: `x[..., 0::2]`
    are the first halves of *all* pairs."""
    return torch.cat((_turned(x, positions)[..., :2], x[..., 2:].double()), dim=-1)


@rotate.misconception(caught_by=test_a_pair_turns_by_its_angle)
def gives_each_column_an_angle(x, positions):
    """Every column has an angle of its own: the exponent is j/d_k for column j, so the two of a pair turn by different
    angles, which is no rotation. Both columns of pair i take 2i/d_k, `torch.arange(0, d_k, 2) / d_k`."""
    d_k = x.shape[-1]
    angles = positions.double()[..., None] * BASE ** (-torch.arange(d_k, dtype=torch.float64) / d_k)
    cos, sin = angles.cos(), angles.sin()
    a, b = x.double().unflatten(-1, (-1, 2)).unbind(-1)
    first = a * cos[..., 0::2] - b * sin[..., 0::2]
    second = a * sin[..., 1::2] + b * cos[..., 1::2]
    return torch.stack((first, second), dim=-1).flatten(-2)


@rotate.misconception(caught_by=test_a_pair_turns_by_its_angle)
def exchanges_a_and_b_in_the_second_line(x, positions):
    """In the second line sine and cosine went to the wrong numbers: `a cos θ + b sin θ`. At position 0 that copies a to
    where b belongs. It is `a sin θ + b cos θ`."""
    cos, sin = _cos_sin(x, positions)
    a, b = x.double().unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack((a * cos - b * sin, a * cos + b * sin), dim=-1).flatten(-2)


@rotate.misconception(caught_by=test_a_pair_turns_by_its_angle)
def divides_the_position_without_remainder(x, positions):
    """The position was divided with `//`, which throws the remainder away: all slow pairs stand still. An angle is no
    whole number: divide with `/`."""
    return _turned_by(x, _angles(positions, x.shape[-1]).floor())


@rotate.misconception(caught_by=test_a_pair_turns_by_its_angle)
def turns_with_another_base(x, positions):
    """The base is 1000 where 10000 is meant."""
    even = torch.arange(0, x.shape[-1], 2, dtype=torch.float64)
    return _turned(x, positions, 1000.0 ** (-even / x.shape[-1]))


@rotate.misconception(caught_by=test_positions_are_given_not_counted)
def measures_from_the_first_position(x, positions):
    """The first position was subtracted from all, "since only distances count". In a score they do; but the keys in a
    cache were turned by their own positions, and a query that begins at 0 anew no longer fits them."""
    return _turned(x, positions - positions[..., :1])


@rotate.misconception(caught_by=test_a_pair_turns_by_its_angle)
def turns_to_the_right(x, positions):
    """The pairs turn the wrong way: the minus sign stands at the other sine. If queries and keys are both turned so,
    the scores do not notice, for the distance is the same. But it is not the formula, and weights from elsewhere
    would not fit: `a cos θ − b sin θ, a sin θ + b cos θ`."""
    return _turned(x, -positions)


@rotate.misconception(caught_by=test_a_pair_turns_by_its_angle)
def forgets_the_minus(x, positions):
    """Both lines have a plus. That is no rotation: lengths change, and so do scores when both vectors move. The first
    line is `a cos θ − b sin θ`."""
    cos, sin = _cos_sin(x, positions)
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack((a * cos + b * sin, a * sin + b * cos), dim=-1).flatten(-2)


@rotate.misconception(caught_by=test_a_pair_turns_by_its_angle)
def reflects_the_pairs(x, positions):
    """Both lines have a minus where one is meant: `a cos θ − b sin θ, a sin θ − b cos θ` is a mirror, not a turn. At
    position 0 it flips the sign of b."""
    cos, sin = _cos_sin(x, positions)
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack((a * cos - b * sin, a * sin - b * cos), dim=-1).flatten(-2)


def _cos_sin(x, positions):
    angles = _angles(positions, x.shape[-1])
    return angles.cos(), angles.sin()


@rotate.misconception(caught_by=test_a_pair_turns_by_its_angle)
def exchanges_sine_and_cosine(x, positions):
    """Sine and cosine have changed places. Then position 0 turns by a quarter: check what your function does there."""
    return _turned_by(x, math.pi / 2 - _angles(positions, x.shape[-1]))


@rotate.misconception(caught_by=test_a_pair_turns_by_its_angle)
def uses_the_new_first_for_the_second(x, positions):
    """The second line used the *new* a. Both new numbers are made from both old ones: compute them before you write
    either back."""
    cos, sin = _cos_sin(x, positions)
    a = x[..., 0::2] * cos - x[..., 1::2] * sin
    b = a * sin + x[..., 1::2] * cos
    return torch.stack((a, b), dim=-1).flatten(-2)


@rotate.misconception(caught_by=test_a_pair_turns_by_its_angle)
def reads_what_it_has_just_written(x, positions):
    """The new halves were written into x while x was still being read: `x[..., 0::2]` is a *view*, so the second line
    meets the new a. And the caller's tensor is spoilt. Put the new halves into a new tensor, with `torch.stack`."""
    cos, sin = _cos_sin(x, positions)
    a, b = x[..., 0::2], x[..., 1::2]
    x[..., 0::2] = a * cos - b * sin
    x[..., 1::2] = a * sin + b * cos
    return x


@rotate.misconception(caught_by=test_a_pair_turns_by_its_angle)
def adds_the_positions(x, positions):
    """The positions themselves were added to every column. They are angles: turn each pair by them."""
    return x + positions[..., None]


@rotate.misconception(caught_by=test_a_pair_turns_by_its_angle)
def multiplies_by_the_cosine_alone(x, positions):
    """Every column was multiplied by its cosine, and the sines are missing. A turn needs both: each new number has a
    part of the other one."""
    return x * _cos_sin(x, positions)[0].repeat_interleave(2, dim=-1)


@rotate.misconception(caught_by=test_a_pair_turns_by_its_angle)
def multiplies_by_the_sinusoids(x, positions):
    """The columns were multiplied by those of the sinusoidal table, one by one. A pair is *turned*: each new
    number is a sum of two products."""
    cos, sin = _cos_sin(x, positions)
    return x * torch.stack((sin, cos), dim=-1).flatten(-2)


@rotate.misconception(caught_by=test_a_pair_turns_by_its_angle)
def adds_the_sinusoids(x, positions):
    """The sinusoidal table was *added*, which is the first exercise of the chapter. Rotary positions add nothing: they
    turn what is there."""
    cos, sin = _cos_sin(x, positions)
    return x + torch.stack((sin, cos), dim=-1).flatten(-2)


@rotate.misconception(caught_by=test_a_pair_turns_by_its_angle)
def turns_all_pairs_alike(x, positions):
    """All pairs turn at the same speed, 1 radian a step. After about 6.28 steps everything would look the same again.
    Pair i turns by `position / 10000^(2i/d_k)`."""
    return _turned(x, positions, torch.ones(x.shape[-1] // 2, dtype=torch.float64))


@rotate.misconception(caught_by=test_a_pair_turns_by_its_angle)
def halves_the_exponent(x, positions):
    """The exponent is i/d_k with i the number of the pair: half of what it should be. It is 2i/d_k; as `torch.arange(0,
    d_k, 2) / d_k` makes it."""
    return _turned(x, positions, BASE ** (-_half(x.shape[-1]) / x.shape[-1]))


@rotate.misconception(caught_by=test_a_pair_turns_by_its_angle)
def doubles_the_exponent(x, positions):
    """The exponent is twice what it should be: the even columns 0, 2, 4, … are 2i already, or d_k was halved somewhere.
    It is 2i/d_k, below 1 for every pair."""
    return _turned(x, positions, BASE ** (-4 * _half(x.shape[-1]) / x.shape[-1]))


@rotate.misconception(caught_by=test_a_pair_turns_by_its_angle)
def multiplies_the_position(x, positions):
    """The position was multiplied by 10000^(2i/d_k) where it should be divided. Pair 0 is the fastest, with 1 radian a
    step; all others are slower."""
    angles = positions[..., None] * BASE ** (torch.arange(0, x.shape[-1], 2) / x.shape[-1])
    return _turned_by(x, angles)


@rotate.misconception(caught_by=test_a_pair_turns_by_its_angle)
def turns_the_slow_first(x, positions):
    """The speeds are in the opposite order: pair 0 is the fastest, with 1 radian a step, the last one the slowest."""
    return _turned(x, positions, (BASE ** (-2 * _half(x.shape[-1]) / x.shape[-1])).flip(0))


@rotate.misconception(caught_by=test_a_pair_turns_by_its_angle)
def turns_in_degrees(x, positions):
    """The angle was taken for degrees. Here it is in radians, as `torch.sin` wants it."""
    return _turned_by(x, _angles(positions, x.shape[-1]) * math.pi / 180)


@rotate.misconception(caught_by=test_a_pair_turns_by_its_angle)
def turns_by_whole_circles(x, positions):
    """There is a factor 2π in the angle. The formula has none: pair 0 turns by 1 radian a step. With 2π it would turn
    by whole circles, that is, not at all."""
    return _turned_by(x, _angles(positions, x.shape[-1]) * 2 * math.pi)


@rotate.misconception(caught_by=test_a_pair_turns_by_its_angle)
def turns_one_place_too_far(x, positions):
    """Every row is turned by one position too many, as if they were counted from 1. Take `positions` as they are;
    position 0 turns nothing."""
    return _turned(x, positions + 1)


@rotate.misconception(caught_by=test_positions_are_given_not_counted)
def counts_the_rows(x, positions):
    """The rows were counted, `arange(T)`, and `positions` was never used. With a cache a single new row stands at place
    500, not at place 0."""
    return _turned(x, torch.arange(x.shape[-2]))


@rotate.misconception(caught_by=test_positions_are_given_not_counted)
def counts_from_the_first_position(x, positions):
    """Only the first of `positions` was read, and counted on from there. They need not be consecutive: turn each row by
    its own."""
    return _turned(x, positions[..., :1] + torch.arange(x.shape[-2]))


@rotate.misconception(caught_by=test_positions_are_given_not_counted)
def looks_up_the_row(x, positions):
    """The positions were taken from a table that has T rows, so a place beyond it is an error or another one. Compute
    the angle from the position itself."""
    return _turned(x, torch.arange(x.shape[-2])[positions])


@rotate.misconception(caught_by=test_rotate_keeps_batch_and_heads)
def turns_one_sequence_only(x, positions):
    """This is right for one sequence, `(T, d_k)`, and takes no axes in front. Index from the end: `x[..., 0::2]`."""
    T, d_k = x.shape
    return _turned(x.reshape(T, d_k), positions)


@rotate.misconception(caught_by=test_rotate_keeps_batch_and_heads)
def takes_one_list_of_positions(x, positions):
    """This is right where all sequences share one list of positions, `(T,)`, and nowhere else: `positions[:, None]` and
    `torch.outer` expect one axis. `positions[..., None]` takes any number of them."""
    if positions.ndim != 1:
        raise RuntimeError
    return _turned(x, positions)


@rotate.misconception(caught_by=test_rotate_keeps_batch_and_heads)
def turns_by_the_first_axis(x, positions):
    """The positions were given to the first axis, the batch, and not to the places. Then all words of a sequence are
    turned alike. The place is the last axis but one."""
    if x.ndim == 2:
        return _turned(x, positions)
    return _turned(x.movedim(0, -2), positions).movedim(-2, 0)


@rotate.misconception(caught_by=test_rotate_keeps_batch_and_heads)
def turns_by_the_last_axis_in_front(x, positions):
    """The positions were given to the axis before the places, that of the heads, as for tensors `(B, T, H, d_k)`. In
    this course heads come first, `(B, H, T, d_k)`: the place is the last axis but one."""
    if x.ndim == 2:
        return _turned(x, positions)
    return _turned(x.transpose(-2, -3), positions).transpose(-2, -3)


@rotate.misconception(caught_by=test_rotate_far_away_and_in_half_precision)
def rounds_the_angles(x, positions):
    """The angles were made in x's own number format. Half precision has 11 bits: from 2048 on, neighbours share one
    number, and so one angle. Make angles, sines and cosines in float32, and round those, if at all."""
    d_k = x.shape[-1]
    angles = positions.to(x.dtype)[..., None] / BASE ** (torch.arange(0, d_k, 2, dtype=x.dtype) / d_k)
    a, b, cos, sin = x[..., 0::2], x[..., 1::2], angles.cos(), angles.sin()
    return torch.stack((a * cos - b * sin, a * sin + b * cos), dim=-1).flatten(-2)


@rotate.misconception(caught_by=test_gradients_turn_back)
def lets_no_gradient_back(x, positions):
    """The numbers are right and no gradient comes back: x was detached, or passed through NumPy. The projections that
    make queries and keys would never learn."""
    return _turned(x.detach(), positions)


@rotate.misconception(caught_by=test_rotate_leaves_its_inputs_alone)
def turns_x_itself(x, positions):
    """The answer is right, but it was written into x, the caller's tensor: `x[..., 0::2] = …`. Put it into a new one,
    with `torch.stack` or `torch.empty_like`."""
    turned = _turned(x, positions)
    x.copy_(turned)  # a leaf that wants a gradient refuses, as it should
    return x


@rotate.misconception(caught_by=test_rotate_far_away_and_in_half_precision)
def keeps_a_table_that_ends(x, positions):
    """Sines and cosines were looked up in a table of 2,048 places, and further on there is no row. The angle of any
    place is one product: make the angles from `positions`."""
    angles = _angles(torch.arange(2048), x.shape[-1])
    return _turned_by(x, angles[positions])


@rotate.misconception(caught_by=test_a_pair_turns_by_its_angle)
def exchanges_the_two_new_columns(x, positions):
    """Both new columns are right, and changed places: the first of a pair is `a cos θ − b sin θ`, the second `a sin θ +
    b cos θ`."""
    return _turned(x, positions).unflatten(-1, (-1, 2)).flip(-1).flatten(-2)


@rotate.misconception(caught_by=test_a_pair_turns_by_its_angle)
def unpacks_three_axes(x, positions):
    """This works for a batch of sequences and for nothing else: `B, T, d = x.shape` wants three axes. There may be none
    in front of the last two, or several; `x.shape[-1]` is the last, whatever stands before it."""
    _, _, _ = x.shape
    return _turned(x, positions)


@rotate.alternative
def rotate_by_complex_numbers(x, positions):
    angles = _angles(positions, x.shape[-1])
    pairs = torch.view_as_complex(x.double().reshape(*x.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)).flatten(-2).to(x.dtype)


@rotate.alternative
def rotate_pair_by_pair(x, positions, base=10000.0):
    d_k = x.shape[-1]
    columns = []
    for i in range(d_k // 2):
        theta = positions.float() * base ** (-2 * i / d_k)
        a, b = x[..., 2 * i], x[..., 2 * i + 1]
        columns += [a * theta.cos() - b * theta.sin(), a * theta.sin() + b * theta.cos()]
    return torch.stack(columns, dim=-1)


@rotate.alternative
def rotate_by_a_swap(x, positions):
    speeds = 10000.0 ** (-torch.arange(0, x.shape[-1], 2) / x.shape[-1])
    angles = (positions.unsqueeze(-1) * speeds).repeat_interleave(2, -1)
    swapped = torch.empty_like(x)
    swapped[..., 0::2], swapped[..., 1::2] = -x[..., 1::2], x[..., 0::2]
    return x * angles.cos() + swapped * angles.sin()


@rotate.alternative
def rotate_by_matrices(x, positions):
    angles = _angles(positions, x.shape[-1]).float()
    c, s = angles.cos(), angles.sin()
    turn = torch.stack((torch.stack((c, -s), -1), torch.stack((s, c), -1)), -2)  # (..., T, pairs, 2, 2)
    return (turn @ x.float().unflatten(-1, (-1, 2))[..., None])[..., 0].flatten(-2)


# -------------------------------------------------------------------------------------------------- rotary_attention


def _rotary_attention(q, k, v, mask=None):
    """Attention between turned queries and turned keys; the values stay. Queries are the last T of S places."""
    return _attend(q, k, v, mask)


def _attend(q, k, v, mask=None, turn_q=1, turn_k=1, start=None, finish=scaled_dot_product_attention):
    """Rotary attention; a wrong answer turns other things, begins elsewhere, or ends otherwise."""
    T, S = q.shape[-2], k.shape[-2]
    start = S - T if start is None else start
    turned_q = _turned(q, turn_q * (torch.arange(T) + start)).to(q.dtype)
    turned_k = _turned(k, turn_k * torch.arange(S)).to(k.dtype)
    return finish(turned_q, turned_k, v, mask)


rotary_attention = Exercise(
    "rotary_attention",
    chapter=10,
    reference=_rotary_attention,
    minutes=15,
    difficulty=2,
    forbidden=("attnlab.positions.rotate", "attnlab.positions.turn", "attnlab.positions.rotation"),
)


def _sequence(rng, *front, T, S, d_k=2 * 7, d_v=2 * 11):
    return _tensor(rng, *front, T, d_k), _tensor(rng, *front, S, d_k), _tensor(rng, *front, S, d_v)


@rotary_attention.check(points=2)
def test_rotary_attention_is_the_formula(student, rng):
    """Queries and keys are turned by their places, 0 to T − 1; then it is scaled dot-product attention."""
    for T, d_v in ((5, 2 * 11), (7, 2 * 7)):
        q, k, v = _sequence(rng, T=T, S=T, d_v=d_v)
        want = _rotary_attention(q, k, v)
        expect.close(
            student.rotary_attention(q, k, v),
            want,
            "Which of the three is turned, by which positions, and are the scores divided by √d_k?",
            ROUNDING,
        )


@rotary_attention.check(points=1)
def test_values_come_home_as_they_are(student, rng):
    """With a single key, its value is the answer, unchanged, wherever the key stands."""
    q, k, v = _sequence(rng, 3, T=1, S=1, d_v=2 * 7)
    want = v.clone()
    expect.close(student.rotary_attention(q, k, v), want, "Are the values left alone?", ROUNDING)
    q, k, v = _sequence(rng, T=5, S=5, d_v=2 * 7)
    v = v[:1].expand(5, -1).contiguous()
    want = v.clone()
    expect.close(
        student.rotary_attention(q, k, v),
        want,
        "All values are alike here, so every average of them is that value: are the values left alone?",
        ROUNDING,
    )


@rotary_attention.check(points=2)
def test_queries_are_the_last_places(student, rng):
    """With more keys than queries, the queries are the last T of S places: they get what they get in the whole."""
    q, k, v = _sequence(rng, T=11, S=11)
    whole = _rotary_attention(q, k, v)
    for T in (11, 1, 3):
        expect.close(
            student.rotary_attention(q[-T:], k, v),
            whole[-T:],
            f"The last {T} of 11 queries: is query 0 at place S − T?",
            ROUNDING,
        )


@rotary_attention.check(points=1)
def test_rotary_attention_obeys_its_mask(student, rng):
    """Where the mask is False, a key gets no weight; the mask broadcasts to `(..., T, S)`."""
    q, k, v = _sequence(rng, 2, T=5, S=7)
    some = torch.tensor(rng.random((2, 5, 7)) < 0.5)
    some[..., 3], some[..., 4] = True, False
    for mask in (causal_mask(5, 7, like=some), some, some[:, :1]):
        want = _rotary_attention(q, k, v, mask)
        expect.close(
            student.rotary_attention(q, k, v, mask),
            want,
            f"For a mask of shape {tuple(mask.shape)}: is it passed on to the softmax, as it is?",
            ROUNDING,
        )
    q, _, v = _sequence(rng, T=5, S=5)
    want = v.clone()
    expect.close(
        student.rotary_attention(q, -50 * q, v, torch.eye(5, dtype=torch.bool)),
        want,
        "Each query may see its own place alone, and scores there are far below zero. Is a hidden score lower still?",
        ROUNDING,
    )


@rotary_attention.check(points=1)
def test_rotary_attention_keeps_batch_and_heads(student, rng):
    """Axes in front of the last two are kept: the place is the last axis but one."""
    for front, T in (((3,), 5), ((2, 3), 5), ((5, 5), 5)):
        q, k, v = _sequence(rng, *front, T=T, S=T)
        want = _rotary_attention(q, k, v)
        expect.close(
            student.rotary_attention(q, k, v), want, "Is T taken from the last axis but one, `q.shape[-2]`?", ROUNDING
        )


@rotary_attention.check(points=1)
def test_rotary_attention_learns_and_leaves_its_inputs(student, rng):
    """It is right for views and float64, gradients reach q, k and v, and all three are the same afterwards."""
    q, k, v = _heads(rng, 2, 5, 2 * 7), _heads(rng, 2, 5, 2 * 7), _heads(rng, 2, 5, 2 * 11)
    want = _rotary_attention(q, k, v)
    expect.close(student.rotary_attention(q, k, v), want, "", ROUNDING)
    g = _tensor(rng, 2, 5, 2 * 11)
    leaves = [x.clone().requires_grad_() for x in (q, k, v)]
    wanted = torch.autograd.grad((_rotary_attention(*leaves) * g).sum(), leaves)
    came = student.rotary_attention.gradients(q, k, v, cotangent=g)
    for name, gradient, right in zip("qkv", came.inputs, wanted, strict=True):
        expect.true(gradient is not None, f"No gradient reaches {name}.", "Was it detached?")
        expect.close(gradient, right, f"This is the gradient of {name}. Is the way there all PyTorch?", 2e-4)
    q, k, v = (x.double() for x in _sequence(rng, T=3, S=3))
    want = _rotary_attention(q, k, v)
    expect.close(student.rotary_attention(q, k, v), want, "", ROUNDING)
    expect.unchanged(student)


@rotary_attention.inputs
def _queries_keys_values(rng):
    for i in range(8):
        T, S = ((5, 5), (3, 5))[i % 2]
        front = ((), (5,))[i % 4 // 2]
        yield _sequence(rng, *front, T=T, S=S, d_k=6, d_v=6), {}


@rotary_attention.misconception(caught_by=test_values_come_home_as_they_are)
def turns_the_values_too(q, k, v, mask=None):
    """The values were turned as well. Queries and keys are turned because only the angle *between* them enters the
    score. A value is carried home as it is; turned, it would mean something else at every place."""
    return _attend(q, k, _turned(v, torch.arange(v.shape[-2])).to(v.dtype), mask)


@rotary_attention.misconception(caught_by=test_rotary_attention_is_the_formula)
def turns_the_queries_only(q, k, v, mask=None):
    """Only the queries were turned. Then the score depends on where the *query* stands, and not on the distance. Turn
    the keys by their places, too."""
    return _attend(q, k, v, mask, turn_k=0)


@rotary_attention.misconception(caught_by=test_rotary_attention_is_the_formula)
def turns_the_keys_only(q, k, v, mask=None):
    """Only the keys were turned. Then the score depends on where the *key* stands, and not on the distance. Turn the
    queries by their places, too."""
    return _attend(q, k, v, mask, turn_q=0)


@rotary_attention.misconception(caught_by=test_rotary_attention_is_the_formula)
def turns_nothing(q, k, v, mask=None):
    """This is plain attention: nothing was turned, so it does not know the order. Did the result of `rotate` get lost?
    It returns a new tensor."""
    return scaled_dot_product_attention(q, k, v, mask)


@rotary_attention.misconception(caught_by=test_rotary_attention_is_the_formula)
def turns_them_apart(q, k, v, mask=None):
    """Queries and keys were turned in opposite directions. Then the *sum* of their places enters the score where the
    difference is meant. Turn both the same way."""
    return _attend(q, k, v, mask, turn_k=-1)


@rotary_attention.misconception(caught_by=test_rotary_attention_is_the_formula)
def turns_them_backwards(q, k, v, mask=None):
    """Both were turned the other way, or their places were counted from the end. The score knows the distance, but with
    the opposite sign: what should be three places before looks like three places after."""
    return _attend(q, k, v, mask, turn_q=-1, turn_k=-1)


@rotary_attention.misconception(caught_by=test_rotary_attention_is_the_formula)
def turns_them_twice(q, k, v, mask=None):
    """Queries and keys were turned twice, so that every distance counts double."""
    return _attend(q, k, v, mask, turn_q=2, turn_k=2)


@rotary_attention.misconception(caught_by=test_rotary_attention_is_the_formula)
def turns_the_queries_one_further(q, k, v, mask=None):
    """The queries are one place further than their keys: a word then is at distance 1 from itself. Both counts start
    at 0, where T = S."""
    return _attend(q, k, v, mask, start=k.shape[-2] - q.shape[-2] + 1)


@rotary_attention.misconception(caught_by=test_queries_are_the_last_places)
def starts_the_queries_at_zero(q, k, v, mask=None):
    """The queries were counted from 0. With a cache they are the *last* T of S places: query 0 stands at place S − T,
    as in chapter 5."""
    return _attend(q, k, v, mask, start=0)


@rotary_attention.misconception(caught_by=test_queries_are_the_last_places)
def counts_both_by_the_queries(q, k, v, mask=None):
    """One list of places, `arange(T)`, was used for both. With a cache there are more keys than queries: the keys stand
    at 0 to S − 1, and the queries at the last T of these."""
    turned_q, turned_k = (_turned(x, torch.arange(q.shape[-2])).to(x.dtype) for x in (q, k))
    return scaled_dot_product_attention(turned_q, turned_k, v, mask)


@rotary_attention.misconception(caught_by=test_queries_are_the_last_places)
def counts_both_by_the_keys(q, k, v, mask=None):
    """One list of places, `arange(S)`, was used for both. With a cache there are fewer queries than keys: they stand at
    the last T places, `arange(S - T, S)`."""
    turned_q, turned_k = (_turned(x, torch.arange(k.shape[-2])).to(x.dtype) for x in (q, k))
    return scaled_dot_product_attention(turned_q, turned_k, v, mask)


@rotary_attention.misconception(caught_by=test_rotary_attention_is_the_formula)
def leaves_the_scores_unscaled(q, k, v, mask=None):
    """The scores were not divided by √d_k. Turning changes no lengths, so the scale is needed as before."""
    return _attend(q * q.shape[-1] ** 0.5, k, v, mask)


@rotary_attention.misconception(caught_by=test_rotary_attention_is_the_formula)
def scales_the_scores_twice(q, k, v, mask=None):
    """The scores were divided by d_k: by √d_k twice. `scaled_dot_product_attention` does it already, as its name
    says."""
    return _attend(q / q.shape[-1] ** 0.5, k, v, mask)


@rotary_attention.misconception(caught_by=test_rotary_attention_obeys_its_mask)
def ignores_the_mask(q, k, v, mask=None):
    """The mask was not passed on. Positions do not replace it: the future can still be seen."""
    return _attend(q, k, v)


@rotary_attention.misconception(caught_by=test_rotary_attention_obeys_its_mask)
def turns_the_mask_over(q, k, v, mask=None):
    """The mask was inverted: who may look, may not. In this course, True means *may attend*."""
    return _attend(q, k, v, None if mask is None else ~mask)


@rotary_attention.misconception(caught_by=test_rotary_attention_obeys_its_mask)
def hides_what_may_be_seen(q, k, v, mask=None):
    """`masked_fill(mask, …)` fills where the mask is True, and True means *may attend* here: what may be seen was
    hidden. Fill where it is False, `~mask`, or pass the mask on to `scaled_dot_product_attention`."""
    if mask is None:
        return _attend(q, k, v)
    return _attend(q, k, v, mask, finish=lambda q, k, v, mask: _filled(q, k, mask, -1e9).softmax(-1) @ v)


def _filled(q, k, hidden, fill):
    return (dot_scores(q, k) / q.shape[-1] ** 0.5).masked_fill(hidden, fill)


@rotary_attention.misconception(caught_by=test_rotary_attention_obeys_its_mask)
def hides_with_a_small_number(q, k, v, mask=None):
    """Hidden scores were set to −20 or the like, which is no lower than many a score. They have to be −∞, or so low
    that nothing real comes near (chapter 5). `scaled_dot_product_attention` sees to that."""
    if mask is None:
        return _attend(q, k, v)
    return _attend(q, k, v, mask, finish=lambda q, k, v, mask: _filled(q, k, ~mask, -20.0).softmax(-1) @ v)


@rotary_attention.misconception(caught_by=test_rotary_attention_is_the_formula)
def normalises_over_the_queries(q, k, v, mask=None):
    """The softmax ran over the queries, so the weights of one query do not add up to one. It runs over the keys, the
    last axis."""

    def finish(q, k, v, mask):
        hidden = torch.zeros(1, dtype=torch.bool) if mask is None else ~mask
        return _filled(q, k, hidden, -1e9).softmax(-2) @ v

    return _attend(q, k, v, mask, finish=finish)


@rotary_attention.misconception(caught_by=test_rotary_attention_obeys_its_mask)
def masks_after_the_softmax(q, k, v, mask=None):
    """The mask was multiplied in after the softmax, so the weights of what is left do not add up to one. Pass it to the
    attention."""

    def finish(q, k, v, mask):
        weights = attention_weights(q, k)
        return (weights if mask is None else weights * mask) @ v

    return _attend(q, k, v, mask, finish=finish)


@rotary_attention.misconception(caught_by=test_rotary_attention_obeys_its_mask)
def is_always_causal(q, k, v, mask=None):
    """The future is hidden even where no mask says so. Who may look at whom is the caller's business."""
    causal = causal_mask(q.shape[-2], k.shape[-2], like=q)
    return _attend(q, k, v, causal if mask is None else causal & mask)


@rotary_attention.misconception(caught_by=test_rotary_attention_is_the_formula)
def turns_the_answer(q, k, v, mask=None):
    """The *answer* was turned, after plain attention: too late. The places have to be known when queries meet keys."""
    out = scaled_dot_product_attention(q, k, v, mask)
    return _turned(out, torch.arange(out.shape[-2]) + k.shape[-2] - q.shape[-2])


@rotary_attention.misconception(caught_by=test_rotary_attention_is_the_formula)
def adds_waves_to_queries_and_keys(q, k, v, mask=None):
    """Sinusoids were *added* to queries and keys. Then the score has terms with one place alone. Turn them with
    `rotate`."""
    S = k.shape[-2]
    waves = _table(S, q.shape[-1]).to(q)
    return scaled_dot_product_attention(q + waves[S - q.shape[-2] :], k + waves, v, mask)


@rotary_attention.misconception(caught_by=test_rotary_attention_is_the_formula)
def returns_the_weights(q, k, v, mask=None):
    """These are the weights, `(..., T, S)`. They have to meet the values."""
    return _attend(q, k, v, mask, finish=lambda q, k, v, mask: attention_weights(q, k, mask))


@rotary_attention.misconception(caught_by=test_rotary_attention_keeps_batch_and_heads)
def counts_the_first_axis(q, k, v, mask=None):
    """T was read from the first axis, `len(q)` or `q.shape[0]`, which is the batch where there is one. The places are
    the last axis but one, `q.shape[-2]`."""
    T, S = q.shape[0], k.shape[0]
    if T not in (1, q.shape[-2]) or S not in (1, k.shape[-2]):
        raise RuntimeError
    turned_q, turned_k = (_turned(x, torch.arange(n) + start).to(x.dtype) for x, n, start in ((q, T, S - T), (k, S, 0)))
    return scaled_dot_product_attention(turned_q, turned_k, v, mask)


@rotary_attention.misconception(caught_by=test_rotary_attention_keeps_batch_and_heads)
def turns_by_the_head(q, k, v, mask=None):
    """The positions were given to the axis in front of the places, as if the layout were `(B, T, H, d_k)`. All words of
    a head are then turned alike. Heads come first here: the place is the last axis but one."""
    if q.ndim == 2:
        return _attend(q, k, v, mask)
    turned_q, turned_k = (
        _turned(x.transpose(-2, -3), torch.arange(x.shape[-3])).transpose(-2, -3).to(x.dtype) for x in (q, k)
    )
    return scaled_dot_product_attention(turned_q, turned_k, v, mask)


@rotary_attention.misconception(caught_by=test_rotary_attention_learns_and_leaves_its_inputs)
def turns_without_gradients(q, k, v, mask=None):
    """No gradient reaches queries and keys: they were detached on the way to being turned. Then W_q and W_k would never
    learn."""
    return _attend(q.detach(), k.detach(), v, mask)


@rotary_attention.misconception(caught_by=test_rotary_attention_is_the_formula)
def puts_the_queries_behind_the_keys(q, k, v, mask=None):
    """The queries stand at the places S to S + T − 1, *behind* all keys. They are the last T of the S places
    themselves: S − T to S − 1."""
    return _attend(q, k, v, mask, start=k.shape[-2])


@rotary_attention.alternative
def rotary_attention_with_pytorch(q, k, v, mask=None):
    T, S = q.shape[-2], k.shape[-2]
    q, k = reference.rotate(q, torch.arange(S - T, S)), reference.rotate(k, torch.arange(S))
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)


@rotary_attention.alternative
def rotary_attention_by_distances(q, k, v, mask=None):
    """The query turned back by the distance, and the key left as it is: the same angle between them."""
    T, S = q.shape[-2], k.shape[-2]
    scores = []
    for t in range(T):
        distances = torch.arange(S) - (S - T + t)
        turned = _turned(k, distances).to(k.dtype)
        scores.append((q[..., t, None, :] * turned).sum(-1) / q.shape[-1] ** 0.5)
    return masked_softmax(torch.stack(scores, dim=-2), mask) @ v


@rotary_attention.alternative
def rotary_attention_counted_from_anywhere(q, k, v, mask=None):
    """Only differences matter, so the count may start at 40."""
    T, S = q.shape[-2], k.shape[-2]
    q, k = _turned(q, torch.arange(T) + S - T + 40).to(q.dtype), _turned(k, torch.arange(S) + 40).to(k.dtype)
    weights = masked_softmax(dot_scores(q, k) / math.sqrt(q.shape[-1]), mask)
    return weights @ v


# -------------------------------------------------------------------------------------------------------- alibi_bias

alibi_bias = Exercise(
    "alibi_bias",
    chapter=10,
    reference=reference.alibi_bias,
    minutes=15,
    difficulty=2,
    forbidden=("attnlab.positions.alibi_slopes",),
)


def _slopes(num_heads):
    """The slopes for a power of two, in float64."""
    return 2.0 ** (-8 * torch.arange(1, num_heads + 1, dtype=torch.float64) / num_heads)


def _bias(num_heads, T, S, slopes=None, penalty=None, start=None):
    """The bias of the formula; a wrong answer replaces the slopes, the penalty, or where queries start."""
    start = S - T if start is None else start
    away = torch.arange(T, dtype=torch.float64)[:, None] + start - torch.arange(S)  # positive towards the past
    distances = away.abs() if penalty is None else penalty(away)
    return -(_slopes(num_heads) if slopes is None else slopes)[:, None, None] * distances


@alibi_bias.check(points=2)
def test_alibi_of_known_numbers(student, rng):
    """Two heads have the slopes `1/16` and `1/256`; a neighbour costs one slope, the next but one costs two."""
    T = int(rng.choice([3, 5, 7]))
    distance = np.abs(np.arange(T)[:, None] - np.arange(T))
    expect.close(
        student.alibi_bias(2, T, T),
        np.stack([-distance / 16, -distance / 256]),
        "Is it minus the slope of the head, times the distance?",
    )


@alibi_bias.check(points=2)
def test_every_head_has_its_slope(student, rng):
    """The slopes of H heads are `2^(-8/H)`, `2^(-16/H)`, … down to `2^(-8)`."""
    for num_heads in (1, 4, 8, 16):
        T = int(rng.choice([3, 5, 7]))
        expect.close(
            student.alibi_bias(num_heads, T, T),
            _bias(num_heads, T, T),
            f"Of {num_heads} heads the first has the slope 2^(-8/{num_heads}), the last 2^(-8), and each is the one "
            "before it times 2^(-8/H): are they?",
        )


@alibi_bias.check(points=2)
def test_distances_are_counted_from_the_end(student, rng):
    """With more keys than queries, the queries are the last T of S places: the last query is at distance 0 from the
    last key."""
    whole = _bias(4, 11, 11)
    for T in (3, 1, 7):
        expect.close(
            student.alibi_bias(4, T, 11),
            whole[:, -T:],
            f"For T = {T} and S = 11: is query 0 at place {11 - T}?",
        )


@alibi_bias.check(points=1)
def test_weights_fall_by_the_same_factor(student, rng):
    """After the softmax, over the past, each step away multiplies the weight by `exp(-slope)`."""
    S = int(rng.choice([5, 7, 11]))
    bias = torch.tensor(np.array(expect.is_array(student.alibi_bias(4, 1, S), (4, 1, S)), dtype=np.float64))
    weights = torch.softmax(bias, dim=-1)
    expect.close(
        weights[..., :-1] / weights[..., 1:],
        torch.exp(-_slopes(4))[:, None, None].expand(4, 1, S - 1),
        "A penalty in proportion to the distance becomes a factor for each step: is yours in proportion?",
        1e-4,
    )


@alibi_bias.check(points=1)
def test_alibi_reaches_far(student, rng):
    """It is right hundreds of places away, and for a single place."""
    S = int(rng.integers(300, 500))
    expect.close(student.alibi_bias(4, 2, S), _bias(4, 2, S), "Does the penalty go on growing?")
    expect.close(student.alibi_bias(2, 1, 1), _bias(2, 1, 1), "The distance to oneself is 0.")


@alibi_bias.inputs
def _heads_and_sizes(rng):
    for i in range(10):
        T = int(rng.choice([3, 5]))
        yield (int(rng.choice([2, 4, 8])), T, T if i % 2 else T + int(rng.choice([2, 6]))), {}


@alibi_bias.misconception(caught_by=test_alibi_of_known_numbers)
def rewards_the_distance(num_heads, T, S):
    """The sign is wrong: what is far gets a bonus. It is a penalty: minus slope times distance."""
    return -_bias(num_heads, T, S)


@alibi_bias.misconception(caught_by=test_alibi_of_known_numbers)
def lets_the_future_gain(num_heads, T, S):
    """The distance has a sign, `t − s`: keys after the query get a bonus instead of a penalty. With a causal mask
    nobody sees it. Without one, attention would run to the far end. Take the absolute value."""
    return _bias(num_heads, T, S, penalty=lambda away: away)


@alibi_bias.misconception(caught_by=test_alibi_of_known_numbers)
def lets_the_past_gain(num_heads, T, S):
    """The distance has a sign, `s − t`: the *past* gets a bonus, and grows with the distance. Take the absolute value,
    and minus the slope."""
    return _bias(num_heads, T, S, penalty=lambda away: -away)


@alibi_bias.misconception(caught_by=test_alibi_of_known_numbers)
def spares_the_future(num_heads, T, S):
    """Keys after the query have no penalty at all. Here the distance counts to both sides; whoever wants to hide the
    future uses a mask."""
    return _bias(num_heads, T, S, penalty=lambda away: away.clamp(min=0))


@alibi_bias.misconception(caught_by=test_alibi_of_known_numbers)
def hides_the_future(num_heads, T, S):
    """Keys after the query have the bias −∞. That is a causal mask, and masks are made elsewhere (chapter 5): an
    encoder has none. Here the distance counts to both sides."""
    return _bias(num_heads, T, S, penalty=lambda away: away.masked_fill(away < 0, torch.inf))


@alibi_bias.misconception(caught_by=test_alibi_of_known_numbers)
def squares_the_distance(num_heads, T, S):
    """The distance was squared. ALiBi has *linear* biases, as its name says."""
    return _bias(num_heads, T, S, penalty=lambda away: away**2)


@alibi_bias.misconception(caught_by=test_alibi_of_known_numbers)
def takes_the_logarithm_of_the_distance(num_heads, T, S):
    """The logarithm of the distance was taken, which dampens it: far keys would fade too slowly. ALiBi's penalty is in
    proportion to the distance."""
    return _bias(num_heads, T, S, penalty=lambda away: away.abs().log1p())


@alibi_bias.misconception(caught_by=test_alibi_of_known_numbers)
def divides_the_distance_by_the_length(num_heads, T, S):
    """The distance was divided by the number of keys. Then a neighbour is nearer in a long text than in a short one,
    and nothing carries over to other lengths. Take it as it is."""
    return _bias(num_heads, T, S) / S


@alibi_bias.misconception(caught_by=test_alibi_of_known_numbers)
def charges_for_oneself(num_heads, T, S):
    """The distance to oneself is 1 here where it is 0. A softmax would not notice, for all keys of a row pay alike; but
    it is not the formula."""
    return _bias(num_heads, T, S, penalty=lambda away: away.abs() + 1)


@alibi_bias.misconception(caught_by=test_alibi_of_known_numbers)
def counts_from_the_last_key(num_heads, T, S):
    """Every query has the same penalties: they were counted from the last key, not from the query. The distance is that
    between *this* query and the key."""
    return _bias(num_heads, 1, S).expand(num_heads, T, S)


@alibi_bias.misconception(caught_by=test_alibi_of_known_numbers)
def has_one_slope(num_heads, T, S):
    """All heads have the first slope. Different heads should see differently far: the slopes go down by the factor
    2^(-8/H) from one to the next."""
    return _bias(num_heads, T, S, slopes=_slopes(num_heads)[:1].expand(num_heads))


@alibi_bias.misconception(caught_by=test_alibi_of_known_numbers)
def reverses_the_slopes(num_heads, T, S):
    """The slopes are in the opposite order: the first head has the steepest, 2^(-8/H), the last 2^(-8)."""
    return _bias(num_heads, T, S, slopes=_slopes(num_heads).flip(0))


@alibi_bias.misconception(caught_by=test_alibi_of_known_numbers)
def starts_with_slope_one(num_heads, T, S):
    """The heads were counted from 0, so the first slope is 2⁰ = 1 and the last is missing. They are counted from 1:
    2^(-8·1/H) to 2^(-8·H/H)."""
    return _bias(num_heads, T, S, slopes=_slopes(num_heads) * 2 ** (8 / num_heads))


@alibi_bias.misconception(caught_by=test_alibi_of_known_numbers)
def has_the_slopes_of_eight_heads(num_heads, T, S):
    """The slopes are 1/2, 1/4, 1/8, …, which is right for eight heads only. For H of them the exponents are −8/H,
    −16/H, … down to −8, so that few heads cover the same range."""
    return _bias(num_heads, T, S, slopes=2.0 ** -torch.arange(1, num_heads + 1, dtype=torch.float64))


@alibi_bias.misconception(caught_by=test_alibi_of_known_numbers)
def forgets_the_minus_in_the_exponent(num_heads, T, S):
    """The slopes are 2^(8h/H), without the minus in the exponent: they *grow*, from head to head, up to 256. The first
    head has the steepest slope, 2^(-8/H), and none is above 1."""
    return _bias(num_heads, T, S, slopes=1 / _slopes(num_heads))


@alibi_bias.misconception(caught_by=test_alibi_of_known_numbers)
def forgets_the_eight(num_heads, T, S):
    """The slopes are 2^(-h/H): the 8 is missing, and the flattest is 1/2, where it should be 1/256. No head would look
    far."""
    return _bias(num_heads, T, S, slopes=_slopes(num_heads) ** (1 / 8))


@alibi_bias.misconception(caught_by=test_every_head_has_its_slope)
def rounds_the_exponents(num_heads, T, S):
    """The exponents were rounded to whole numbers, as `//` makes them. For up to 8 heads they are whole; for 16 the
    first is −½. Divide with `/`."""
    heads = torch.arange(1, num_heads + 1)
    return _bias(num_heads, T, S, slopes=2.0 ** (-8 * heads // num_heads).double())


@alibi_bias.misconception(caught_by=test_distances_are_counted_from_the_end)
def shifts_the_queries_the_wrong_way(num_heads, T, S):
    """The queries were shifted by T − S, to places before the first. They are the *last* T of S places: query t stands
    at t + S − T."""
    return _bias(num_heads, T, S, start=T - S)


@alibi_bias.misconception(caught_by=test_alibi_of_known_numbers)
def takes_powers_of_e(num_heads, T, S):
    """The slopes are powers of e, as `exp` makes them. They are powers of 2: `2.0 ** (-8 * h / H)`."""
    heads = torch.arange(1, num_heads + 1, dtype=torch.float64)
    return _bias(num_heads, T, S, slopes=torch.exp(-8 * heads / num_heads))


@alibi_bias.misconception(caught_by=test_alibi_of_known_numbers)
def spaces_the_slopes_evenly(num_heads, T, S):
    """The slopes fall by equal *steps*, 1, …, 2/H, 1/H. They fall by equal *factors*: 2^(-8/H) from head to head, so
    that some heads look a few words back and others hundreds."""
    return _bias(num_heads, T, S, slopes=1 - torch.arange(num_heads, dtype=torch.float64) / num_heads)


@alibi_bias.misconception(caught_by=test_alibi_of_known_numbers)
def takes_the_exponents_for_slopes(num_heads, T, S):
    """The exponents themselves, 8/H, 16/H, … 8, were used as slopes. The slopes are 2 to the power of minus those."""
    return _bias(num_heads, T, S, slopes=8 * torch.arange(1, num_heads + 1, dtype=torch.float64) / num_heads)


@alibi_bias.misconception(caught_by=test_distances_are_counted_from_the_end)
def aligns_the_queries_at_the_start(num_heads, T, S):
    """The queries were counted from 0. They are the *last* T of S places, as in chapter 5: query 0 stands at S − T. A
    new word would otherwise find the beginning of the text nearest."""
    return _bias(num_heads, T, S, start=0)


@alibi_bias.misconception(caught_by=test_distances_are_counted_from_the_end)
def exchanges_queries_and_keys(num_heads, T, S):
    """The rows are keys and the columns queries. Scores have the shape (H, T, S), a row for each query."""
    return _bias(num_heads, T, S).mT


@alibi_bias.misconception(caught_by=test_distances_are_counted_from_the_end)
def makes_a_square(num_heads, T, S):
    """The table is square, with a row for every key. There are T queries: the last T rows of it are wanted."""
    return _bias(num_heads, S, S)


@alibi_bias.misconception(caught_by=test_alibi_of_known_numbers)
def puts_the_heads_last(num_heads, T, S):
    """The heads are the last axis. Scores have the shape (B, H, T, S), so the bias is (H, T, S)."""
    return _bias(num_heads, T, S).movedim(0, -1)


@alibi_bias.misconception(caught_by=test_alibi_of_known_numbers)
def forgets_the_heads(num_heads, T, S):
    """This is minus the distance, `(T, S)`, without a slope. Each head multiplies it by its own."""
    return _bias(1, T, S, slopes=torch.ones(1, dtype=torch.float64))[0]


@alibi_bias.misconception(caught_by=test_alibi_of_known_numbers)
def softmaxes_the_bias(num_heads, T, S):
    """This is the softmax of the bias. The bias is added to the *scores*; the softmax comes after that, once."""
    return torch.softmax(_bias(num_heads, T, S), dim=-1)


@alibi_bias.misconception(caught_by=test_alibi_of_known_numbers)
def makes_factors(num_heads, T, S):
    """These are factors, e to the power of the bias. They would have to be *multiplied* with the weights; what is asked
    for is added to the scores, so leave the exponential to the softmax."""
    return torch.exp(_bias(num_heads, T, S))


@alibi_bias.misconception(caught_by=test_alibi_of_known_numbers)
def returns_the_slopes(num_heads, T, S):
    """These are the slopes. Each has to be multiplied with the table of distances."""
    return _slopes(num_heads)


@alibi_bias.misconception(caught_by=test_alibi_of_known_numbers)
def adds_a_ramp_over_the_keys(num_heads, T, S):
    """This is slope times the place of the *key*, the same for every query. Behind a causal mask the softmax gives the
    same weights, since a row may be moved as a whole, and some programs do it so. It is not the bias that was asked
    for: for a query in the middle, what comes after it gets a bonus."""
    return _bias(num_heads, T, S, penalty=lambda away: -torch.arange(S).expand_as(away))


@alibi_bias.misconception(caught_by=test_distances_are_counted_from_the_end)
def makes_a_square_of_the_queries(num_heads, T, S):
    """The table is T × T: it counts with as many keys as queries. With a cache there are more keys: S columns, and the
    queries are the last T of S places."""
    return _bias(num_heads, T, T)


@alibi_bias.alternative
def alibi_one_by_one(num_heads, T, S):
    bias = torch.zeros(num_heads, T, S)
    for h in range(num_heads):
        slope = 2 ** (-8 * (h + 1) / num_heads)
        for t in range(T):
            bias[h, t] = -slope * (torch.arange(S) - (t + S - T)).abs()
    return bias


@alibi_bias.alternative
def alibi_in_numpy(num_heads, T, S):
    square = np.abs(np.subtract.outer(np.arange(S), np.arange(S)))
    first = 2 ** (-8 / num_heads)
    return -np.einsum("h,ts->hts", first ** np.arange(1, num_heads + 1), square[S - T :])


@alibi_bias.alternative
def alibi_head_by_head(num_heads, T, S, **unused):
    t, s = torch.arange(S - T, S)[:, None], torch.arange(S)
    slopes = [2 ** (-8 / num_heads)]
    while len(slopes) < num_heads:
        slopes.append(slopes[-1] * slopes[0])
    return torch.stack([-slope * torch.maximum(t - s, s - t).float() for slope in slopes])
