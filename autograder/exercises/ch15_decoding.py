"""Chapter 15, Decoding and scoring: from a probability for every next word to a text, and how good the text is."""

import itertools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from attnlab import metrics
from autograder import expect
from autograder.exercise import Exercise

FORBIDDEN = (
    "attnlab.decoding.beam_search",
    "attnlab.decoding.generate",
    "attnlab.decoding.greedy_decode",
    "attnlab.decoding.keep_top_k",
    "attnlab.decoding.keep_top_p",
    "attnlab.decoding.sample",
)
FIRST, END, V = 1, 2, 11


def _texts(came: Any) -> list[list[int]] | None:
    """Lists (or tensors) of ids as lists; None for anything else."""
    if not isinstance(came, list | tuple):
        return None
    rows = [row.tolist() if expect.is_tensor(row) or isinstance(row, np.ndarray) else row for row in came]
    plain = all(isinstance(row, list | tuple) and all(_is_id(one) for one in row) for row in rows)
    return [[int(one) for one in row] for row in rows] if plain else None


def _is_id(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    array = expect.as_numpy(value)
    return isinstance(value, int) or (array is not None and array.ndim == 0 and array.dtype.kind in "iu")


class StepRefused(Exception):
    """What ``step`` says to a wrong question. No other error has this type, so none is taken for it."""


class _Step:
    """What a check passes as ``step``: looks at what it is given, notes it, and gives logits."""

    __name__ = "step"

    def __init__(self, logits: Callable[[torch.Tensor], torch.Tensor], rows: int, longest: int, exactly: bool = False):
        self.logits, self.rows, self.longest, self.exactly = logits, rows, longest, exactly
        self.asked: list[list[list[int]]] = []

    def __eq__(self, other: object) -> bool:
        """Two steps that a check made at the same place are alike: what is compared is what came of them."""
        return isinstance(other, _Step)

    __hash__ = None  # type: ignore[assignment]  # what is equal to all others has no use for one

    def __call__(self, tokens: Any) -> torch.Tensor:
        tokens = torch.as_tensor(np.asarray(tokens)) if not torch.is_tensor(tokens) else tokens
        if tokens.ndim != 2 or tokens.is_floating_point():
            raise StepRefused(f"step takes whole numbers of shape (N, T), and got {tokens.dtype} {tuple(tokens.shape)}")
        if tokens.shape[0] != self.rows if self.exactly else not 0 < tokens.shape[0] <= self.rows:
            raise StepRefused(f"step was asked about {tokens.shape[0]} texts, where there are {self.rows}")
        if not 0 < tokens.shape[1] <= self.longest:
            raise StepRefused(f"step was given texts of {tokens.shape[1]} tokens; {self.longest} would be written")
        if len(self.asked) > 60:
            raise StepRefused("step was asked more than 60 times: does the loop never end?")
        self.asked.append(tokens.tolist())
        return self.logits(tokens)


# --------------------------------------------------------------------------------------------------- greedy_decode


def _greedy_decode(step, first, end, longest):
    tokens = first[:, None]
    ended = torch.zeros(len(first), dtype=torch.bool)
    for _ in range(longest):
        newest = step(tokens).argmax(-1)
        tokens = torch.cat([tokens, newest[:, None]], dim=1)
        ended = ended | (newest == end)
        if ended.all():
            break
    return [_until(row, end) for row in tokens[:, 1:].tolist()]


def _until(row, end):
    return list(itertools.takewhile(lambda token: token != end, row))


greedy_decode = Exercise(
    "greedy_decode", chapter=15, reference=_greedy_decode, minutes=15, difficulty=2, forbidden=FORBIDDEN
)
LONGEST = 13


def _script(rng, texts, first, longest=LONGEST, strict=False):
    """A step whose greedy texts these are. Behind a row's end it says anything, now and then the end again.

    It looks at what was written: for another beginning it goes on otherwise. ``strict``: it answers only while needed.
    """
    noise = rng.normal(size=(longest + 1, len(texts), V))
    wanted = [[start, *text, END] for start, text in zip(first.tolist(), texts, strict=True)]

    def logits(tokens):
        T = tokens.shape[1]
        if strict and all(len(line) <= T for line in wanted):
            raise StepRefused("step was asked for another token after every row had its end")
        out = torch.tensor(noise[T])
        for row, line in enumerate(wanted):
            if len(line) > T:
                right = tokens[row].tolist() == line[:T]
                out[row, line[T] if right else 3 + (line[T] + T) % (V - 3)] = out[row].max() + 0.5  # a die may say else
            elif (T - len(line)) % 3 == 1:
                out[row, END] += 20
            else:
                out[row, 3 + (row + T) % (V - 3)] += 20
        return out

    return _Step(logits, len(texts), longest, exactly=True)


def _lines(rng, *lengths):
    """Texts of these lengths without an end in them; no two neighbours are the same."""
    return [rng.permutation(np.arange(3, V)).tolist()[:length] for length in lengths]


def _written(student, step, first, want, cause, longest=LONGEST):
    first_ids = first.tolist()
    came = student.greedy_decode(step, first, END, longest)
    texts = _texts(came)
    expect.true(
        texts is not None and len(texts) == len(want),
        f"Your function returned {expect.named(came)}; expected is a list of {len(want)} lists of ids.",
        "One list for each row of the batch?",
    )
    for row, (text, due) in enumerate(zip(texts or [], want, strict=True)):
        expect.true(
            text == due,
            f"Row {row}, which begins with {first_ids[row]}, is {text}; expected is {due}.",
            cause,
        )


@greedy_decode.check(points=1)
def test_each_next_token_is_the_likeliest(student, rng):
    """One row: from what was written so far, the likeliest token, again and again. Neither `first` nor `end` is
    returned."""
    for length in (5, 1, 7):
        texts = _lines(rng, length)
        first = torch.tensor([FIRST])
        _written(
            student, _script(rng, texts, first), first, texts, "Is step asked about *all* that was written so far?"
        )


@greedy_decode.check(points=2)
def test_rows_end_on_their_own(student, rng):
    """In a batch, each row stops at its own end, and the others go on. A row may *begin* with `end`: that is not said
    by it."""
    for lengths in ((5, 2, 7), (3, 0, 1, 6, 3)):
        texts = _lines(rng, *lengths)
        first = torch.tensor(rng.integers(3, V, size=len(lengths)))
        _written(student, _script(rng, texts, first), first, texts, "What happens to a row after its end?")
        first[0] = END  # some models have one token for the beginning and the end
        _written(student, _script(rng, texts, first), first, texts, "Is `first`, which nobody said, taken for an end?")


@greedy_decode.check(points=1)
def test_nothing_is_written_beyond_longest(student, rng):
    """After `longest` tokens it stops, whether rows have ended or not."""
    texts = _lines(rng, 5, 2, 7, 8)
    first = torch.tensor(rng.integers(3, V, size=4))
    for longest in (1, 3, 8):
        want = [text[:longest] for text in texts]
        step = _script(rng, texts, first, longest)
        _written(student, step, first, want, f"longest is {longest}: do `first` and `end` count?", longest)


@greedy_decode.check(points=1)
def test_nobody_is_asked_in_vain(student, rng):
    """When all rows have ended, though at different places, step is not asked again."""
    texts = _lines(rng, 4, 1, 3)
    first = torch.tensor(rng.integers(3, V, size=3))
    _written(student, _script(rng, texts, first, strict=True), first, texts, "Which rows have ended *so far*?")


@greedy_decode.check(points=1)
def test_greedy_leaves_its_input_alone(student, rng):
    """`first` may be a view with gaps, and is the same afterwards."""
    texts = _lines(rng, 3, 5)
    first = torch.tensor(rng.integers(3, V, size=(2, 3)))[:, 1]
    _written(student, _script(rng, texts, first), first, texts, "How are the first tokens of the rows used?")
    expect.unchanged(student, "Does `tokens[…] =` write into `first`? `torch.cat` makes a new tensor.")


@greedy_decode.inputs
def _batches(rng):
    for lengths in ((5, 2, 7), (3, 0, 1), (4, 6)):
        texts = _lines(rng, *lengths)
        first = torch.tensor(rng.integers(3, V, size=len(lengths)))
        yield (_script(rng, texts, first), first, END, LONGEST), {}
    for longest in (4, 5):  # a step that would answer beyond `longest`, too
        texts = _lines(rng, 6, 2, 7)
        first = torch.tensor(rng.integers(3, V, size=3))
        yield (_script(rng, texts, first), first, END, longest), {}
    texts = _lines(rng, 4, 4)
    first = torch.tensor(rng.integers(3, V, size=2))
    yield (_script(rng, texts, first, strict=True), first, END, LONGEST), {}


class _Writes:
    """Greedy decoding in steps, which a wrong answer can replace one by one."""

    def __call__(self, step, first, end, longest):
        self.end, self.longest = end, longest
        tokens = first[:, None]
        ended = torch.zeros(len(first), dtype=torch.bool)
        for _ in range(self.rounds()):
            newest = self.choose(step(self.shown(tokens)))
            tokens = torch.cat([tokens, newest[:, None]], dim=1)
            ended = self.noted(ended, newest == end)
            if self.over(ended):
                break
        return [self.cut(row) for row in tokens.tolist()]

    def rounds(self):
        return self.longest

    def shown(self, tokens):
        return tokens

    def choose(self, logits):
        return logits.argmax(-1)

    def noted(self, ended, now):
        return ended | now

    def over(self, ended):
        return bool(ended.all())

    def cut(self, row):
        return _until(row[1:], self.end)


def _as_function(kind: type, name: str) -> Callable[..., Any]:
    """A wrong answer as a function: its class makes a fresh writer for each call."""

    def function(*args, **kwargs):
        return kind()(*args, **kwargs)

    function.__name__, function.__doc__ = name, kind.__doc__
    return function


def _greedy_mistake(caught_by):
    def declare(kind):
        greedy_decode.misconception(caught_by=caught_by)(_as_function(kind, kind.__name__))
        return kind

    return declare


@_greedy_mistake(test_each_next_token_is_the_likeliest)
class DrawsTheNext(_Writes):
    """The next token was drawn, with the probabilities of the model. Greedy takes the likeliest, always: `argmax`."""

    def choose(self, logits):
        return torch.multinomial(logits.softmax(-1), 1)[:, 0]


@_greedy_mistake(test_rows_end_on_their_own)
class TakesTheFirstForAnEnd(_Writes):
    """The end was looked for in the whole row, `first` included. Some models begin a text with the token that ends it:
    what counts is what was written."""

    def cut(self, row):
        return _until(row, self.end)[1:]


@_greedy_mistake(test_rows_end_on_their_own)
class StopsTheWholeBatch(_Writes):
    """The whole batch stopped when the *first* row ended, so the longer texts are cut off. Each row has an end of its
    own: stop when all of them have ended, `ended.all()`."""

    def over(self, ended):
        return bool(ended.any())


@_greedy_mistake(test_rows_end_on_their_own)
class StopsWithTheFirstRow(_Writes):
    """The loop stopped when *row 0* ended, whatever the others were doing. Keep one True or False for each row."""

    def over(self, ended):
        return bool(ended[0])


@_greedy_mistake(test_nobody_is_asked_in_vain)
class WaitsForOneMoment(_Writes):
    """The loop waits for a moment at which *all rows say the end at once*, and such a moment need not come. A row that
    has ended stays ended: collect it, `ended = ended | (newest == end)`."""

    def noted(self, ended, now):
        return now


@_greedy_mistake(test_nobody_is_asked_in_vain)
class NeverStopsEarly(_Writes):
    """The loop always runs `longest` times, also when every row has had its end. Each round costs a run of the model:
    stop when `ended.all()`."""

    def over(self, ended):
        return False


@_greedy_mistake(test_rows_end_on_their_own)
class AsksRowByRow(_Writes):
    """The rows were shown to `step` one at a time. It has to see all B of them together: inside it row 2 of the texts
    belongs to row 2 of the sources, and one call for a batch is what makes a batch fast."""

    def __call__(self, step, first, end, longest):
        return [super(AsksRowByRow, self).__call__(step, one, end, longest)[0] for one in first.split(1)]


@_greedy_mistake(test_rows_end_on_their_own)
class SendsFinishedRowsHome(_Writes):
    """Rows that had ended were taken out of the batch, so `step` was shown fewer than B. Inside it row 2 of the texts
    belongs to row 2 of the sources: let finished rows run on, and cut them when all is over."""

    def __call__(self, step, first, end, longest):
        tokens, rows = first[:, None], list(range(len(first)))
        texts: dict[int, list[int]] = {}
        for _ in range(longest):
            tokens = torch.cat([tokens, step(tokens).argmax(-1)[:, None]], dim=1)
            texts |= {row: _until(text[1:], end) for row, text in zip(rows, tokens.tolist(), strict=True)}
            going = (tokens[:, -1] != end).nonzero()[:, 0]
            tokens, rows = tokens[going], [rows[i] for i in going.tolist()]
            if not rows:
                break
        return [texts[row] for row in range(len(first))]


@_greedy_mistake(test_rows_end_on_their_own)
class LeavesThePadding(_Writes):
    """Behind its end a row was filled with 0, as batches are padded, and the zeros are still in the texts. Cut each row
    at its first end."""

    def cut(self, row):
        text = _until(row[1:], self.end)
        return text + [0] * (len(row) - 2 - len(text))


@_greedy_mistake(test_nothing_is_written_beyond_longest)
class WritesOneTooMany(_Writes):
    """One token too many was written: `step` was asked once more when `longest` tokens were there. Does the count begin
    with `first`, or run from 0 to `longest` inclusive?"""

    def rounds(self):
        return self.longest + 1


@_greedy_mistake(test_nothing_is_written_beyond_longest)
class ExpectsAnEnd(_Writes):
    """Every row was cut at `row.index(end)`, and a row that was stopped by `longest` has no end: then there is none to
    be found, and Python raises an error. Cut only where there is one."""

    def cut(self, row):
        return row[1 : row.index(self.end, 1)]


@_greedy_mistake(test_each_next_token_is_the_likeliest)
class KeepsTheEnd(_Writes):
    """The end token is still in the texts. It says where a text stops; it is no part of it."""

    def cut(self, row):
        text = _until(row[1:], self.end)
        return row[1 : len(text) + 2]


@_greedy_mistake(test_each_next_token_is_the_likeliest)
class KeepsTheFirst(_Writes):
    """The first token is still in the texts. It was given, not written: return what comes after it."""

    def cut(self, row):
        return _until(row, self.end)


@_greedy_mistake(test_rows_end_on_their_own)
class GoesOnBehindTheEnd(_Writes):
    """Rows were not cut at their end. While other rows go on, a row that has ended is asked on, and what comes then is
    rubbish. Cut each row at its *first* end."""

    def cut(self, row):
        return [token for token in row[1:] if token != self.end]


@_greedy_mistake(test_rows_end_on_their_own)
class CutsAtTheLastEnd(_Writes):
    """Rows were cut at their *last* end. After the first one a row is only rubbish, and the rubbish may hold an end,
    too."""

    def cut(self, row):
        text = row[1:]
        return text[: len(text) - 1 - text[::-1].index(self.end)] if self.end in text else text


@_greedy_mistake(test_rows_end_on_their_own)
class CutsTheLastToken(_Writes):
    """The last token of each row was taken away, as if it were its end. Only the row that ended last has its end there;
    the others have it further to the left, or not at all."""

    def cut(self, row):
        return row[1:-1]


@_greedy_mistake(test_each_next_token_is_the_likeliest)
class ShowsTheNewestOnly(_Writes):
    """Step was shown only the newest token of each row. Here it has no memory: it has to see all that was written, from
    the first token on. (A step with a *cache* needs only the newest. That is another step.)"""

    def shown(self, tokens):
        return tokens[:, -1:]


@_greedy_mistake(test_each_next_token_is_the_likeliest)
class ForgetsTheFirst(_Writes):
    """After the first round, step was shown only what has been *written*, without the first token. A model that was
    trained on texts that begin with it does not know such texts."""

    def shown(self, tokens):
        return tokens[:, 1:] if tokens.shape[1] > 1 else tokens


@_greedy_mistake(test_each_next_token_is_the_likeliest)
class TakesTheUnlikeliest(_Writes):
    """The *unlikeliest* token was taken. Logits are log-probabilities up to a constant, not losses: larger is
    likelier."""

    def choose(self, logits):
        return logits.argmin(-1)


@_greedy_mistake(test_rows_end_on_their_own)
class WritesOneTextForAll(_Writes):
    """Every row got the choice of row 0. Take the largest logit *of each row*: `argmax(dim=-1)`."""

    def choose(self, logits):
        return logits.argmax(-1)[:1].expand(len(logits))


@_greedy_mistake(test_each_next_token_is_the_likeliest)
class DrawsByChance(_Writes):
    """The tokens were drawn by chance. That is sampling, the third exercise. Greedy always takes the likeliest one."""

    def choose(self, logits):
        return torch.multinomial((logits / 10).softmax(-1), 1)[:, 0]


@_greedy_mistake(test_nothing_is_written_beyond_longest)
class CountsTheFirst(_Writes):
    """Texts that were cut off are one token too short. Was `first` counted into `longest`, which was given and not
    written? Or was a last token taken away that is no end?"""

    def rounds(self):
        return self.longest - 1


@_greedy_mistake(test_nothing_is_written_beyond_longest)
class WritesWithoutALimit(_Writes):
    """The loop goes on until every row has ended, and a model may never say the end. `longest` is what saves you."""

    def rounds(self):
        return 200


@greedy_decode.alternative
def greedy_with_lists(step, first, end, longest):
    rows = [[int(token)] for token in first]
    texts: list[list[int]] = [[] for _ in rows]
    going = [True] * len(rows)
    while any(going) and len(rows[0]) <= longest:
        for i, logits in enumerate(step(torch.tensor(rows))):
            token = int(logits.argmax())
            going[i] = going[i] and token != end
            if going[i]:
                texts[i].append(token)
            rows[i].append(token)
    return texts


@greedy_decode.alternative
def greedy_that_feeds_ends(step, first, end, longest):
    tokens = first.reshape(-1, 1).clone()
    for _ in range(longest):
        newest = step(tokens).max(dim=-1).indices
        newest = torch.where((tokens[:, 1:] == end).any(1), torch.full_like(newest, end), newest)
        tokens = torch.cat([tokens, newest[:, None]], 1)
        if (tokens[:, 1:] == end).any(1).all():
            break
    return tuple(row[: (row == end).nonzero()[0, 0]] if (row == end).any() else row for row in tokens[:, 1:])


# ----------------------------------------------------------------------------------------------------- beam_search


def _beam_search(step, first, end, width, alpha, longest):
    beam = [([first], 0.0)]
    finished = []
    for length in range(1, longest + 1):
        log_p = step(torch.tensor([text for text, _ in beam])).log_softmax(-1).tolist()
        candidates = [
            ([*text, token], total + row[token])
            for (text, total), row in zip(beam, log_p, strict=True)
            for token in range(len(row))
        ]
        best = sorted(candidates, key=lambda candidate: candidate[1], reverse=True)[:width]
        finished += [(text[1:-1], _normed(total, length, alpha)) for text, total in best if text[-1] == end]
        beam = [(text, total) for text, total in best if text[-1] != end]
        if not beam:
            break
    finished += [(text[1:], _normed(total, longest, alpha)) for text, total in beam]
    return max(finished, key=lambda found: found[1])


def _normed(total, length, alpha):
    return total / ((5 + length) / 6) ** alpha


beam_search = Exercise("beam_search", chapter=15, reference=_beam_search, minutes=40, difficulty=4, forbidden=FORBIDDEN)
BEAM_VOCAB, BEAM_LONGEST = 7, 6


def _language(rng, width, *, eager=0.0, longest=BEAM_LONGEST, size=BEAM_VOCAB, peaked=1.5):
    """A step of a small language: each token follows from all before it, the newest counting most. ``eager`` to end."""
    table = torch.tensor(rng.normal(size=(longest + 1, size, size)) * peaked)

    def logits(tokens):
        T = tokens.shape[1]
        fade = 0.7 ** torch.arange(T - 1, -1, -1.0, dtype=torch.float64)
        ids = tokens.clamp(0, size - 1)
        out = (table[torch.arange(T), ids] * fade[:, None]).sum(1)
        out[:, END] += eager + 0.4 * T
        return out + 3 * ids.sum(1, keepdim=True).sin()  # logits are log-probabilities only up to a constant

    return _Step(logits, width, longest)


def _tree(rng, branches, width, longest=BEAM_LONGEST, size=BEAM_VOCAB):
    """A step with these probabilities, a dict of dicts; what is not in it ends. Its logits are shifted by chance."""
    shift = rng.normal(size=longest + 1) * 4

    def logits(tokens):
        out = torch.full((len(tokens), size), 1e-6, dtype=torch.float64)
        for row, text in zip(out, tokens.tolist(), strict=True):
            for token, p in branches.get(tuple(text[1:]), {END: 1.0}).items():
                row[token] = p
        return out.log() + shift[tokens.shape[1]]

    return _Step(logits, width, longest)


def _found(student, step, want, width, alpha, longest=BEAM_LONGEST, cause=""):
    text, score = want
    came = student.beam_search(step, FIRST, END, width, alpha, longest)
    pair = isinstance(came, list | tuple) and len(came) == 2
    texts = _texts([came[0]]) if pair and isinstance(came[0], list | tuple | torch.Tensor | np.ndarray) else None
    expect.true(
        texts is not None,
        f"Your function returned {expect.named(came)}; expected are two things, the best text's ids and its score.",
        "`return text, score`?",
    )
    found = (texts or [[]])[0]
    expect.true(found == text, f"Your best text is {found}; expected is {text}, whose score is {score:.4g}.", cause)
    value = came[1].item() if expect.is_tensor(came[1]) and came[1].numel() == 1 else came[1]
    expect.close(float(value) if isinstance(value, int | float) else value, np.float64(score), cause, 1e-4)


def _searched(make, rng_state, width, alpha, longest=BEAM_LONGEST):
    """A fresh step, and what the reference finds with it: drawn twice from one state."""
    again = np.random.default_rng(rng_state)
    want = _beam_search(make(again), FIRST, END, width, alpha, longest)
    return make(np.random.default_rng(rng_state)), want


def _state(rng):
    return int(rng.integers(1 << 40))


@beam_search.check(points=2)
def test_a_beam_of_two_finds_what_greedy_misses(student, rng):
    """After a (0.6) comes nothing good, after b (0.4) something sure: with two places the beam finds b c. With
    `alpha = 0` its score is its log-probability."""
    a, b, c = (int(token) for token in rng.permutation([3, 4, 5]))
    sure = float(rng.uniform(0.85, 0.95))
    branches = {
        (): {a: 0.6, b: 0.4},
        (a,): {a: 0.3, b: 0.35, c: 0.35 - 1e-3},
        (b,): {c: sure, a: 1 - sure},
    }
    want = ([b, c], math.log(0.4 * sure))
    _found(student, _tree(rng, branches, 2), want, 2, 0.0, cause="Are both beginnings still in the beam in round two?")
    branches = {
        (): {a: 0.7, b: 0.3},
        (a,): {a: 0.5, c: 0.45, b: 0.05},
        (b,): {a: 0.4, b: 0.35, c: 0.25},
        (a, a): {a: 0.4, b: 0.35, c: 0.25},
        (a, c): {b: sure, a: 1 - sure},
    }
    want = ([a, c, b], math.log(0.7 * 0.45 * sure))
    _found(student, _tree(rng, branches, 2), want, 2, 0.0, cause="Here both places belong to one beginning.")
    for width in (2, 3, 5):
        step, want = _searched(lambda r, w=width: _language(r, w), _state(rng), width, 0.0)
        _found(student, step, want, width, 0.0, cause="Of all continuations of all texts, which ones go on?")


@beam_search.check(points=2)
def test_a_finished_text_is_not_forgotten(student, rng):
    """A text that ends early is put aside, and wins in the end if none that goes on is better."""
    a, b, c = (int(token) for token in rng.permutation([3, 4, 5]))
    early = float(rng.uniform(0.4, 0.48))
    going = {(b,) * n: {b: 0.8, c: 0.2 - 1e-3} for n in range(1, BEAM_LONGEST)}
    branches = {(): {END: early, b: 0.51, a: 0.49 - early}, **going}
    want: tuple[list[int], float] = ([], math.log(early))
    _found(student, _tree(rng, branches, 2), want, 2, 0.0, cause="Where do texts go that have ended?")
    branches = {(): {a: 0.55, b: 0.45}, (a,): {END: 0.6, c: 0.4}, (b,): {b: 0.99}, **going}
    want = ([a], math.log(0.33))
    _found(student, _tree(rng, branches, 3), want, 3, 0.0, cause="Where do texts go that have ended?")
    branches = {
        (): {END: 0.45, b: 0.52, a: 0.03},
        (b,): {a: 0.5, c: 0.47, b: 0.03},
        (b, a): {a: 0.35, b: 0.33, c: 0.32},
        (b, c): {c: 0.98, a: 0.02},
    }
    want = ([b, c, c], math.log(0.52 * 0.47 * 0.98) / (9 / 6) ** 2)
    _found(student, _tree(rng, branches, 2), want, 2, 2.0, cause="How many texts go on when one has ended?")
    for width in (2, 4):
        step, want = _searched(lambda r, w=width: _language(r, w, eager=1.0), _state(rng), width, 0.0)
        _found(student, step, want, width, 0.0, cause="Are finished texts compared with those that end later?")


@beam_search.check(points=2)
def test_long_texts_are_not_punished(student, rng):
    """What is compared in the end is log p / ((5 + length) / 6)^α. The end counts into the length, `first` does not."""
    a, b = (int(token) for token in rng.permutation([3, 4]))
    run = float(rng.uniform(0.75, 0.8))
    going: dict[tuple[int, ...], dict[int, float]] = {(b,) * n: {b: run, a: 1 - run} for n in range(1, 5)}
    branches = {(): {END: 0.4, b: 0.6}, **going, (b,) * 5: {END: 1.0}}
    log_p = math.log(0.6) + 4 * math.log(run)
    _found(student, _tree(rng, branches, 2), ([], math.log(0.4)), 2, 0.0, cause="alpha = 0 changes nothing.")
    want = ([b] * 5, log_p / (11 / 6) ** 2)
    _found(student, _tree(rng, branches, 2), want, 2, 2.0, cause="Here six tokens were written, the end among them.")
    for alpha in (0.6, 1.0, 1.7, 1.7):
        step, want = _searched(lambda r: _language(r, 4, eager=0.5), _state(rng), 4, alpha)
        _found(student, step, want, 4, alpha, cause="By what is log p divided, and for which texts?")


@beam_search.check(points=1)
def test_a_beam_of_one_is_greedy(student, rng):
    """With `width = 1` the text is the greedy one."""
    for _ in range(3):
        state = _state(rng)
        step = _language(np.random.default_rng(state), 1)
        (text,) = _greedy_decode(step, torch.tensor([FIRST]), END, BEAM_LONGEST)
        again, want = _searched(lambda r: _language(r, 1), state, 1, 0.0)
        assert want[0] == text, "the reference is not greedy"
        _found(student, again, want, 1, 0.0, cause="Of all candidates, only the single best one goes on, or ends.")


@beam_search.check(points=1)
def test_a_wide_beam_finds_the_best_of_all_texts(student, rng):
    """A beam that never has to drop anything finds the best of all texts: here each of them was tried."""
    size, longest, alpha, state = 4, 3, 0.7, _state(rng)
    step = _language(np.random.default_rng(state), 1, size=size, longest=longest, peaked=1.0)
    every = []
    for length in range(longest + 1):
        for text in itertools.product([t for t in range(size) if t != END], repeat=length):
            written = [*text, END] if length < longest else [*text]
            total = 0.0
            for at, token in enumerate(written):
                step.asked.clear()
                total += float(step(torch.tensor([[FIRST, *text[:at]]]))[0].log_softmax(-1)[token])
            every.append((_normed(total, len(written), alpha), list(text)))
    score, best = max(every)
    wide = size**longest
    step = _language(np.random.default_rng(state), wide, size=size, longest=longest, peaked=1.0)
    _found(student, step, (best, score), wide, alpha, longest, "How is a text ranked that ended, or was cut off?")


@beam_search.check(points=1)
def test_texts_that_are_cut_off_count(student, rng):
    """Texts that have not ended after `longest` tokens take part as they are, with `longest` as their length."""
    a, b = (int(token) for token in rng.permutation([3, 4]))
    p = float(rng.uniform(0.8, 0.9))
    going: dict[tuple[int, ...], dict[int, float]] = {(b,) * n: {b: p, a: 1 - p} for n in range(1, 9)}
    branches = {(): {b: 0.9, END: 0.1}, **going}
    for longest, alpha in ((3, 0.0), (5, 1.0)):
        log_p = math.log(0.9) + (longest - 1) * math.log(p)
        step = _tree(rng, branches, 2, longest)
        want = ([b] * longest, _normed(log_p, longest, alpha))
        _found(student, step, want, 2, alpha, longest, "What becomes of the beam when the loop is over?")


@beam_search.check(points=1)
def test_no_text_is_in_the_beam_twice(student, rng):
    """In round one step is asked about one text, `[first]`; later about `width` at most, all different."""
    for width in (3, 5):
        step, want = _searched(lambda r, w=width: _language(r, w), _state(rng), width, 0.5)
        _found(student, step, want, width, 0.5, cause="With how many texts does the search begin?")
        for number, texts in enumerate(step.asked):
            expect.true(
                len({tuple(text) for text in texts}) == len(texts) and (number or texts == [[FIRST]]),
                f"In round {number + 1} step was asked about {texts}; no text should stand there twice.",
                "With how many texts does the search begin?",
            )


@beam_search.check(points=1)
def test_beam_search_takes_extremes(student, rng):
    """Logits in float32, very large ones, and −∞ for what can never come: all the same."""
    state, width = _state(rng), 3
    language = _language(np.random.default_rng(state), width)

    def extreme(tokens):
        out = language.logits(tokens).float() + 200
        out[:, 0] = -torch.inf
        return out

    want = _beam_search(_Step(extreme, width, BEAM_LONGEST), FIRST, END, width, 0.6, BEAM_LONGEST)
    _found(student, _Step(extreme, width, BEAM_LONGEST), want, width, 0.6, cause="Is `exp` taken of logits?")


@beam_search.inputs
def _searches(rng):
    a, b, c = (int(token) for token in rng.permutation([3, 4, 5]))
    branches = {  # a text ends at once, and the second place is needed later
        (): {END: 0.2, b: 0.8},
        (b,): {a: 0.5, c: 0.47, b: 0.03},
        (b, a): {a: 0.35, b: 0.33, c: 0.32},
        (b, c): {c: 0.98, a: 0.02},
    }
    yield (_tree(rng, branches, 2), FIRST, END, 2, 0.0, BEAM_LONGEST), {}
    for width, alpha, eager in ((2, 0.0, 0.5), (3, 1.0, 0.5), (4, 1.7, 1.0), (3, 0.6, 0.0), (5, 1.0, 1.0)) * 3:
        yield (_language(rng, width, eager=eager), FIRST, END, width, alpha, BEAM_LONGEST), {}


class _Searches:
    """Beam search in steps, which a wrong answer can replace one by one."""

    def __call__(self, step, first, end, width, alpha, longest):
        self.end, self.width, self.alpha, self.longest = end, width, alpha, longest
        self.finished: list[tuple[list[int], float, int]] = []
        beam = self.begin(first)
        for length in range(1, longest + 1):
            logits = step(torch.tensor([text for text, _ in beam]))
            best = self.best(self.candidates(beam, self.log_p(logits)))
            self.finish([one for one in best if one[0][-1] == end], length)
            beam = self.go_on(best)
            if self.over(beam):
                break
        self.cut_off(beam)
        return self.answer()

    def begin(self, first):
        return [([first], 0.0)]

    def log_p(self, logits):
        return logits.log_softmax(-1)

    def candidates(self, beam, log_p):
        return [
            ([*text, token], self.added(total, p))
            for (text, total), row in zip(beam, log_p.tolist(), strict=True)
            for token, p in enumerate(row)
        ]

    def added(self, total, p):
        return total + p

    def best(self, candidates):
        return sorted(candidates, key=lambda one: one[1], reverse=True)[: self.width]

    def finish(self, ended, length):
        self.finished += [(text[1:-1], total, length) for text, total in ended]

    def go_on(self, best):
        return [one for one in best if one[0][-1] != self.end]

    def over(self, beam):
        return not beam

    def cut_off(self, beam):
        self.finished += [(text[1:], total, self.longest) for text, total in beam]

    def score(self, total, length):
        return _normed(total, length, self.alpha)

    def answer(self):
        text, total, length = max(self.finished, key=lambda one: self.score(one[1], one[2]))
        return text, self.score(total, length)


def _beam_mistake(caught_by):
    def declare(kind):
        beam_search.misconception(caught_by=caught_by)(_as_function(kind, kind.__name__))
        return kind

    return declare


@_beam_mistake(test_a_finished_text_is_not_forgotten)
class DropsFinishedTexts(_Searches):
    """Texts that ended were dropped: only those still growing at the last round were compared. A finished text leaves
    the beam, but not the competition. Put it aside with its score."""

    def finish(self, ended, length):
        if len(self.finished) == 0 and all(text[-1] == self.end for text in self.last):
            super().finish(ended, length)

    def best(self, candidates):
        self.last = super().best(candidates)
        return self.last


@_beam_mistake(test_long_texts_are_not_punished)
class IgnoresAlpha(_Searches):
    """The sums of log-probabilities were compared as they are; `alpha` does nothing. Each token makes the sum smaller,
    so short texts win. Divide by ((5 + length) / 6)^α."""

    def score(self, total, length):
        return total


@_beam_mistake(test_long_texts_are_not_punished)
class RanksWithoutNorm(_Searches):
    """The winner was chosen by log p, and its score was normalised afterwards. Then `alpha` changes a number and not
    the choice. Normalise first, compare then."""

    def answer(self):
        text, total, length = max(self.finished, key=lambda one: one[1])
        return text, self.score(total, length)


@_beam_mistake(test_long_texts_are_not_punished)
class ReportsTheSum(_Searches):
    """The text is chosen rightly, but the score that comes with it is the plain sum of log-probabilities. Return what
    you compared."""

    def answer(self):
        return max(self.finished, key=lambda one: self.score(one[1], one[2]))[:2]


@_beam_mistake(test_long_texts_are_not_punished)
class MultipliesByTheNorm(_Searches):
    """Here log p was *multiplied* by the norm. It is negative, so that punishes long texts once more. Divide."""

    def score(self, total, length):
        return total * ((5 + length) / 6) ** self.alpha


@_beam_mistake(test_a_finished_text_is_not_forgotten)
class DividesByTheLength(_Searches):
    """Here log p was divided by the length, whatever `alpha` says: that is the mean for each token, and it is harsh on
    short texts. With `alpha = 0` nothing may change."""

    def score(self, total, length):
        return total / length


@_beam_mistake(test_long_texts_are_not_punished)
class TakesTheBareLength(_Searches):
    """Here log p was divided by length^α. That is a norm, too, and some use it; the one asked for here is
    ((5 + length) / 6)^α, which is gentler with texts of one or two tokens."""

    def score(self, total, length):
        return total / length**self.alpha


@_beam_mistake(test_long_texts_are_not_punished)
class DividesTheLengthOnly(_Searches):
    """A bracket is missing: 5 + length/6 is not (5 + length)/6. Python divides before it adds."""

    def score(self, total, length):
        return total / (5 + length / 6) ** self.alpha


@_beam_mistake(test_long_texts_are_not_punished)
class ForgetsTheSix(_Searches):
    """Here log p was divided by (5 + length)^α, without the 6. The winner is the same, but the score is too near to
    zero: the norm of a text of one token is 1."""

    def score(self, total, length):
        return total / (5 + length) ** self.alpha


@_beam_mistake(test_long_texts_are_not_punished)
class LeavesTheSixOutsideThePower(_Searches):
    """The power was taken of 5 + length alone, and divided by 6 afterwards: (5 + length)^α / 6. The 6 belongs under the
    power, ((5 + length) / 6)^α, so that with α = 0 the norm is 1."""

    def score(self, total, length):
        return total / ((5 + length) ** self.alpha / 6)


@_beam_mistake(test_long_texts_are_not_punished)
class NormsInEveryRound(_Searches):
    """The running totals were divided by the norm in every round, so that the early tokens of a text were divided many
    times. Keep plain sums in the beam, and divide a copy when a text is finished."""

    def added(self, total, p):
        return (total + p) / self.norm

    def begin(self, first):
        self.round = 0
        return super().begin(first)

    def log_p(self, logits):
        self.round += 1
        self.norm = ((5 + self.round) / 6) ** self.alpha
        return super().log_p(logits)

    def score(self, total, length):
        return total


@_beam_mistake(test_a_beam_of_two_finds_what_greedy_misses)
class ReturnsAProbability(_Searches):
    """`exp` was taken of the score. With α = 0 that is a probability, a number between 0 and 1; asked for is the score
    itself, a (negative) log-probability divided by the norm."""

    def answer(self):
        text, score = super().answer()
        return text, math.exp(score)


@_beam_mistake(test_a_beam_of_two_finds_what_greedy_misses)
class ForgetsWhoseTokenItIs(_Searches):
    """The chosen tokens were hung behind the texts of the beam in the order of *rank*: the best candidate behind text
    0, the next behind text 1. A candidate goes on from its own text: `beam[flat // V]`."""

    def candidates(self, beam, log_p):
        self.beam = [text for text, _ in beam]
        return super().candidates(beam, log_p)

    def best(self, candidates):
        best = super().best(candidates)
        last = len(self.beam) - 1
        return [([*self.beam[min(rank, last)], text[-1]], total) for rank, (text, total) in enumerate(best)]


@_beam_mistake(test_long_texts_are_not_punished)
class StopsWhenEnoughHaveEnded(_Searches):
    """The search stopped when `width` texts had ended. One that is still in the beam may be better, and with α > 0
    often is: it is over when the beam is *empty*, or after `longest` rounds."""

    def over(self, beam):
        return len(self.finished) >= self.width or not beam

    def cut_off(self, beam):
        if len(self.finished) < self.width:
            super().cut_off(beam)


@_beam_mistake(test_a_finished_text_is_not_forgotten)
class GivesUpOnTheLate(_Searches):
    """The search stopped when the best finished text had a better score than anything in the beam *at that moment*. The
    norm still grows with every token, so a text in the beam can overtake. It is over when the beam is empty, or after
    `longest` rounds."""

    early = False

    def over(self, beam):
        if not beam or not self.finished:
            return not beam
        best = max(self.score(total, length) for _, total, length in self.finished)
        self.early = best >= self.score(beam[0][1], len(beam[0][0]) - 1)
        return self.early

    def cut_off(self, beam):
        if not self.early:
            super().cut_off(beam)


@_beam_mistake(test_long_texts_are_not_punished)
class StopsWhenEnoughHaveEndedWithTheRest(_Searches):
    """The search stopped when `width` texts had ended, and what was left in the beam took part as it stood. It might
    have become better: the search is over when the beam is *empty*, or after `longest` rounds."""

    def over(self, beam):
        return len(self.finished) >= self.width or not beam

    def cut_off(self, beam):
        self.finished += [(text[1:], total, len(text) - 1) for text, total in beam]


@_beam_mistake(test_long_texts_are_not_punished)
class StopsAtTheFirstEnd(_Searches):
    """The search stopped as soon as one text had ended, and what was left in the beam took part as it stood, without
    its end. Let it go on: the search is over when the beam is *empty*, or after `longest` rounds."""

    def over(self, beam):
        return bool(self.finished) or not beam

    def cut_off(self, beam):
        self.finished += [(text[1:], total, len(text) - 1) for text, total in beam]


@_beam_mistake(test_texts_that_are_cut_off_count)
class WritesOneTooFew(_Searches):
    """One round is missing: `longest` tokens are written, and `first` is none of them."""

    def __call__(self, step, first, end, width, alpha, longest):
        return super().__call__(step, first, end, width, alpha, longest - 1)


@_beam_mistake(test_long_texts_are_not_punished)
class MultipliesAlpha(_Searches):
    """The norm was multiplied by α. It is its *exponent*: with α = 0 the norm is 1, not 0."""

    def score(self, total, length):
        return total / ((5 + length) / 6 * self.alpha) if self.alpha else total


@_beam_mistake(test_long_texts_are_not_punished)
class ForgetsTheEndInTheLength(_Searches):
    """The end was left out of the length. It is a token that was written, and paid for with its own log-probability."""

    def finish(self, ended, length):
        super().finish(ended, length - 1)


@_beam_mistake(test_texts_that_are_cut_off_count)
class CountsTheFirstToken(_Searches):
    """`first` was counted into the length. It was given, not written, and its probability is in no sum."""

    def score(self, total, length):
        return super().score(total, length + 1)


@_beam_mistake(test_no_text_is_in_the_beam_twice)
class BeginsWithCopies(_Searches):
    """This is the greedy text, whatever `width` is. Does the search begin with `width` copies of the first token?
    Copies have the same candidates, so the beam stays full of one and the same text. Begin with *one*."""

    def begin(self, first):
        return [([first], 0.0)] * self.width


@_beam_mistake(test_a_beam_of_two_finds_what_greedy_misses)
class AddsLogits(_Searches):
    """Logits were added up as they are. They are log-probabilities only up to a constant, another one for each text, so
    they cannot be compared between texts. `log_softmax` first."""

    def log_p(self, logits):
        return logits.double()


@_beam_mistake(test_beam_search_takes_extremes)
class TakesTheLogAfterwards(_Searches):
    """`exp` was taken of the logits as they are, then the logarithm of each share. Of large logits `exp` is infinite.
    `log_softmax` does it in one step, and safely."""

    def log_p(self, logits):
        return (logits.exp() / logits.exp().sum(-1, keepdim=True)).log()


@_beam_mistake(test_a_beam_of_two_finds_what_greedy_misses)
class AddsProbabilities(_Searches):
    """Probabilities were added up. Those of a chain are *multiplied*, and it is their logarithms that are added."""

    def log_p(self, logits):
        return logits.softmax(-1)


@_beam_mistake(test_a_beam_of_two_finds_what_greedy_misses)
class MultipliesLogs(_Searches):
    """Log-probabilities were multiplied. Probabilities are multiplied; their logarithms are added."""

    def begin(self, first):
        return [([first], -1.0)]

    def added(self, total, p):
        return -abs(total * p)


@_beam_mistake(test_a_beam_of_two_finds_what_greedy_misses)
class ForgetsThePast(_Searches):
    """Only the newest token's log-probability was kept. A text's is the *sum* over its tokens; add what the text had
    before."""

    def added(self, total, p):
        return p


@_beam_mistake(test_a_beam_of_two_finds_what_greedy_misses)
class SendsOutGreedyScouts(_Searches):
    """Each text of the beam went on with its own best token only: that is `width` greedy searches side by side. The
    places of the beam are given to the best of *all* candidates, and a strong text may take several."""

    def best(self, candidates):
        if len({tuple(text[:-1]) for text, _ in candidates}) == 1 and len(candidates[0][0]) == 2:
            return super().best(candidates)
        own: dict[tuple[int, ...], Any] = {}
        for one in super().best(candidates) + sorted(candidates, key=lambda one: one[1], reverse=True):
            own.setdefault(tuple(one[0][:-1]), one)
        return list(own.values())


@_beam_mistake(test_a_finished_text_is_not_forgotten)
class TakesTheFirstToEnd(_Searches):
    """The search stopped as soon as one text had ended. A longer one that is still in the beam may be better, and with
    α > 0 often is."""

    def over(self, beam):
        return bool(self.finished) or not beam

    def cut_off(self, beam):
        if not self.finished:
            super().cut_off(beam)


@_beam_mistake(test_a_beam_of_one_is_greedy)
class KeepsTheBeamFull(_Searches):
    """Texts that ended were set aside *first*, and the best `width` of the others went on, so the beam is always full.
    Some libraries do that (they look at 2 · width candidates). Here the `width` places are given to the best of all
    candidates, ended or not: only then a beam of one is greedy, and the search ends by itself."""

    def best(self, candidates):
        ranked = sorted(candidates, key=lambda one: one[1], reverse=True)
        going = [one for one in ranked if one[0][-1] != self.end][: self.width]
        return [one for one in ranked[: 2 * self.width] if one[0][-1] == self.end] + going


@_beam_mistake(test_a_finished_text_is_not_forgotten)
class KeepsThePlacesOfTheFinished(_Searches):
    """A text that ended kept its place, so the beam became narrower with each of them. It leaves: in every round
    `width` candidates are chosen anew from those of the texts that go on."""

    def best(self, candidates):
        return sorted(candidates, key=lambda one: one[1], reverse=True)[: max(self.width - len(self.finished), 0)]


@_beam_mistake(test_a_finished_text_is_not_forgotten)
class GoesOnAfterTheEnd(_Searches):
    """Texts that had ended were continued: more tokens were written behind their end, and paid for. A text that ended
    leaves the beam with the score that it has."""

    def finish(self, ended, length):
        pass

    def go_on(self, best):
        return best

    def cut_off(self, beam):
        self.finished = [(_until(text[1:], self.end), total, len(text) - 1) for text, total in beam]


@_beam_mistake(test_texts_that_are_cut_off_count)
class DropsWhatIsCutOff(_Searches):
    """Texts that had not ended after `longest` tokens were dropped. They count as they stand, and if no text has ended
    they are all there is."""

    def cut_off(self, beam):
        if not self.finished:
            super().cut_off(beam)


@_beam_mistake(test_texts_that_are_cut_off_count)
class DoesNotNormTheCutOff(_Searches):
    """The scores of texts that were cut off were not normalised, those of finished ones were. Only like can be compared
    with like: divide both."""

    def cut_off(self, beam):
        norm = ((5 + self.longest) / 6) ** self.alpha
        self.finished += [(text[1:], total * norm, self.longest) for text, total in beam]


@_beam_mistake(test_texts_that_are_cut_off_count)
class CutsTheCutOff(_Searches):
    """The last token of a text that was cut off is missing. Only a text that *ended* has an end to be taken away."""

    def cut_off(self, beam):
        self.finished += [(text[1:-1], total, self.longest) for text, total in beam]


@_beam_mistake(test_a_beam_of_two_finds_what_greedy_misses)
class KeepsTheWorst(_Searches):
    """The *least* likely candidates went on. Log-probabilities are negative: the largest, nearest to zero, are the
    likeliest."""

    def best(self, candidates):
        return sorted(candidates, key=lambda one: one[1])[: self.width]


@_beam_mistake(test_a_beam_of_two_finds_what_greedy_misses)
class ReturnsTheWorst(_Searches):
    """The finished text with the *lowest* score was returned. Scores are negative: the best is the one nearest to
    zero."""

    def answer(self):
        text, total, length = min(self.finished, key=lambda one: self.score(one[1], one[2]))
        return text, self.score(total, length)


@_beam_mistake(test_a_beam_of_two_finds_what_greedy_misses)
class ReturnsTheEndToo(_Searches):
    """The end token is still in the text. It says where a text stops; it is no part of it."""

    def finish(self, ended, length):
        self.finished += [(text[1:], total, length) for text, total in ended]


@_beam_mistake(test_a_beam_of_two_finds_what_greedy_misses)
class ReturnsTheFirstToo(_Searches):
    """The first token is still in the text. It was given, not written."""

    def answer(self):
        text, score = super().answer()
        return [FIRST, *text], score


@beam_search.alternative
def beam_with_tensors(step, first, end, width, alpha, longest):
    beam, totals, found = torch.tensor([[first]]), torch.zeros(1, dtype=torch.float64), []
    for length in range(1, longest + 1):
        log_p = totals[:, None] + step(beam).double().log_softmax(-1)
        size = log_p.shape[1]
        totals, flat = log_p.flatten().topk(min(width, log_p.numel()))
        beam = torch.cat([beam[flat // size], (flat % size)[:, None]], dim=1)
        ended = beam[:, -1] == end
        norm = ((5 + length) / 6) ** alpha
        found += [(t[1:-1], s / norm) for t, s in zip(beam[ended].tolist(), totals[ended].tolist(), strict=True)]
        beam, totals = beam[~ended], totals[~ended]
        if not len(beam):
            break
    found += [(t[1:], s / norm) for t, s in zip(beam.tolist(), totals.tolist(), strict=True)]
    return max(found, key=lambda one: one[1])


@beam_search.alternative
def beam_that_keeps_the_best_so_far(step, first, end, width, alpha, longest, *, verbose=False):
    winner: tuple[list[int], float] | None = None
    beam: dict[tuple[int, ...], float] = {(first,): 0.0}
    for length in range(1, longest + 1):
        pool: dict[tuple[int, ...], float] = {}
        for text, logits in zip(beam, step(torch.tensor([list(text) for text in beam])), strict=True):
            top = logits.log_softmax(-1).topk(min(width, len(logits)))  # no text can take more places than there are
            for value, token in zip(top.values, top.indices, strict=True):
                pool[(*text, int(token))] = beam[text] + float(value)
        beam = {}
        for text in sorted(pool, key=pool.__getitem__, reverse=True)[:width]:
            if text[-1] == end or length == longest:
                score = pool[text] / ((5 + length) / 6) ** alpha
                if winner is None or score > winner[1]:
                    winner = list(text[1:-1] if text[-1] == end else text[1:]), score
            if text[-1] != end:
                beam[text] = pool[text]
        if not beam:
            break
    return winner


# ---------------------------------------------------------------------------------------------------------- sample


def _kept(logits, temperature=1.0, top_k=None, top_p=None):
    """The probabilities from which a token is drawn."""
    p = (logits / temperature).softmax(-1)
    size = p.shape[-1]
    order = p.argsort(dim=-1, descending=True, stable=True)
    ranked = p.gather(-1, order)
    if top_k is not None:
        ranked = ranked * (torch.arange(size) < top_k)
        ranked = ranked / ranked.sum(-1, keepdim=True)
    if top_p is not None:
        ranked = ranked * (ranked.cumsum(-1) - ranked < top_p)
    ranked = ranked / ranked.sum(-1, keepdim=True)
    return torch.zeros_like(p).scatter(-1, order, ranked)


def _thrown(p, rng, u=None):
    """A dart on a ruler of length one, on which the probabilities lie side by side."""
    u = torch.tensor(rng.random(p.shape[:-1]) if u is None else u)
    cumulated = p.double().cumsum(-1)
    return (cumulated <= (u * cumulated[..., -1])[..., None]).sum(-1).clamp(max=p.shape[-1] - 1)


def _sample(logits, temperature=1.0, top_k=None, top_p=None, rng=None):
    return _thrown(_kept(logits, temperature, top_k, top_p), rng)


sample = Exercise("sample", chapter=15, reference=_sample, minutes=25, difficulty=3, forbidden=FORBIDDEN)
DRAWS = 3000


def _dice(rng, order):
    """Logits of seven tokens whose probabilities are .34, .24, .16, .11, .07, .05, .03, in this order."""
    p = torch.tensor([0.34, 0.24, 0.16, 0.11, 0.07, 0.05, 0.03], dtype=torch.float64)
    return (p.log() + float(rng.normal()))[torch.tensor(order)]


def _fresh(rng):
    return np.random.default_rng(int(rng.integers(1 << 40)))


def _drawn_ids(came, shape, size):
    ids = expect.is_array(came, shape, "One token for each row of logits.")
    expect.true(ids.dtype.kind in "iu", f"Your tokens are {ids.dtype}; expected are whole numbers, ids.", "")
    outside = ids[(ids < 0) | (ids >= size)]
    expect.true(
        outside.size == 0, f"Token {outside[:1]} came; ids run from 0 to {size - 1}.", "Do the shares sum to 1?"
    )
    return ids


def _frequencies(student, rng, cause, draws=DRAWS, **settings):
    """Draw very often from one set of logits; which tokens came, and how often, must be right.

    First the likeliest token is number 0, and so on. There it is all one whether an answer lays the tokens on its ruler
    in the order of the vocabulary or in that of their shares, so a mistake is recognised in either.
    """
    _frequency(student, rng, np.arange(7), cause, draws, **settings)
    _frequency(student, rng, rng.permutation(7), cause, draws, **settings)


def _frequency(student, rng, order, cause, draws, **settings):
    logits = _dice(rng, order)
    p = _kept(logits, **settings).numpy()
    came = student.sample(logits.expand(draws, 7).contiguous(), **settings, rng=_fresh(rng))
    share = np.bincount(_drawn_ids(came, (draws,), 7), minlength=7) / draws
    full = logits.softmax(-1).numpy()
    for token in np.argsort(-full):
        about = f"The token number {token}, whose probability is {full[token]:.2f} before all cuts,"
        expect.true(
            p[token] > 0 or share[token] == 0,
            f"{about} came {share[token]:.1%} of the time; it should have been cut off.",
            cause,
        )
        chance = 6 * math.sqrt(p[token] * (1 - p[token]) / draws)  # a right answer leaves this once in a billion times
        expect.true(
            abs(share[token] - p[token]) < chance + 0.002,
            f"{about} came {share[token]:.1%} of the time in {draws} draws; expected is {p[token]:.1%}.",
            cause,
        )


@sample.check(points=1)
def test_tokens_come_as_often_as_they_should(student, rng):
    """In many draws each token comes as often as its probability says. Where nothing is cut, all can come."""
    _frequencies(student, rng, "Is softmax taken over the tokens, and then a token drawn with these probabilities?")
    many = 101
    ids = _drawn_ids(student.sample(torch.zeros(4500, many), rng=_fresh(rng)), (4500,), many)
    came = len(set(ids.tolist()))  # a right answer misses one less than once in 10¹⁷ times
    expect.true(
        came == many,
        f"Of {many} tokens that are all equally likely, only {came} came in 4,500 draws.",
        "Nobody gave `top_k` or `top_p`: is something cut all the same?",
    )


@sample.check(points=1)
def test_temperature_divides(student, rng):
    """The logits are divided by the temperature: below 1 the likeliest comes more often, above 1 less."""
    for temperature in (0.4, 2.5):
        _frequencies(student, rng, f"temperature = {temperature}: which way does it go?", temperature=temperature)


@sample.check(points=2)
def test_top_k_keeps_k(student, rng):
    """With `top_k`, the k likeliest tokens can come and no other; among them the probabilities keep their
    proportions."""
    for k in (3, 1, 5):
        _frequencies(student, rng, f"top_k = {k}: how many are left, and do their shares sum to 1 again?", top_k=k)


@sample.check(points=2)
def test_top_p_keeps_the_token_that_crosses(student, rng):
    """With `top_p`, the likeliest tokens stay that together have p or more: the one that crosses p stays, too."""
    for p in (0.5, 0.8, 0.2, 1.0, 0.95):
        _frequencies(student, rng, f"top_p = {p}: what do the kept tokens sum to, before they are scaled?", top_p=p)


@sample.check(points=1)
def test_first_temperature_then_k_then_p(student, rng):
    """Together: divide by the temperature, keep k, and apply p to what is left, scaled to 1."""
    _frequencies(student, rng, "Is p applied to the shares of the k tokens, or of all?", top_k=4, top_p=0.75)
    _frequencies(student, rng, "Is p applied to the shares after the temperature?", temperature=2.5, top_p=0.55)
    _frequencies(student, rng, "In which order?", temperature=1.7, top_k=5, top_p=0.8)


@sample.check(points=1)
def test_each_row_has_a_draw_of_its_own(student, rng):
    """Rows of a batch, with any axes in front, are cut and drawn each for itself. The shape is that of the logits
    without the last axis."""
    logits = torch.tensor(rng.normal(size=(3, 5, 7))).mul(2)
    p = _kept(logits, 1.0, 2, 0.9).numpy()
    ids = _drawn_ids(student.sample(logits, top_k=2, top_p=0.9, rng=_fresh(rng)), (3, 5), 7)
    for at in np.ndindex(3, 5):
        expect.true(
            p[at][ids[at]] > 0,
            f"In row {at} your function drew token {ids[at]}, which is none of the two likeliest of *that* row.",
            "Is every row sorted and cut for itself?",
        )
    sure, unsure = torch.tensor([0.4, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]).log() + 1, torch.linspace(0, 0.06, 7)
    for rows in ((sure, unsure), (unsure, sure)):
        both = torch.stack(rows).expand(150, 2, 7).contiguous()
        ids = _drawn_ids(student.sample(both, top_p=0.35, rng=_fresh(rng)), (150, 2), 7)
        which = 0 if rows[0] is sure else 1
        kinds = [len(set(ids[:, row].tolist())) for row in (which, 1 - which)]
        expect.true(
            kinds == [1, 3],
            f"With top_p = 0.35, rows whose likeliest token has 0.40 gave {kinds[0]} different tokens, and rows of "
            f"seven nearly equal ones {kinds[1]}; expected are 1 and 3.",
            "Is every row cut for itself?",
        )
    even = torch.zeros(40, 7)
    ids = _drawn_ids(student.sample(even, rng=_fresh(rng)), (40,), 7)
    expect.true(
        len(set(ids.tolist())) > 2,
        f"In 40 rows with equal chances for 7 tokens, only {sorted(set(ids.tolist()))} came.",
        "Does each row have a random number of its own?",
    )


@sample.check(points=1)
def test_chance_comes_from_rng(student, rng):
    """The same state of `rng` gives the same tokens, and another one gives others."""
    logits = torch.tensor(rng.normal(size=(60, 7))).float()
    seed = int(rng.integers(1 << 40))
    p = _kept(logits, 0.7, 4).numpy()
    first, second, other = (
        _drawn_ids(student.sample(logits, 0.7, 4, rng=np.random.default_rng(s)), (60,), 7)
        for s in (seed, seed, seed + 1)
    )
    expect.true(bool((p[np.arange(60), first] > 0).all()), "A token came that is none of the top 4.", "")
    expect.true(
        bool((first == second).all()),
        "The same logits and the same random state gave different tokens.",
        "Does all chance come from `rng`?",
    )
    expect.true(
        bool((first != other).any()),
        "Two different random states gave the same 60 tokens.",
        "Is `rng` used, or a generator that you made yourself?",
    )


@sample.check(points=1)
def test_sample_takes_extremes(student, rng):
    """Huge logits, −∞, float32, views with gaps, a k beyond V that keeps all; and the logits are the same
    afterwards."""
    best = rng.integers(7, size=8)
    logits = torch.tensor(rng.normal(size=(8, 14))).float()[:, ::2] * 20000
    logits[torch.arange(8), torch.tensor(best)] = 3e6
    logits[:, 0] = torch.where(torch.tensor(best) == 0, logits[:, 0], -torch.inf)
    for settings in ({}, {"temperature": 0.05}, {"top_p": 0.9}, {"top_k": 3}):
        ids = _drawn_ids(student.sample(logits, **settings, rng=_fresh(rng)), (8,), 7)
        expect.true(
            ids.tolist() == best.tolist(),
            f"Where one logit stands far above all others, {ids.tolist()} came; expected is {best.tolist()}.",
            "Is `exp` taken of large numbers? torch.softmax is safe.",
        )
    _frequencies(student, rng, "top_k = 99, and there are 7 tokens: all of them stay.", draws=600, top_k=99)
    expect.unchanged(student, "Does `/=` or `[…] = -inf` write into the logits? `logits / temperature` does not.")


@sample.inputs
def _dice_and_settings(rng):
    for settings in ((1.0, None, None), (0.6, 3, None), (1.6, None, 0.6), (1.8, 5, 0.8), (0.5, 4, 0.7)) * 2:
        logits = torch.tensor(rng.normal(size=(40, 7))).mul(1.5)
        yield (logits.sort(dim=-1, descending=True).values, *settings, _fresh(rng)), {}
        yield (logits, *settings, _fresh(rng)), {}


class _Draws:
    """Sampling in steps, which a wrong answer can replace one by one."""

    def __call__(self, logits, temperature=1.0, top_k=None, top_p=None, rng=None):
        self.rng = rng
        logits = self.warmed(logits, temperature)
        for cut in self.cuts(logits, top_k, top_p):
            logits = cut(logits)
        return self.draw(logits)

    def warmed(self, logits, temperature):
        return logits / temperature

    def cuts(self, logits, top_k, top_p):
        steps = []
        if top_k is not None:
            steps.append(lambda x: self.keep_k(x, min(top_k, x.shape[-1])))
        if top_p is not None:
            steps.append(lambda x: self.keep_p(x, top_p))
        return steps

    def keep_k(self, logits, k):
        return self.hide(logits, logits.argsort(-1, descending=True).argsort(-1) >= k)

    def keep_p(self, logits, top_p):
        ranked, order = logits.softmax(-1).sort(dim=-1, descending=True, stable=True)
        return self.hide(logits, self.beyond(ranked, top_p).gather(-1, order.argsort(-1)))

    def beyond(self, ranked, top_p):
        return ranked.cumsum(-1) - ranked >= top_p

    def hide(self, logits, hidden):
        return logits.masked_fill(hidden, -torch.inf)

    def draw(self, logits):
        return _thrown(logits.softmax(-1), self.rng)


def _sample_mistake(caught_by):
    def declare(kind):
        sample.misconception(caught_by=caught_by)(_as_function(kind, kind.__name__))
        return kind

    return declare


@_sample_mistake(test_temperature_divides)
class MultipliesByTheTemperature(_Draws):
    """The logits were multiplied by the temperature. Heat spreads: a *high* one has to make the shares more even, so it
    divides."""

    def warmed(self, logits, temperature):
        return logits * temperature


@_sample_mistake(test_temperature_divides)
class DividesProbabilitiesByTheTemperature(_Draws):
    """The *probabilities* were divided by the temperature. Then they do not sum to 1 any more, and their proportions
    are what they were. Divide the logits, before softmax."""

    def warmed(self, logits, temperature):
        self.temperature = temperature
        return logits

    def draw(self, logits):
        ends = (logits.softmax(-1) / self.temperature).cumsum(-1)
        return (ends <= torch.tensor(self.rng.random(ends.shape[:-1]))[..., None]).sum(-1).clamp(max=ends.shape[-1] - 1)


@_sample_mistake(test_tokens_come_as_often_as_they_should)
class CutsAtFiftyUnlessTold(_Draws):
    """Where nobody says `top_k`, only the 50 likeliest tokens can come. Some libraries do that; the signature here
    promises `None`, which cuts nothing."""

    def cuts(self, logits, top_k, top_p):
        return super().cuts(logits, 50 if top_k is None else top_k, top_p)


@_sample_mistake(test_each_row_has_a_draw_of_its_own)
class CutsAllRowsAtOnePlace(_Draws):
    """How many tokens `top_p` keeps was found out from the first row, and taken for all. One row may be sure and keep
    one token, another unsure and keep many: cut each for itself."""

    def beyond(self, ranked, top_p):
        first = super().beyond(ranked, top_p).reshape(-1, ranked.shape[-1])[0]
        return first.expand(ranked.shape)


@_sample_mistake(test_temperature_divides)
class IgnoresTheTemperature(_Draws):
    """The temperature changes nothing. (Dividing *probabilities* by it does nothing either: they are scaled to 1 again
    afterwards.) Divide the logits, before softmax."""

    def warmed(self, logits, temperature):
        return logits


@_sample_mistake(test_top_k_keeps_k)
class IgnoresTopK(_Draws):
    """`top_k` was taken and never used: every token can come."""

    def keep_k(self, logits, k):
        return logits


@_sample_mistake(test_top_p_keeps_the_token_that_crosses)
class IgnoresTopP(_Draws):
    """`top_p` was taken and never used: the whole tail can come."""

    def keep_p(self, logits, top_p):
        return logits


@_sample_mistake(test_top_k_keeps_k)
class KeepsTheKUnlikeliest(_Draws):
    """The k *unlikeliest* tokens were kept. Is the sorting ascending?"""

    def keep_k(self, logits, k):
        return self.hide(logits, logits.argsort(-1).argsort(-1) >= k)


@_sample_mistake(test_top_k_keeps_k)
class KeepsOneLessThanK(_Draws):
    """One token too few was kept: the k-th itself was dropped. Everything *below* the k-th goes; it stays."""

    def keep_k(self, logits, k):
        return super().keep_k(logits, max(k - 1, 1))


@_sample_mistake(test_top_k_keeps_k)
class KeepsOneMoreThanK(_Draws):
    """One token too many was kept. Ranks are counted from 0: keep those below k."""

    def keep_k(self, logits, k):
        return super().keep_k(logits, k + 1)


@_sample_mistake(test_top_k_keeps_k)
class HidesWithZero(_Draws):
    """The logits of the tokens that should be hidden were set to 0. A logit of 0 is a share of exp(0) = 1 before it is
    scaled, and may be the largest of all. Hidden is −∞ (chapter 5)."""

    def hide(self, logits, hidden):
        return logits.masked_fill(hidden, 0)


@_sample_mistake(test_tokens_come_as_often_as_they_should)
class SoftmaxesTwice(_Draws):
    """Softmax was taken twice, of shares as if they were logits. That makes all tokens nearly equally likely."""

    def draw(self, logits):
        return _thrown(logits.softmax(-1).softmax(-1), self.rng)


@_sample_mistake(test_first_temperature_then_k_then_p)
class CutsOnlyOnce(_Draws):
    """With both `top_k` and `top_p` given, only the first was applied: an `elif`, or a `return` too soon. They are two
    cuts, one after the other."""

    def cuts(self, logits, top_k, top_p):
        return super().cuts(logits, top_k, top_p)[:1]


@_sample_mistake(test_sample_takes_extremes)
class AsksForMoreThanThereAre(_Draws):
    """`topk(k)` raises an error where k is larger than the number of tokens. Then all of them stay: `min(top_k, V)`."""

    def cuts(self, logits, top_k, top_p):
        if top_k is not None:
            logits.topk(top_k)
        return super().cuts(logits, top_k, top_p)


@_sample_mistake(test_chance_comes_from_rng)
class DrawsWithMultinomial(_Draws):
    """`torch.multinomial` drew the token. Its chance comes from PyTorch's own generator and not from `rng`, so nobody
    who passes the same `rng` gets the same text again. Throw the dart yourself, with `rng.random(…)`."""

    def draw(self, logits):
        p = logits.softmax(-1)
        return torch.multinomial(p.reshape(-1, p.shape[-1]), 1).reshape(p.shape[:-1])


@_sample_mistake(test_top_k_keeps_k)
class KeepsTheFirstK(_Draws):
    """The *first* k tokens of the vocabulary were kept, not the likeliest k. An id says nothing about likeliness: sort
    first."""

    def keep_k(self, logits, k):
        return self.hide(logits, (torch.arange(logits.shape[-1]) >= k).expand(logits.shape))


@_sample_mistake(test_each_row_has_a_draw_of_its_own)
class CutsAllRowsAlike(_Draws):
    """One threshold was taken for the whole batch: the k-th largest logit of *one* row decides for all. Each row is cut
    for itself."""

    def keep_k(self, logits, k):
        rank = logits.reshape(-1, logits.shape[-1])[0].argsort(-1, descending=True).argsort(-1)
        return self.hide(logits, (rank >= k).expand(logits.shape))


@_sample_mistake(test_top_p_keeps_the_token_that_crosses)
class DropsTheTokenThatCrosses(_Draws):
    """The token with which the sum crosses p was dropped. Then the kept ones have *less* than p, and where the first
    alone crosses it nothing is left to draw. Keep a token while those *before* it have less than p."""

    def beyond(self, ranked, top_p):
        beyond = ranked.cumsum(-1) > top_p
        beyond[..., 0] = False
        return beyond


@_sample_mistake(test_top_p_keeps_the_token_that_crosses)
class KeepsOneAfterTheCrossing(_Draws):
    """One token too many was kept: the one *after* that with which the sum crosses p. When p is reached, it is
    enough."""

    def beyond(self, ranked, top_p):
        beyond = super().beyond(ranked, top_p)
        return torch.cat([torch.zeros_like(beyond[..., :1]), beyond[..., :-1]], -1)


@_sample_mistake(test_top_p_keeps_the_token_that_crosses)
class TakesPForAThreshold(_Draws):
    """Each token was compared with p by itself. It is the *sum* over the likeliest ones that has to reach p: sort, and
    add up with `cumsum`."""

    def beyond(self, ranked, top_p):
        beyond = ranked < top_p
        beyond[..., 0] = False
        return beyond


@_sample_mistake(test_top_p_keeps_the_token_that_crosses)
class KeepsTheTail(_Draws):
    """The sum was taken from the *unlikeliest* token on, so the tail was kept and the head cut off. Sort in descending
    order."""

    def keep_p(self, logits, top_p):
        ranked, order = logits.softmax(-1).sort(dim=-1, stable=True)
        return self.hide(logits, (ranked.cumsum(-1) - ranked >= top_p).gather(-1, order.argsort(-1)))


@_sample_mistake(test_top_p_keeps_the_token_that_crosses)
class AddsUpUnsorted(_Draws):
    """The probabilities were added up in the order of the vocabulary. p is about the *likeliest* tokens: sort first,
    and put the cut back into the old order."""

    def keep_p(self, logits, top_p):
        return self.hide(logits, self.beyond(logits.softmax(-1), top_p))


@_sample_mistake(test_top_p_keeps_the_token_that_crosses)
class CutsInTheWrongOrder(_Draws):
    """What to cut was found on the *sorted* probabilities and applied to the unsorted ones. Take it back through the
    sorting: `gather` with `order.argsort(-1)`, or `scatter` with `order`."""

    def keep_p(self, logits, top_p):
        ranked = logits.softmax(-1).sort(dim=-1, descending=True, stable=True).values
        return self.hide(logits, self.beyond(ranked, top_p))


@_sample_mistake(test_tokens_come_as_often_as_they_should)
class ReturnsTheRank(_Draws):
    """What was returned is the *rank* of the token among the sorted ones, not its id. `order[rank]` is the id."""

    def draw(self, logits):
        return _thrown(logits.softmax(-1).sort(-1, descending=True).values, self.rng)


@_sample_mistake(test_first_temperature_then_k_then_p)
class AppliesPBeforeK(_Draws):
    """The cut at p was applied to the shares of *all* tokens, k afterwards (or at the same time). What was asked for:
    keep k, scale to 1, and apply p to that."""

    def cuts(self, logits, top_k, top_p):
        return super().cuts(logits, top_k, top_p)[::-1]


@_sample_mistake(test_first_temperature_then_k_then_p)
class AppliesPWithoutTemperature(_Draws):
    """The cut at p was applied to the shares *before* the temperature. A high temperature makes the shares more even,
    so that more tokens are needed to reach p: divide first."""

    def warmed(self, logits, temperature):
        self.cold = logits
        return super().warmed(logits, temperature)

    def keep_p(self, logits, top_p):
        hidden = super().keep_p(self.cold.masked_fill(logits == -torch.inf, -torch.inf), top_p) == -torch.inf
        return self.hide(logits, hidden)


@_sample_mistake(test_top_k_keeps_k)
class DoesNotScaleToOne(_Draws):
    """The shares of the kept tokens were not scaled to 1 again. The random number then often falls behind their end,
    and the last token gets what belongs to all."""

    def cuts(self, logits, top_k, top_p):
        self.whole = logits.softmax(-1)
        return super().cuts(logits, top_k, top_p)

    def draw(self, logits):
        p = self.whole.double().masked_fill(logits == -torch.inf, 0)
        u = torch.tensor(self.rng.random(p.shape[:-1]))
        return (p.cumsum(-1) <= u[..., None]).sum(-1).clamp(max=p.shape[-1] - 1)


@_sample_mistake(test_tokens_come_as_often_as_they_should)
class TakesTheLikeliest(_Draws):
    """The likeliest token was taken each time. That is greedy; here a token is *drawn*, by its probability."""

    def draw(self, logits):
        return logits.argmax(-1)


@_sample_mistake(test_tokens_come_as_often_as_they_should)
class DrawsEvenly(_Draws):
    """Among the tokens that are left, each came equally often. Draw by their probabilities."""

    def draw(self, logits):
        return _thrown(torch.where(logits > -torch.inf, 0.0, -torch.inf).softmax(-1), self.rng)


@_sample_mistake(test_each_row_has_a_draw_of_its_own)
class ThrowsOneDartForAll(_Draws):
    """One random number was drawn for the whole batch, so rows with equal logits get equal tokens. Draw one a row:
    `rng.random(shape)`."""

    def draw(self, logits):
        return _thrown(logits.softmax(-1), self.rng, np.full(logits.shape[:-1], self.rng.random()))


@_sample_mistake(test_chance_comes_from_rng)
class BringsItsOwnChance(_Draws):
    """The random numbers come from a generator with a fixed seed, made inside the function. Then every call draws the
    same. Use the `rng` that was passed in."""

    def draw(self, logits):
        return _thrown(logits.softmax(-1), np.random.default_rng(0))


@_sample_mistake(test_chance_comes_from_rng)
class DrawsFromTheGlobalGenerator(_Draws):
    """The random numbers come from a global generator, not from `rng`. Nobody can repeat such a text, for everything
    else draws from it, too."""

    def draw(self, logits):
        return _thrown(logits.softmax(-1), None, np.random.random(logits.shape[:-1]))


@_sample_mistake(test_sample_takes_extremes)
class TakesExpOfLogits(_Draws):
    """`exp` was taken of the logits as they are, and of large ones it is infinite. Subtract the largest first (chapter
    1), or let `torch.softmax` do it."""

    def draw(self, logits):
        p = logits.exp()
        return _thrown(p / p.sum(-1, keepdim=True), self.rng)


@_sample_mistake(test_sample_takes_extremes)
class EditsTheLogits(_Draws):
    """The tokens are right, but `/=` or `[…] = -inf` wrote into the caller's logits. Make new ones:
    `logits = logits / temperature`."""

    def __call__(self, logits, *args, **kwargs):
        drawn = super().__call__(logits, *args, **kwargs)
        logits -= 1
        return drawn


@sample.alternative
def sample_with_choice(logits, temperature=1.0, top_k=None, top_p=None, rng=None):
    p = _kept(logits.double(), temperature, top_k, top_p).reshape(-1, logits.shape[-1]).numpy()
    drawn = [rng.choice(len(row), p=row / row.sum()) for row in p]
    return torch.tensor(drawn).view(logits.shape[:-1])


@sample.alternative
def sample_with_gumbel_noise(logits, temperature=1.0, top_k=None, top_p=None, rng=None, *, min_tokens=1):
    x = np.asarray(logits, dtype=np.float64) / temperature
    order = np.argsort(-x, axis=-1)
    rank = np.argsort(order, axis=-1)
    if top_k is not None:
        x = np.where(rank < top_k, x, -np.inf)
    if top_p is not None:
        p = np.exp(x - x.max(-1, keepdims=True))
        ranked = np.take_along_axis(p / p.sum(-1, keepdims=True), order, -1)
        before = np.take_along_axis(np.cumsum(ranked, -1) - ranked, rank, -1)
        x = np.where(before < top_p, x, -np.inf)
    return np.argmax(x + rng.gumbel(size=x.shape), axis=-1)


# ----------------------------------------------------------------------------------------------------- corpus_bleu


def _corpus_bleu(hypotheses, references):
    parts = metrics.bleu_parts(hypotheses, references)
    return parts.score if all(parts.matches) else 0.0


corpus_bleu = Exercise(
    "corpus_bleu",
    chapter=15,
    reference=_corpus_bleu,
    minutes=30,
    difficulty=3,
    forbidden=(
        "attnlab.metrics.bleu_parts",
        "attnlab.metrics.clipped_matches",
        "attnlab.metrics.corpus_bleu",
        "attnlab.metrics.ngrams",
        "attnlab.metrics.sentence_bleu",
        "sacrebleu.corpus_bleu",
        "sacrebleu.metrics.BLEU",
    ),
)
Texts = list[list[str]]
WORDS = ["the", "a", "cat", "dog", "house", "mat", "sat", "on", "saw", "small", "old", "red"]


def _sentence(rng, length):
    return [WORDS[int(i)] for i in rng.integers(len(WORDS), size=length)]


def _near(rng, sentence, changes, cut=0, more=0):
    """A sentence with some words changed, some cut off at the end, some more."""
    near = list(sentence)
    for place in rng.permutation(len(near))[:changes]:
        near[place] = WORDS[int(rng.integers(len(WORDS)))]
    return near[: len(near) - cut] + _sentence(rng, more)


def _corpus(rng, pairs=5, several=1, cut=0, more=0, changes=2) -> tuple[Texts, list[Texts]]:
    """Hypotheses near to the first of their references."""
    hypotheses, references = [], []
    for number in range(pairs):
        first = _sentence(rng, 7 + 3 * (number % 3))
        others = [_near(rng, first, 3, cut=i % 2, more=2 - 2 * (i % 2)) for i in range(several - 1)]
        hypotheses.append(_near(rng, first, changes if number else 0, cut, more))
        references.append([first, *others])
    return hypotheses, references


def _scored(student, hypotheses: Sequence[Any], references: Sequence[Any], cause: str, want: float | None = None):
    score = _corpus_bleu(hypotheses, references) if want is None else want
    expect.close(student.corpus_bleu(hypotheses, references), np.float64(score), cause, 1e-6)


@corpus_bleu.check(points=2)
def test_precisions_are_multiplied(student, rng):
    """Of equally long texts: 100 times the fourth root of p₁ · p₂ · p₃ · p₄, the shares of n-grams that the reference
    has."""
    x = _sentence(rng, 1)
    hypothesis, reference = [*"abcde", *x], [*"abcdf", *x]
    want = 100 * (5 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** 0.25
    _scored(
        student, [hypothesis], [[reference]], "How many n-grams are in a text of six words, and how many match?", want
    )
    want = 100 * (6 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** 0.25
    _scored(student, [[*"abcdef"]], [[[*"abcdfe"]]], "“e f” is not “f e”: a run has an order.", want)
    hypothesis, reference = [*"abcd", "so", "me"], [*"abcd", "s", "ome"]
    want = 100 * (4 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** 0.25
    _scored(student, [hypothesis], [[reference]], "“so me” is not “s ome”: are the words of a run kept apart?", want)
    reference = [*"abcd", "So", "me"]
    want = 100 * (5 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** 0.25
    _scored(student, [hypothesis], [[reference]], "“So” is not “so”: tokens are compared as they are.", want)
    text = _sentence(rng, 9)
    _scored(student, [text], [[[*text]]], "A text that equals its reference has 100.", 100.0)
    _scored(student, [["!", *text[:-1]]], [[text]], "One word more at the beginning moves all others by a place.")
    for _ in range(2):
        _scored(student, *_corpus(rng, 4), "Are the four shares multiplied, and is the fourth root taken?")


@corpus_bleu.check(points=2)
def test_a_match_counts_once(student, rng):
    """Clipping: an n-gram is counted at most as often as a reference has it."""
    hypotheses, references = _corpus(rng, 3, changes=1)
    word = WORDS[int(rng.integers(2))]
    hypotheses.append([word] * 7)
    references.append([[word, "cat", "is", "on", word, "mat", "now"]])
    _scored(student, hypotheses, references, f"“{word}” seven times; the reference has it twice. How many match?")
    hypotheses.append([word, "cat", word, "cat", word, "cat"])
    references.append([[word, "cat", "sat", "on", "it", "."], [word, "cat", word, "cat", "!", "?"]])
    _scored(student, hypotheses, references, "Of two references, the one with more of them says how many may match.")


@corpus_bleu.check(points=2)
def test_counts_are_added_over_the_corpus(student, rng):
    """Matches and n-grams are added up over all sentences, and then divided: no mean of sentence scores."""
    for pairs in (3, 6):
        hypotheses, references = _corpus(rng, pairs)
        hypotheses += [["the", "old", "cat"], ["dog"]]
        references += [[["the", "old", "cat"]], [["house"]]]
        _scored(student, hypotheses, references, "A sentence of three words has no 4-gram. What does it add?")


@corpus_bleu.check(points=2)
def test_short_texts_are_punished(student, rng):
    """If the corpus has c words where the references have r > c, the score is multiplied by exp(1 − r/c); longer texts
    lose nothing more."""
    for cut, more in ((2, 0), (0, 3), (1, 0)):
        _scored(student, *_corpus(rng, 4, cut=cut, more=more), "How do c and r compare, over the whole corpus?")
    hypotheses, references = _corpus(rng, 4, cut=3)
    hypotheses[1] += _sentence(rng, 5)
    _scored(student, hypotheses, references, "One text is too long, the others too short: c and r are sums.")


@corpus_bleu.check(points=1)
def test_of_several_references_the_closest_length_counts(student, rng):
    """The number r adds up, for each sentence, the reference length closest to its own; of two equally close, the
    shorter. An n-gram may match any reference."""
    for more, cut in ((1, 3), (2, 2), (4, 1), (3, 0)):
        hypotheses = [_sentence(rng, 9) for _ in range(3)]
        references = [[_near(rng, h, 2, more=more), _near(rng, h, 2, cut=cut)] for h in hypotheses]
        cause = f"Nine words, and references of {9 + more} and {9 - cut}: which one counts?"
        _scored(student, hypotheses, references, cause)
    _scored(student, *_corpus(rng, 4, several=3, cut=1), "Which reference's length counts for each sentence?")


@corpus_bleu.check(points=1)
def test_no_match_is_zero(student, rng):
    """Where no 4-gram matches in the whole corpus, the score is 0, not an error; a single one makes it more. Texts are
    unchanged."""
    hypotheses, references = _corpus(rng, 2, changes=1)
    _scored(student, hypotheses, references, "This corpus has matches of every length.")
    _scored(student, [["the", "cat", "sat"]], [[["the", "cat", "sat"]]], "There is no 4-gram at all.", 0.0)
    _scored(student, [[], list("abcd")], [[list("ab")], [list("abxd")]], "Bigrams match, 4-grams do not.", 0.0)
    _scored(student, [[]], [[list("abcd")]], "A text without words.", 0.0)
    ids = [[[*map(len, sentence)] for sentence in group] for group in ([*hypotheses], [r[0] for r in references])]
    _scored(student, ids[0], [[r] for r in ids[1]], "Tokens may be ids: numbers, not strings.")
    expect.unchanged(student, "Does `pop`, `remove` or `+=` change the lists?")


@corpus_bleu.inputs
def _corpora(rng):
    for several, cut, more in ((1, 0, 0), (1, 2, 0), (1, 0, 2), (3, 1, 0), (2, 0, 1)):
        hypotheses, references = _corpus(rng, 4, several, cut, more)
        yield ([*hypotheses, ["the", "the", "the"]], [*references, [["the", "cat", "the"]]]), {}


class _Bleu:
    """BLEU in steps, which a wrong answer can replace one by one."""

    orders = 4

    def __call__(self, hypotheses, references):
        pairs = list(zip(hypotheses, references, strict=True))
        c, r = self.lengths(pairs)
        precisions = [self.precision(pairs, n) for n in range(1, self.orders + 1)]
        return self.whole(precisions, self.penalty(c, r))

    def lengths(self, pairs):
        return sum(len(h) for h, _ in pairs), sum(self.due(h, rs) for h, rs in pairs)

    def due(self, h, rs):
        return min((abs(len(r) - len(h)), len(r)) for r in rs)[1]

    def precision(self, pairs, n):
        total = sum(max(len(h) - n + 1, 0) for h, _ in pairs)
        return sum(self.matches(h, rs, n) for h, rs in pairs) / total if total else 0.0

    def grams(self, words, n):
        return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))

    def matches(self, h, rs, n):
        return (self.grams(h, n) & self.allowed(rs, n)).total()

    def allowed(self, rs, n):
        allowed: Counter = Counter()
        for r in rs:
            allowed |= self.grams(r, n)
        return allowed

    def penalty(self, c, r):
        return 0.0 if c == 0 else min(1.0, math.exp(1 - r / c))

    def mean(self, precisions):
        return math.exp(sum(map(math.log, precisions)) / len(precisions)) if all(precisions) else 0.0

    def whole(self, precisions, penalty):
        return 100 * penalty * self.mean(precisions)


def _bleu_mistake(caught_by):
    def declare(kind):
        corpus_bleu.misconception(caught_by=caught_by)(_as_function(kind, kind.__name__))
        return kind

    return declare


@_bleu_mistake(test_counts_are_added_over_the_corpus)
class AveragesSentences(_Bleu):
    """Each sentence was scored, and the mean was taken. A short sentence then counts as much as a long one, and one
    without a matching 4-gram is worth nothing at all. Add up the *counts* over the corpus, then divide."""

    def __call__(self, hypotheses, references):
        alone = [
            super(AveragesSentences, self).__call__([h], [rs]) for h, rs in zip(hypotheses, references, strict=True)
        ]
        return sum(alone) / len(alone)


@_bleu_mistake(test_counts_are_added_over_the_corpus)
class AveragesPrecisions(_Bleu):
    """The precision of each sentence was computed, and then their mean for each n. Counts are added up first: a
    sentence of twenty words has more to say than one of four."""

    def precision(self, pairs, n):
        long = [(h, rs) for h, rs in pairs if len(h) >= n]
        return sum(super(AveragesPrecisions, self).precision([pair], n) for pair in long) / len(long) if long else 0.0


@_bleu_mistake(test_counts_are_added_over_the_corpus)
class JoinsTheCorpus(_Bleu):
    """The sentences were joined to one long text, so that n-grams run across their borders, and match words of *other*
    sentences. Count within each sentence."""

    def __call__(self, hypotheses, references):
        one = [word for h in hypotheses for word in h]
        most = max(len(rs) for rs in references)
        several = [[word for rs in references for word in rs[min(i, len(rs) - 1)]] for i in range(most)]
        return super().__call__([one], [several])


@_bleu_mistake(test_a_match_counts_once)
class DoesNotClip(_Bleu):
    """A word was counted as a match each time it came, however often the reference has it. So “the the the” is perfect
    wherever there is a “the”. Count at most as many as the reference has."""

    def matches(self, h, rs, n):
        allowed = self.allowed(rs, n)
        return sum(count for gram, count in self.grams(h, n).items() if gram in allowed)


@_bleu_mistake(test_a_match_counts_once)
class CountsKinds(_Bleu):
    """Only *different* n-grams were counted, each once, as in sets. A word that stands twice in both texts matches
    twice."""

    def matches(self, h, rs, n):
        return len(set(self.grams(h, n)) & set(self.allowed(rs, n)))


@_bleu_mistake(test_a_match_counts_once)
class AddsUpReferences(_Bleu):
    """The counts of all references were added up before clipping. Two references that have a word once each do not
    allow it twice: the reference that has the *most* of it decides."""

    def allowed(self, rs, n):
        allowed: Counter = Counter()
        for r in rs:
            allowed += self.grams(r, n)
        return allowed


@_bleu_mistake(test_of_several_references_the_closest_length_counts)
class MeasuresTheFirstReferenceOnly(_Bleu):
    """For the length r the first reference of each sentence was taken. It is the one whose length is closest to the
    hypothesis that counts."""

    def due(self, h, rs):
        return len(rs[0])


@_bleu_mistake(test_a_match_counts_once)
class CountsEachKindOnce(_Bleu):
    """Each *different* n-gram was counted once, above the line and below it. An n-gram that stands twice in both texts
    is two matches of two."""

    def grams(self, words, n):
        return Counter(set(super().grams(words, n)))

    def precision(self, pairs, n):
        total = sum(len(self.grams(h, n)) for h, _ in pairs)
        return sum(self.matches(h, rs, n) for h, rs in pairs) / total if total else 0.0


@_bleu_mistake(test_short_texts_are_punished)
class DividesByWhatTheReferencesHave(_Bleu):
    """Matches were divided by the n-grams of the *references*: that is recall. BLEU's precisions divide by what was
    written; that too little was written is the brevity penalty's business."""

    def precision(self, pairs, n):
        total = sum(self.allowed(rs, n).total() for _, rs in pairs)
        return sum(self.matches(h, rs, n) for h, rs in pairs) / total if total else 0.0


@_bleu_mistake(test_counts_are_added_over_the_corpus)
class GivesUpAtASentenceWithoutAMatch(_Bleu):
    """The score is 0 as soon as *one sentence* has no match of some length. Zero it is only where the whole corpus has
    none: add up first, then look."""

    def precision(self, pairs, n):
        return super().precision(pairs, n) if all(self.matches(h, rs, n) for h, rs in pairs) else 0.0


@_bleu_mistake(test_of_several_references_the_closest_length_counts)
class AsksTheFirstReferenceOnly(_Bleu):
    """Only the first reference of each sentence was looked at. A sentence can be translated in several ways: every
    reference may match."""

    def __call__(self, hypotheses, references):
        return super().__call__(hypotheses, [rs[:1] for rs in references])


@_bleu_mistake(test_precisions_are_multiplied)
class MatchesPlaces(_Bleu):
    """An n-gram was a match only at the *same place* as in the reference. It may stand anywhere: one word more at the
    beginning must not spoil all that follows."""

    def matches(self, h, rs, n):
        return max(sum(h[i : i + n] == r[i : i + n] for i in range(min(len(h), len(r)) - n + 1)) for r in rs)


@_bleu_mistake(test_precisions_are_multiplied)
class MissesTheLastRun(_Bleu):
    """The last n-gram of each text is missing: `range(len(words) - n)` stops one too soon. A text of c words has
    c − n + 1 runs of n words."""

    def grams(self, words, n):
        return Counter(tuple(words[i : i + n]) for i in range(len(words) - n))

    def precision(self, pairs, n):
        total = sum(max(len(h) - n, 0) for h, _ in pairs)
        return sum(self.matches(h, rs, n) for h, rs in pairs) / total if total else 0.0


@_bleu_mistake(test_precisions_are_multiplied)
class CountsTheTails(_Bleu):
    """At the end of each text runs of *fewer* than n words were counted, too: a slice beyond the end is only shorter,
    not an error. Stop at `len(words) - n + 1`."""

    def grams(self, words, n):
        return Counter(tuple(words[i : i + n]) for i in range(len(words)))

    def precision(self, pairs, n):
        total = sum(len(h) for h, _ in pairs)
        return sum(self.matches(h, rs, n) for h, rs in pairs) / total if total else 0.0


@_bleu_mistake(test_precisions_are_multiplied)
class GluesTheWords(_Bleu):
    """The words of a run were glued together, `"".join(…)`, so that *so me* and *s ome* look alike. Keep them apart: a
    tuple of words can be counted."""

    def grams(self, words, n):
        return Counter("".join(map(str, words[i : i + n])) for i in range(len(words) - n + 1))


@_bleu_mistake(test_precisions_are_multiplied)
class MakesAllSmall(_Bleu):
    """Upper and lower case were made alike. Some report BLEU so, and have to say it; here tokens are compared as they
    are."""

    def grams(self, words, n):
        return super().grams([str(word).lower() for word in words], n)


@_bleu_mistake(test_precisions_are_multiplied)
class ForgetsTheOrderInARun(_Bleu):
    """The order of the words within a run was lost, in a set or by sorting: *bites man* matches *man bites*. A run is a
    tuple, in the order in which it stands."""

    def grams(self, words, n):
        return Counter(tuple(sorted(map(str, words[i : i + n]))) for i in range(len(words) - n + 1))


@_bleu_mistake(test_precisions_are_multiplied)
class DividesByKinds(_Bleu):
    """Matches were divided by the number of *different* n-grams, `len` of a `Counter`. Divide by how many were written,
    each as often as it stands there: `.total()`."""

    def precision(self, pairs, n):
        total = sum(len(self.grams(h, n)) for h, _ in pairs)
        return sum(self.matches(h, rs, n) for h, rs in pairs) / total if total else 0.0


@_bleu_mistake(test_counts_are_added_over_the_corpus)
class LeavesOutShortSentences(_Bleu):
    """Sentences of fewer than four words were left out altogether. They have no run of four, but they have words: their
    shorter runs count, and so do their lengths."""

    def __call__(self, hypotheses, references):
        long = [(h, rs) for h, rs in zip(hypotheses, references, strict=True) if len(h) >= 4]
        return super().__call__([h for h, _ in long], [rs for _, rs in long])


@_bleu_mistake(test_of_several_references_the_closest_length_counts)
class ScoresOneReferenceAtATime(_Bleu):
    """The corpus was scored with the first references, then with the second ones, and the best score was taken. All
    references of a sentence are looked at together: each n-gram may match any of them."""

    def __call__(self, hypotheses, references):
        most = max(len(rs) for rs in references)
        alone = [[rs[min(i, len(rs) - 1)]] for i in range(most) for rs in references]
        n = len(references)
        scores = [super(ScoresOneReferenceAtATime, self).__call__(hypotheses, alone[i * n :][:n]) for i in range(most)]
        return max(scores)


@_bleu_mistake(test_of_several_references_the_closest_length_counts)
class AddsUpReferenceLengths(_Bleu):
    """For r the lengths of *all* references of a sentence were added up, so that two references make every text too
    short. One of them counts: the one closest to the text's own length."""

    def due(self, h, rs):
        return sum(map(len, rs))


@_bleu_mistake(test_short_texts_are_punished)
class PutsThePenaltyUnderTheRoot(_Bleu):
    """The brevity penalty was taken under the fourth root, which makes it far too mild. The root belongs to the four
    precisions; the penalty multiplies what comes of it."""

    def penalty(self, c, r):
        return super().penalty(c, r) ** 0.25


@_bleu_mistake(test_short_texts_are_punished)
class TurnsTheSign(_Bleu):
    """The penalty was exp(r/c − 1), and the signs are the wrong way round: it punishes texts that are too *long*. It is
    exp(1 − r/c)."""

    def penalty(self, c, r):
        return min(1.0, math.exp(r / c - 1)) if c else 0.0


@_bleu_mistake(test_short_texts_are_punished)
class PunishesTheWrongOnes(_Bleu):
    """The two cases of the penalty have changed places: short texts got 1, and long ones exp(1 − r/c), which is a
    bonus. Where c is *smaller* than r, the text is short, and pays."""

    def penalty(self, c, r):
        return 1.0 if c < r else math.exp(1 - r / c) if c else 0.0


@_bleu_mistake(test_short_texts_are_punished)
class DoesNotPunishShortTexts(_Bleu):
    """There is no brevity penalty. Precision alone is easy: write only the two words that you are sure of."""

    def penalty(self, c, r):
        return 1.0 if c else 0.0


@_bleu_mistake(test_short_texts_are_punished)
class RewardsLongTexts(_Bleu):
    """The penalty was not held at 1: for texts that are longer than the references it is a bonus. It is the smaller one
    of 1 and exp(1 − r/c)."""

    def penalty(self, c, r):
        return math.exp(1 - r / c) if c else 0.0


@_bleu_mistake(test_short_texts_are_punished)
class PunishesLongTexts(_Bleu):
    """Texts that are too long were punished by their length. They lose already by their precision, since superfluous
    words match nothing: the penalty is for short ones only."""

    def penalty(self, c, r):
        return math.exp(1 - max(r / c, c / r)) if c and r else 0.0


@_bleu_mistake(test_short_texts_are_punished)
class TurnsThePenaltyAround(_Bleu):
    """The penalty has c/r where r/c is meant. exp(1 − c/r) is *above* 1 for a text that is too short."""

    def penalty(self, c, r):
        return min(1.0, math.exp(1 - c / r)) if c and r else 0.0


@_bleu_mistake(test_short_texts_are_punished)
class TakesTheRatioForThePenalty(_Bleu):
    """The penalty was c/r itself. It is exp(1 − r/c), which begins alike near 1 and then falls faster."""

    def penalty(self, c, r):
        return min(1.0, c / r) if r else 1.0


@_bleu_mistake(test_short_texts_are_punished)
class PunishesSentenceBySentence(_Bleu):
    """Each sentence was compared with its own reference's length, and what the long ones have too much was not set
    against what the short ones lack. c and r are sums over the whole corpus."""

    def lengths(self, pairs):
        return sum(min(len(h), self.due(h, rs)) for h, rs in pairs), sum(self.due(h, rs) for h, rs in pairs)


@_bleu_mistake(test_precisions_are_multiplied)
class TakesTheArithmeticMean(_Bleu):
    """The plain mean of the four precisions was taken. BLEU takes the *geometric* one, exp of the mean of logarithms:
    the long n-grams, which are rare, must not drown in the short ones."""

    def mean(self, precisions):
        return sum(precisions) / len(precisions) if all(precisions) else 0.0


@_bleu_mistake(test_precisions_are_multiplied)
class ForgetsTheRoot(_Bleu):
    """The four precisions were multiplied, and the fourth root is missing. So the score is far too low."""

    def mean(self, precisions):
        return math.prod(precisions)


@_bleu_mistake(test_precisions_are_multiplied)
class TakesFourGramsOnly(_Bleu):
    """Only the n-grams of length 4 were counted. BLEU takes 1, 2, 3 and 4 together."""

    def mean(self, precisions):
        return precisions[-1]


@_bleu_mistake(test_precisions_are_multiplied)
class CountsSingleWords(_Bleu):
    """Only single words were counted. Then the order of words does not matter: “man bites dog” is “dog bites man”."""

    orders = 1


@_bleu_mistake(test_precisions_are_multiplied)
class StopsAtThree(_Bleu):
    """The n-grams go from 1 to 3 only. `range(1, 4)` ends before 4."""

    orders = 3


@_bleu_mistake(test_precisions_are_multiplied)
class ReturnsAShare(_Bleu):
    """The score runs from 0 to 1 here. It is given from 0 to 100."""

    def whole(self, precisions, penalty):
        return penalty * self.mean(precisions)


@_bleu_mistake(test_precisions_are_multiplied)
class DividesByAllWords(_Bleu):
    """Matches were divided by the number of *words* for every n. A text of c words has c − n + 1 n-grams."""

    def precision(self, pairs, n):
        total = sum(len(h) for h, _ in pairs)
        return sum(self.matches(h, rs, n) for h, rs in pairs) / total if total else 0.0


@_bleu_mistake(test_short_texts_are_punished)
class MeasuresRecall(_Bleu):
    """Matches were divided by the n-grams of the *reference*. That is recall; BLEU is about precision: of what you have
    written, how much is right? (The brevity penalty stands in for recall.)"""

    def precision(self, pairs, n):
        total = sum(max(self.due(h, rs) - n + 1, 0) for h, rs in pairs)
        return sum(self.matches(h, rs, n) for h, rs in pairs) / total if total else 0.0


@_bleu_mistake(test_of_several_references_the_closest_length_counts)
class TakesTheShortestReference(_Bleu):
    """For r the length of the *shortest* reference was taken. (An early variant does that.) It is the one closest to
    the text's own length."""

    def due(self, h, rs):
        return min(map(len, rs))


@_bleu_mistake(test_of_several_references_the_closest_length_counts)
class TakesTheLongestReference(_Bleu):
    """For r the length of the *longest* reference was taken. It is the one closest to the text's own length."""

    def due(self, h, rs):
        return max(map(len, rs))


@_bleu_mistake(test_of_several_references_the_closest_length_counts)
class TakesTheMeanLength(_Bleu):
    """For r the mean length of the references was taken. It is the one closest to the text's own length."""

    def due(self, h, rs):
        return sum(map(len, rs)) / len(rs)


@_bleu_mistake(test_of_several_references_the_closest_length_counts)
class TakesTheLongerOfTwo(_Bleu):
    """Of two reference lengths that are equally close, the longer one was taken. It is the shorter, so that nobody is
    punished in case of doubt."""

    def due(self, h, rs):
        return min((abs(len(r) - len(h)), -len(r), len(r)) for r in rs)[2]


@_bleu_mistake(test_no_match_is_zero)
class LeavesOutWhatDoesNotMatch(_Bleu):
    """Orders without a match were left out of the mean. So a text of three words can have 100, and one that matches in
    single words only beats one that matches in pairs. Without a match the score is 0."""

    def mean(self, precisions):
        return super().mean([p for p in precisions if p]) if any(precisions) else 0.0


@_bleu_mistake(test_no_match_is_zero)
class FailsOnZero(_Bleu):
    """Where an order has no match, this takes the logarithm of 0 and fails. The score is 0 there: look first."""

    def mean(self, precisions):
        return math.exp(sum(map(math.log, precisions)) / len(precisions))


@_bleu_mistake(test_precisions_are_multiplied)
class AddsOneEverywhere(_Bleu):
    """One was added to matches and totals. That is a smoothing, made for single sentences; the plain score is the
    paper's, and without a match it is 0."""

    def precision(self, pairs, n):
        total = sum(max(len(h) - n + 1, 0) for h, _ in pairs)
        return (sum(self.matches(h, rs, n) for h, rs in pairs) + (n > 1)) / (total + (n > 1)) if total else 0.0


@corpus_bleu.misconception(caught_by=test_no_match_is_zero)
def eats_its_texts(hypotheses, references):
    """The score is right, but the lists that came in were changed: words were removed once they had been matched. Count
    instead, with a `Counter`."""
    score = _corpus_bleu(hypotheses, references)
    for words in hypotheses:
        words.clear()
    return score


@corpus_bleu.alternative
def bleu_with_dictionaries(hypotheses, references):
    matched, written, c, r = [0] * 5, [0] * 5, 0, 0
    for h, rs in zip(hypotheses, references, strict=True):
        c += len(h)
        r += sorted((len(ref) for ref in rs), key=lambda length: (abs(length - len(h)), length))[0]
        for n in range(1, 5):
            grams = [tuple(h[i : i + n]) for i in range(len(h) - n + 1)]
            written[n] += len(grams)
            for gram in set(grams):
                most = max(sum(tuple(ref[i : i + n]) == gram for i in range(len(ref) - n + 1)) for ref in rs)
                matched[n] += min(grams.count(gram), most)
    if 0 in matched[1:]:
        return 0
    shares = np.array(matched[1:]) / np.array(written[1:])
    return 100 * (1 if c > r else np.exp(1 - r / c)) * np.prod(shares) ** 0.25


@corpus_bleu.alternative
def bleu_in_steps(hypotheses, references, *, lowercase=False):
    return _Bleu()(hypotheses, references)
