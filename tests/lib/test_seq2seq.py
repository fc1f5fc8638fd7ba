import pytest
import torch
from torch.nn import functional

from attnlab.additive import additive_attention
from attnlab.luong import ConcatScore, DotScore, GeneralScore
from attnlab.seq2seq import BahdanauDecoder, Encoder, FixedContextDecoder, LuongDecoder, Memory, Seq2Seq, decoder_step

PAD, BOS, EOS = 0, 1, 2
V_IN, V_OUT, D_EMBED, D_ENC, D_HIDDEN = 13, 11, 5, 3, 7
D_MEMORY = 2 * D_ENC
DECODERS = {
    "bahdanau": lambda: BahdanauDecoder(V_OUT, D_EMBED, D_MEMORY, D_HIDDEN),
    "luong dot": lambda: LuongDecoder(V_OUT, D_EMBED, D_MEMORY, D_MEMORY, DotScore()),
    "luong general": lambda: LuongDecoder(V_OUT, D_EMBED, D_MEMORY, D_HIDDEN, GeneralScore(D_HIDDEN, D_MEMORY)),
    "luong concat": lambda: LuongDecoder(V_OUT, D_EMBED, D_MEMORY, D_HIDDEN, ConcatScore(D_HIDDEN, D_MEMORY, 17)),
    "fixed": lambda: FixedContextDecoder(V_OUT, D_EMBED, D_MEMORY, D_HIDDEN),
}
looking = pytest.mark.parametrize("name", [name for name in DECODERS if name != "fixed"])
every = pytest.mark.parametrize("name", DECODERS)
SOURCE = torch.tensor([[3, 4, 5, 6, 7], [8, 9, PAD, PAD, PAD]])
TARGET = torch.tensor([[BOS, 3, 4, 5], [BOS, 6, 7, PAD]])


def build(name):
    torch.manual_seed(0)
    return Seq2Seq(Encoder(V_IN, D_EMBED, D_ENC), DECODERS[name](), PAD, BOS, EOS)


def test_encoder_reads_from_both_ends_and_never_the_padding():
    torch.manual_seed(1)
    encoder = Encoder(V_IN, D_EMBED, D_ENC)
    h, last = encoder(SOURCE, torch.tensor([5, 2]))
    assert h.shape == (2, 5, D_MEMORY)
    alone, alone_last = encoder(SOURCE[1:, :2], torch.tensor([2]))
    torch.testing.assert_close(h[1:, :2], alone)
    torch.testing.assert_close(last[1:], alone_last)
    assert (h[1, 2:] == 0).all()
    torch.testing.assert_close(
        last, torch.stack([torch.cat([h[b, n - 1, :D_ENC], h[b, 0, D_ENC:]]) for b, n in ((0, 5), (1, 2))])
    )


def test_a_bahdanau_step_looks_with_the_previous_state():
    torch.manual_seed(2)
    decoder = BahdanauDecoder(V_OUT, D_EMBED, D_MEMORY, D_HIDDEN)
    embedded, previous, h = torch.randn(2, D_EMBED), torch.randn(2, D_HIDDEN), torch.randn(2, 5, D_MEMORY)
    mask = torch.tensor([[[True] * 5], [[True, True, False, False, False]]])
    attention = decoder.attention
    memory = Memory(h, attention.W_k(h), mask)
    state, context, weights = decoder_step(embedded, previous, memory, attention, decoder.cell)
    expected = additive_attention(
        previous[:, None], h, h, attention.W_q.weight.T, attention.W_k.weight.T, attention.v.weight[0], mask
    )[:, 0]
    torch.testing.assert_close(context, expected)
    torch.testing.assert_close(state, decoder.cell(torch.cat([embedded, expected], -1), previous))
    torch.testing.assert_close(torch.einsum("bs,bsd->bd", weights, h), context)
    # What the step reads must not depend on what it reads: another word, the same look.
    other = decoder_step(embedded + 1, previous, memory, attention, decoder.cell)
    torch.testing.assert_close(other[2], weights)
    assert not torch.allclose(other[0], state)


def test_a_luong_step_looks_with_the_current_state_and_feeds_on_its_conclusion():
    torch.manual_seed(3)
    decoder = DECODERS["luong general"]()
    h = torch.randn(2, 5, D_MEMORY)
    memory, state = decoder.start(h, torch.randn(2, D_MEMORY), torch.ones(2, 1, 5, dtype=torch.bool))
    embedded = torch.randn(2, D_EMBED)
    step = decoder.step(embedded, state, memory)
    s = decoder.cell(torch.cat([embedded, torch.zeros(2, D_HIDDEN)], -1), state[:, :D_HIDDEN])
    weights = torch.softmax(torch.einsum("bi,ij,bsj->bs", s, decoder.score.W, h), -1)
    torch.testing.assert_close(step.weights, weights)
    concluded = torch.tanh(decoder.W_c(torch.cat([torch.einsum("bs,bsd->bd", weights, h), s], -1)))
    torch.testing.assert_close(step.features, concluded)
    torch.testing.assert_close(step.state, torch.cat([s, concluded], -1))
    assert not torch.allclose(decoder.step(embedded + 1, state, memory).weights, step.weights)


@looking
def test_weights_sum_to_one_over_tokens_and_never_fall_on_padding(name):
    weights = build(name).weights(SOURCE, TARGET)
    assert weights.shape == (2, 4, 5)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4))
    assert (weights[1, :, 2:] == 0).all()


def test_the_baseline_looks_nowhere():
    assert (build("fixed").weights(SOURCE, TARGET) == 0).all()


@every
def test_padding_never_matters(name):
    model = build(name)
    longer = functional.pad(SOURCE, (0, 3), value=PAD)
    torch.testing.assert_close(model(longer, TARGET), model(SOURCE, TARGET))
    torch.testing.assert_close(model(SOURCE[1:, :2], TARGET[1:]), model(SOURCE, TARGET)[1:])


@every
def test_a_logit_depends_on_no_later_word(name):
    model = build(name)
    changed = TARGET.clone()
    changed[:, 2:] = 9
    torch.testing.assert_close(model(SOURCE, changed)[:, :2], model(SOURCE, TARGET)[:, :2])
    assert not torch.allclose(model(SOURCE, changed)[:, 2:], model(SOURCE, TARGET)[:, 2:])


@every
def test_every_parameter_learns(name):
    model = build(name)
    model(SOURCE, TARGET).logsumexp(-1).sum().backward()
    still = [n for n, p in model.named_parameters() if p.grad is None or p.grad.abs().sum() == 0]
    assert still == []


@every
def test_greedy_decoding_agrees_with_teacher_forcing_on_its_own_words(name):
    model = build(name)
    words, weights = model.greedy_decode(SOURCE, 6)
    fed = torch.cat([torch.full((2, 1), BOS), words[:, :-1]], 1)
    before_end = (words == EOS).cumsum(-1) - (words == EOS).long() == 0
    assert (model(SOURCE, fed).argmax(-1)[before_end] == words[before_end]).all()
    torch.testing.assert_close(weights[before_end], model.weights(SOURCE, fed)[before_end])


def test_a_sequence_that_has_ended_waits_in_padding():
    model = build("bahdanau")
    script = iter([[3, EOS], [4, 5], [EOS, 6], [7, 7]])

    class Scripted(torch.nn.Module):
        def forward(self, features):
            return functional.one_hot(torch.tensor(next(script)), V_OUT).float()

    model.decoder.readout = Scripted()
    words, weights = model.greedy_decode(SOURCE, 9)
    assert words.tolist() == [[3, 4, EOS], [EOS, PAD, PAD]]
    assert (weights[1, 1:] == 0).all() and (weights[1, 0] > 0).any()


def test_greedy_decoding_stops_at_the_limit():
    assert build("fixed").greedy_decode(SOURCE, 1)[0].shape == (2, 1)
    with pytest.raises(ValueError, match="max_length of 1 or more, got 0"):
        build("fixed").greedy_decode(SOURCE, 0)


def reversed_words(count, length, generator):
    x = torch.randint(3, 11, (count, length), generator=generator)
    y = torch.cat([torch.full((count, 1), BOS), x.flip(1), torch.full((count, 1), EOS)], 1)
    return x, y


@pytest.mark.parametrize("name", ["bahdanau", "luong general"])
def test_attention_learns_to_reverse_and_its_alignment_shows_it(name):
    torch.manual_seed(4)
    decoder = {
        "bahdanau": lambda: BahdanauDecoder(11, 16, 32, 32),
        "luong general": lambda: LuongDecoder(11, 16, 32, 32, GeneralScore(32, 32)),
    }[name]()
    model = Seq2Seq(Encoder(11, 16, 16), decoder, PAD, BOS, EOS)
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    generator = torch.Generator().manual_seed(5)
    for _ in range(150):
        x, y = reversed_words(64, 7, generator)
        loss = functional.cross_entropy(model(x, y[:, :-1]).flatten(0, 1), y[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    x, y = reversed_words(200, 7, generator)
    words, weights = model.greedy_decode(x, 8)
    assert (words[:, :7] == y[:, 1:8]).float().mean() > 0.95
    looked = weights[:, :7].mean(0).argmax(-1)
    assert (looked - torch.arange(6, -1, -1)).abs().float().mean() < 1
