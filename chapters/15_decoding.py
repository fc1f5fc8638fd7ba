# %% [markdown]
# # 15 · Decoding and scoring
#
# **The model says how likely every next word is. So what shall it write, and was it any good?**
#
# A trained model does not write. It answers one question: *given this beginning, how likely is each word to come next?*
# Between that and a sentence lies a decision, taken anew at every word. Take the likeliest one each time? Look a little
# ahead? Throw dice? The same model is dull, or brilliant, or mad, and it is all in these few lines of code, which are
# no part of the network at all.
#
# And then somebody asks: how good is it? There are a thousand right translations of a sentence, and you have one or two of
# them. The usual answer is one number, BLEU. You will compute it to the last digit, and see what it cannot see.
#
# *About two and a half hours, for four exercises. You need chapter 14, or its Transformer from the library.*

# %%
import importlib.util
import math
import time
from collections import Counter
from copy import deepcopy

import matplotlib.pyplot as plt
import numpy as np
import torch

from attnlab import interactive, pieces, plotting
from attnlab.data import grammar
from attnlab.data.corpus import BOS, EOS, PAD, pad_batch
from attnlab.decoder import shift_right
from attnlab.training import label_smoothed_loss, token_accuracy, train_epoch, warmup_rate
from attnlab.transformer import Transformer
from autograder import check

torch.set_num_threads(1)
BLUE, ORANGE, GREEN, PURPLE = plotting.COLOURS[:4]
INK = plotting.INK

# The one line for a GPU: CUDA if there is one, or a Mac's, or else the CPU.
device = torch.device("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu")

# %% [markdown]
# Somebody is cold, and wants to say so in German. Here is all that a (small, invented) model knows about it. Each branch
# carries the probability of its word, given the words before it; ■ is the end. What has no branches ends there.
#
# **Walk down the tree yourself: at each fork take the likelier branch. Where do you end, and how likely is that sentence?
# Is there a likelier one?**

# %% tags=["demo", "hide-input"] alt="A tree of German words that grows to the right. From the start three branches: Ich 0.55, Mir 0.40, Es 0.05. From Ich: bin 0.40, friere 0.35, habe 0.25. From Mir: ist 0.95, wird 0.05. An orange path, greedy, leads over Ich and bin to kalt and has probability 0.12. A blue path, the best, leads over Mir and ist to kalt and has 0.34."
WORDS = [
    "<pad>",
    "<s>",
    ".",
    "Ich",
    "Mir",
    "Es",
    "bin",
    "friere",
    "habe",
    "ist",
    "wird",
    "kalt",
    "müde",
    "kühl",
    "sehr",
]
START, STOP = 1, 2
COLD = {
    "": {"Ich": 0.55, "Mir": 0.40, "Es": 0.05},
    "Ich": {"bin": 0.40, "friere": 0.35, "habe": 0.25},
    "Mir": {"ist": 0.95, "wird": 0.05},
    "Es": {"ist": 1.0},
    "Ich bin": {"kalt": 0.55, "müde": 0.25, "sehr": 0.20},
    "Ich friere": {".": 0.70, "sehr": 0.30},
    "Ich habe": {"kalt": 0.60, "sehr": 0.40},
    "Mir ist": {"kalt": 0.90, "kühl": 0.10},
}


def small_step(tokens):
    """Logits of the little model: ids (N, T) to (N, V). What does not stand in its table ends with a full stop."""
    p = torch.full((len(tokens), len(WORDS)), 1e-9)
    for row, ids in zip(p, tokens.tolist(), strict=True):
        for word, share in COLD.get(" ".join(WORDS[i] for i in ids[1:]), {".": 1.0}).items():
            row[WORDS.index(word)] = share
    return p.log()


def draw_tree(ax, branches, paths, kept=None):
    """A tree that grows to the right. ``branches``: text → {word: p}; ``paths``: (text, colour, name), the last one on top."""
    height: dict[tuple, float] = {}

    def place(text):
        """Leaves one below the other; every other node in the middle of its branches."""
        below = [(*text, word) for word in branches.get(text, {})]
        for branch in below:
            place(branch)
        if below:
            height[text] = sum(height[branch] for branch in below) / len(below)
        else:
            height[text] = -float(sum(1 for other in height if not branches.get(other)))

    place(())
    walked = {tuple(text[:n]): colour for text, colour, _ in paths for n in range(1, len(text) + 1)}
    deepest = max(map(len, height))
    right = max(deepest + 0.5, *(len(text) + 1.2 for text, _, _ in paths))
    letter = 0.04 * (right + 0.25) / ax.figure.get_figwidth()  # half of what a letter takes
    labels = {(): "start"}
    for text, words in branches.items():
        for word, p in words.items():
            labels[(*text, word)] = f"{word} {p:.2f}".replace("0.", ".")
    for here, label in labels.items():
        alive = kept is None or here in kept or not here
        colour = walked.get(here, INK)
        weight = "bold" if here in walked else "normal"
        ax.text(len(here), height[here], label, ha="center", va="center", fontsize=9, color=colour, weight=weight)
        if here:
            text = here[:-1]
            reach = [len(text) + letter * (len(labels[text]) + 1.5), len(here) - letter * (len(label) + 1.5)]
            look = {"linewidth": 0.8 + 4 * branches[text][here[-1]], "alpha": 1 if here in walked else 0.5}
            line = "-" if alive else ":"
            ax.plot(reach, [height[text], height[here]], line, color=colour, solid_capstyle="round", **look)
    for text, colour, name in paths:
        ax.text(len(text) + 10 * letter, height[tuple(text)], name, color=colour, va="center", fontsize=9.5)
    ax.set(xlim=(-0.25, right), ylim=(min(height.values()) - 0.7, 0.7))
    ax.axis("off")


with plotting.house_style():
    fig, ax = plt.subplots(figsize=(9.2, 4.0))
    by_words = {
        tuple(text.split()): {"■" if word == "." else word: p for word, p in words.items()}
        for text, words in COLD.items()
    }
    draw_tree(
        ax,
        by_words,
        [(("Ich", "bin", "kalt"), ORANGE, "greedy: .12"), (("Mir", "ist", "kalt"), BLUE, "the best: .34")],
    )
    plt.show()
print(f"greedy  Ich bin kalt  0.55 · 0.40 · 0.55 = {0.55 * 0.40 * 0.55:.3f}")
print(f"best    Mir ist kalt  0.40 · 0.95 · 0.90 = {0.40 * 0.95 * 0.90:.3f}")

# %% [markdown]
# At the first fork *Ich* is likelier, and what follows from *Ich* is spread over many ways to go on. *Mir* is the less
# likely beginning of the most likely sentence. (And the right one: *Ich bin kalt* says that you are a cold person.) The
# one step that looked best cannot be taken back. That is the trouble with being greedy.
#
# ## Where we are

# %% tags=["demo"]
interactive.road(15)

# %% [markdown]
# The model is finished. This chapter stands beside it, and works with every model that can say how likely the next token is.
#
# ## A step, and nothing else
#
# All that follows knows one thing of a model, a function:
#
# > `step(tokens)`: ids of shape `(N, T)`, the N texts so far, gives logits of shape `(N, V)`, for the next token of each.
#
# It has no memory: each time it is shown *all* that was written. What is inside is none of our business: a Transformer, a
# table, a person. `small_step` above is one. Here is one made of a model; the source sentence is hidden in it.


# %%
def step_of(model, src):
    """A step that translates. One source serves any number of texts; of several, each text has its own."""
    model.eval()

    @torch.inference_mode()
    def step(tokens):
        rows = src.expand(len(tokens), -1) if len(src) == 1 else src
        return model(rows, tokens.to(device))[:, -1].cpu()

    return step


# %% [markdown]
# (A real system keeps keys and values of the past, a *cache*, instead of reading everything again: chapter 24. The search
# is the same.)
#
# ## Greedy
#
# The likeliest next token, again and again, until the end. The only thing to mind is that we do it for a whole batch at once,
# and sentences end at different places.
#
# {{exercise greedy_decode}}
#
# Write B texts side by side. `first` has shape `(B,)`, a first token for each row. In every round show `step` all B rows, as
# far as they are written, `first` included, and take each row's likeliest token. A row is finished when it says `end`; what the
# model says in that row *afterwards* is rubbish, to be ignored. (`first` is not said by it, and may be the same token.) Stop when
# all rows are finished, or when `longest` tokens have been written. Return a list of B lists of ids, without `first` and without
# `end`.
#
# *By hand:* row 0 says `5 7 end …`, row 1 says `4 end …`, row 2 says `6 6 6 6 …`. With `longest = 3` the result is
# `[[5, 7], [4], [6, 6, 6]]`.
#
# <details><summary>Hint 1: the idea</summary>
#
# Keep `ended`, a boolean for each row, and stop when `ended.all()`. Let finished rows run on with the others, so that
# the batch keeps its shape, and cut every row at its *first* end when all is over.
#
# </details>
#
# <details><summary>Hint 2: the first lines</summary>
#
# `tokens = first[:, None]`, and in the loop `newest = step(tokens).argmax(-1)`, then
# `tokens = torch.cat([tokens, newest[:, None]], dim=1)`.
#
# </details>


# %% exercise="greedy_decode"
def greedy_decode(step, first, end, longest):
    """The likeliest next token, again and again, for each row of a batch.

    step     step(tokens): ids (B, T), all that was written so far, to logits (B, V)
    first    ids (B,), with which the rows begin
    end      the id that finishes a row
    longest  so many tokens are written at most

    Returns a list of B lists of ids, without first and end.
    """
    ### BEGIN SOLUTION
    tokens = first[:, None]
    ended = torch.zeros(len(first), dtype=torch.bool)
    for _ in range(longest):
        newest = step(tokens).argmax(dim=-1)
        tokens = torch.cat([tokens, newest[:, None]], dim=1)
        ended = ended | (newest == end)
        if ended.all():
            break
    texts = []
    for row in tokens[:, 1:].tolist():
        texts.append(row[: row.index(end)] if end in row else row)
    return texts
    ### END SOLUTION


# %% tags=["demo"]
with interactive.once_solved("greedy_decode"):
    (text,) = greedy_decode(small_step, torch.tensor([START]), STOP, 9)
    print(" ".join(WORDS[token] for token in text))

# %% [markdown]
# ### Two translators
#
# To have something to decode from, we train the Transformer of chapter 14 on its English and German, for a few seconds,
# and keep it at two moments: a *novice*, after 70 steps, who is unsure of nearly everything, and a *pupil*, who is quite good.
# With `MY_OWN = True` the model is the one that you wrote.

# %%
MY_OWN = False

Translator = Transformer
if MY_OWN:
    Translator = pieces.own(
        {"Transformer": Transformer},
        {
            "MultiHeadAttention": 9,
            "sinusoidal_positions": 10,
            "feed_forward": 11,
            "residual": 11,
            "EncoderLayer": 12,
            "DecoderLayer": 13,
            "Embedding": 14,
            "Transformer": 14,
        },
    )["Transformer"]

# %% tags=["demo"]
data = grammar.load(8000, seed=0)
english, german = data.vocabularies["source"], data.vocabularies["target"]


def to_batch(pairs):
    """English ids (B, S) and German ids (B, T), each closed by its <eos>, padded at the end."""
    src, _ = pad_batch([english.encode(pair.source, eos=True) for pair in pairs])
    tgt, _ = pad_batch([german.encode(pair.target, eos=True) for pair in pairs])
    return src.to(device), tgt.to(device)


def score_batch(model, batch):
    """Loss a token, tokens right, tokens: what train_epoch of chapter 14 asks for."""
    src, tgt = batch
    logits = model(src, shift_right(tgt, BOS))
    tokens = int((tgt != PAD).sum())
    return label_smoothed_loss(logits, tgt, 0.1, PAD), round(token_accuracy(logits, tgt, PAD) * tokens), tokens


torch.manual_seed(0)
model = Translator(
    len(english), len(german), d_model=64, num_heads=4, num_layers=1, d_ff=128, dropout=0.1, pad=PAD, order="pre"
).to(device)
optimizer = torch.optim.Adam(model.parameters(), lr=1.0, betas=(0.9, 0.98), eps=1e-9)
scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warmup_rate(step + 1, 64, 100))
order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0)).tolist()
lessons = [to_batch([data.train[i] for i in order[at : at + 32]]) for at in range(0, 170 * 32, 32)]

began = time.process_time()
translators = {}
for name, some in (("novice", lessons[:70]), ("pupil", lessons[70:])):
    loss, accuracy, _ = train_epoch(model, some, score_batch, optimizer, scheduler, clip=1.0)
    translators[name] = deepcopy(model)
    print(f"{name:6} training loss {loss:.2f}, {accuracy:.0%} of the tokens right")
print(f"({time.process_time() - began:.0f} s of one core)")

# %% tags=["demo"]
exam = data.test[:40]
with interactive.once_solved("greedy_decode"):
    for name, translator in translators.items():
        src, _ = to_batch(exam)
        texts = greedy_decode(step_of(translator, src), torch.full((len(exam),), BOS), EOS, 20)
        print(f"the {name}:")
        for pair, text in list(zip(exam, texts, strict=True))[:3]:
            print(f"  {' '.join(pair.source)}\n      {' '.join(german.decode(text))}")

# %% [markdown]
# One batch, and each sentence ended where it wanted to. The novice writes something about somebody. It knows German by now; it
# has not found out yet what the English says.
#
# ## Looking ahead: beam search
#
# What we *want* is the likeliest text. Its probability is a product, so its logarithm is a sum:
#
# $$\log p(y_1 \dots y_L) = \sum_{t=1}^{L} \log p(y_t \mid y_1 \dots y_{t-1}).$$
#
# Trying all texts is out of the question. **Guess how many there are, with 117 words to choose from and ten places.** So we
# look at a few of them. Keep not one text but `width` of them, the *beam*. In each round:
#
# 1. Ask `step` about all texts in the beam. Every text can go on with every token: those are the *candidates*.
# 2. Of **all** candidates together, keep the best `width`.
# 3. Those that have just said `end` are *finished*: put them aside, with their log p. The others are the new beam.
#
# The search is over when the beam is empty, or after `longest` rounds; texts that are cut off then take part as they are.
#
# **Who wins?** Each word costs: a probability is below 1, so its logarithm is negative, and a longer text always has a lower sum
# than its own beginning. Comparing sums favours short texts. So they are divided by a *length norm*, which is 1 for a text of one token
# and grows with the length L; the exponent $\alpha$ says how much it counts, and with $\alpha = 0$ it does not:
#
# $$\text{score} = \frac{\log p(y_1 \dots y_L)}{\left(\frac{5 + L}{6}\right)^{\alpha}}.$$
#
# L counts the tokens that were written: the end is one of them, `first` is not.

# %% tags=["demo"]
print(f"texts of ten words: {float(len(german)) ** 10:.0e}")

# %% [markdown]
# {{exercise beam_search}}
#
# Search for one text; `first` is one id. Return the best text, a list of ids without `first` and `end`, and its score.
#
# *By hand:* the tree above, `width = 2`, $\alpha = 0$. Round 1: *Ich* .55, *Mir* .40. Round 2: *Mir ist* .38, *Ich bin* .22; *Ich
# friere* .19 falls out. Round 3: *Mir ist kalt* .34, *Ich bin kalt* .12. Round 4: both end, with probability 1. The result is *Mir ist kalt*,
# with score $\log 0.342 \approx -1.07$.
#
# <details><summary>Hint 1: the idea</summary>
#
# Keep two tensors: `beam`, the texts, of shape `(N, T)`, which begins as `[[first]]`, and `totals`, their log p so far, of shape
# `(N,)`, which begins as `[0.]`. All candidates are one table of shape `(N, V)`: what a text has paid, plus what the token costs.
# Within a round all candidates have the same length, so the norm is needed only for what is finished. (Lists of pairs
# `(text, total)`, made and sorted, do as well; only the experiment further down then takes a minute.)
#
# </details>
#
# <details><summary>Hint 2: the table</summary>
#
# `log_p = totals[:, None] + step(beam).log_softmax(dim=-1)`, then `totals, flat = log_p.flatten().topk(…)`. Cell `flat` of the flattened
# table belongs to text `flat // V` and token `flat % V`; `beam[flat // V]` are those texts, one of them perhaps several times. There may be
# fewer than `width` candidates.
#
# </details>


# %% exercise="beam_search"
def beam_search(step, first, end, width, alpha, longest):
    """The best text that a beam of this width finds, and its score log p / ((5 + length) / 6)^alpha.

    step     step(tokens): ids (N, T), texts so far, to logits (N, V)
    first    the id with which the text begins
    end      the id that finishes it
    width    so many candidates are kept in a round, finished ones among them
    longest  so many tokens are written at most

    Returns the list of ids, without first and end, and the score.
    """
    ### BEGIN SOLUTION
    beam, totals, finished = torch.tensor([[first]]), torch.zeros(1), []
    for length in range(1, longest + 1):
        norm = ((5 + length) / 6) ** alpha
        log_p = totals[:, None] + step(beam).log_softmax(dim=-1)  # (N, V): every candidate
        V = log_p.shape[1]
        totals, flat = log_p.flatten().topk(min(width, log_p.numel()))
        beam = torch.cat([beam[flat // V], (flat % V)[:, None]], dim=1)
        ended = beam[:, -1] == end
        for text, total in zip(beam[ended].tolist(), totals[ended].tolist(), strict=True):
            finished.append((text[1:-1], total / norm))
        beam, totals = beam[~ended], totals[~ended]
        if len(beam) == 0:
            break
    for text, total in zip(beam.tolist(), totals.tolist(), strict=True):
        finished.append((text[1:], total / norm))
    return max(finished, key=lambda one: one[1])
    ### END SOLUTION


# %% tags=["demo"]
with interactive.once_solved("beam_search"):
    for width in (1, 2, 3):
        text, total = beam_search(small_step, START, STOP, width, 0.0, 9)
        print(f"width {width}: {' '.join(WORDS[token] for token in text):14} p = {math.exp(total):.3f}")

# %% [markdown]
# ### Is it the best of all?
#
# The little language is so small that *every* text in it can be tried. A beam that never has to drop anything must find
# the winner, and it is a good habit to let a clever search compete with a stupid one.


# %% tags=["demo"]
def every_text(step, tokens, total=0.0):
    """All texts that the little model can write, each with its log p."""
    log_p = step(torch.tensor([tokens]))[0].log_softmax(-1)
    for token in (log_p > -12).nonzero()[:, 0].tolist():
        if token == STOP:
            yield tokens[1:], total + log_p[token].item()
        else:
            yield from every_text(step, [*tokens, token], total + log_p[token].item())


with interactive.once_solved("beam_search"):
    every = sorted(every_text(small_step, [START]), key=lambda one: one[1], reverse=True)
    text, total = beam_search(small_step, START, STOP, len(every), 0.0, 9)
    print(f"{len(every)} texts, the best: {' '.join(WORDS[i] for i in every[0][0])}, log p {every[0][1]:.4f}")
    print(f"wide beam:          {' '.join(WORDS[i] for i in text)}, log p {total:.4f}")
    print(f"all probabilities together: {sum(math.exp(p) for _, p in every):.4f}")

# %% [markdown]
# ### Watch your search
#
# The next tree is not drawn from a table. It is made by *listening to your function*: what it asks `step` about, round by
# round, is the beam, here with three places. The novice translates a sentence. Solid branches were in the beam, dotted ones were good but
# not good enough. **Follow the orange way: in which round did the beam let go of it, and was that right?** (Round 1 chooses
# the first word.)


# %% tags=["demo", "hide-input"] alt="The search tree of a real sentence, recorded from the calls of the beam search: three branches are kept a round, the best of the dropped ones are dotted. The orange path of the greedy text and the blue path of the beam's text part early; the orange one leaves the beam in round 3, and the blue one ends with the higher probability."
class Listener:
    """A step that notes every text it is asked about, and the probabilities that it answers."""

    def __init__(self, step):
        self.step, self.heard = step, {}

    def __call__(self, tokens):
        logits = self.step(tokens)
        for text, p in zip(tokens.tolist(), logits.softmax(-1), strict=True):
            self.heard[tuple(text[1:])] = p
        return logits


def log_p_of(step, text):
    """What a finished text costs under a step."""
    ids = [BOS, *text, EOS]
    return sum(step(torch.tensor([ids[:n]]))[0].log_softmax(-1)[ids[n]].item() for n in range(1, len(ids)))


def words_of(ids):
    """Ids as words; the end is a square."""
    return tuple("■" if i == EOS else german.tokens[i] for i in ids)


def ended_in_the_beam(heard, width):
    """The finished texts among the best ``width`` candidates of each round: those that the search put aside."""
    log_p = {(): 0.0}
    for text in sorted(heard, key=len)[1:]:
        log_p[text] = log_p[text[:-1]] + heard[text[:-1]][text[-1]].log().item()
    found = set()
    for length in set(map(len, heard)):
        texts = [text for text in heard if len(text) == length]
        totals = torch.stack([log_p[text] + heard[text].log() for text in texts])
        best = totals.flatten().topk(width).indices
        found |= {(*texts[i // totals.shape[1]], EOS) for i in best.tolist() if i % totals.shape[1] == EOS}
    return found


def heard_tree(heard, width, dropped=1):
    """text → {word: p} of all that was asked about, with the best of what was dropped; and what was kept."""
    kept = {text for text in heard if text} | ended_in_the_beam(heard, width)
    branches = {}
    for text, p in heard.items():
        own = [one[-1] for one in kept if one[:-1] == text]
        others = [i for i in p.argsort(descending=True).tolist() if i not in own][:dropped]
        shown = sorted([*own, *(i for i in others if p[i] > 0.05)], key=lambda i: -p[i])
        branches[words_of(text)] = dict(zip(words_of(shown), p[shown].tolist(), strict=True))
    return branches, {words_of(one) for one in kept}


with interactive.once_solved("greedy_decode and beam_search"):
    for pair in data.test:
        step = step_of(translators["novice"], to_batch([pair])[0])
        (greedy,) = greedy_decode(step, torch.tensor([BOS]), EOS, 20)
        listener = Listener(step)
        found, _ = beam_search(listener, BOS, EOS, 3, 0.0, 20)
        if (
            len(pair.target) <= 8
            and 4 <= len(found) == len(greedy) <= 7
            and log_p_of(step, found) > log_p_of(step, greedy) + 0.1
        ):
            break
    branches, kept = heard_tree(listener.heard, 3)
    paths = []
    for text, colour, name in ((greedy, ORANGE, "greedy"), (found, BLUE, "beam")):
        words = words_of([*text, EOS])
        for n, token in enumerate([*text, EOS]):  # greedy's way may leave the beam: then it is asked about here
            p = step(torch.tensor([[BOS, *text[:n]]]))[0].softmax(-1)[token].item()
            branches.setdefault(words[:n], {}).setdefault(words[n], p)
        paths.append((words, colour, f"{name}: {math.exp(log_p_of(step, text)):.2g}"))
    with plotting.house_style():
        fig, ax = plt.subplots(figsize=(9.4, 5.2))
        draw_tree(ax, branches, paths, kept)
        ax.set_title(" ".join(pair.source), fontsize=11)
        plt.show()
    print(f"greedy {' '.join(german.decode(greedy))}\nbeam   {' '.join(german.decode(found))}")
    print(f"wanted {' '.join(pair.target)}")
    way = paths[0][0]
    lost = next(n for n in range(1, len(way) + 1) if way[:n] not in kept)
    print(f"The beam let go of the orange way in round {lost}, at “{way[lost - 1]}”.")

# %% [markdown]
# By its own measure it was right: three other texts were likelier then, and the blue text is likelier in the end. But
# neither of the two says what was wanted. A search finds what the *model* holds likely. Whether that is a good
# translation is another question, and we come back to it.
#
# ## Throwing dice: sampling
#
# For a translation one wants *the* answer. For a story, a name, a reply, the likeliest text is the dullest one, and often the
# same phrase for ever. So the next token is **drawn**, with the model's probabilities. Three knobs say how adventurous that is:
#
# - **temperature** $\tau$ divides the logits (chapter 1): below 1 the favourite becomes stronger, above 1 all become more alike.
# - **top-k** keeps the k likeliest tokens.
# - **top-p** keeps the likeliest tokens that *together* reach probability p: few where the model is sure, many where it is not.
#
# Why cut at all? Each token of the tail is nearly impossible. But the tail is long. **Suppose all tokens that make no sense have 3%
# together, at every step. How many texts of 20 tokens have no such token in them?**

# %% tags=["demo"]
print(f"0.97^20 = {0.97**20:.0%}")

# %% [markdown]
# *How to draw*, if all you have is a random number $u$ between 0 and 1? Lay the probabilities side by side on a ruler of length 1, and throw a
# dart at it. Each token is hit as often as its piece is long.

# %% tags=["demo", "hide-input"] alt="A ruler from 0 to 1, cut into five coloured pieces whose lengths are the probabilities of five tokens, 0.1, 0.4, 0.2, 0.05 and 0.25. A dart u = 0.62 hits the third piece. Below it, the same ruler after top-p with p = 0.7: the two smallest pieces are gone, and the three others fill the whole length."
with plotting.house_style():
    fig, ax = plt.subplots(figsize=(8.6, 2.6))
    shares = np.array([0.10, 0.40, 0.20, 0.05, 0.25])
    names = ["das", "der", "die", "ein", "kein"]
    ranked = np.argsort(-shares)
    before = np.cumsum(shares[ranked]) - shares[ranked]
    cut = shares * np.isin(np.arange(5), ranked[before < 0.7])
    for y, p, title in ((1, shares, "all"), (0, cut / cut.sum(), "top-p 0.7")):
        ends = np.cumsum(p)
        for name, end, share, colour in zip(names, ends, p, plotting.COLOURS[:5], strict=True):
            if share:
                ax.barh(y, share, left=end - share, height=0.5, color=colour, alpha=0.8)
                ax.text(
                    end - share / 2,
                    y,
                    f"{name}\n{share:.2f}".rstrip("0"),
                    ha="center",
                    va="center",
                    fontsize=9,
                    color="white",
                )
        ax.text(-0.02, y, title, ha="right", va="center")
    ax.annotate("u = 0.62", (0.62, 1.26), (0.62, 1.75), ha="center", arrowprops={"arrowstyle": "->", "color": INK})
    ax.set(xlim=(-0.16, 1.01), ylim=(-0.4, 1.95))
    ax.axis("off")
    plt.show()

# %% [markdown]
# {{exercise sample}}
#
# Draw one token for each row of `logits`, of shape `(..., V)`; the result has shape `(...)`. In this order: divide by the temperature; with
# `top_k`, keep the k likeliest (all of them, if there are no more than k) and scale their shares to sum 1; with `top_p`, keep the likeliest ones that reach p **together, the
# one that crosses p included**, and scale again; then draw. `rng` is a generator of NumPy's: all chance comes from it, one
# `rng.random(…)` a row.
#
# *By hand:* shares .10, .40, .20, .05, .25 and `top_p = 0.7`. Sorted: .40, .25, .20, … The sums *before* each are 0, .40, .65, .85: the
# first three are below .7, so these three stay, .85 together. Scaled, in the old order: 0, .47, .24, 0, .29. A dart at $u = 0.62$
# hits the third token, for $.47 \le u < .71$.
#
# <details><summary>Hint 1: the idea</summary>
#
# Work on sorted probabilities: `ranked, order = p.sort(dim=-1, descending=True)`. There top-k is the first k, and top-p is where
# `ranked.cumsum(-1) - ranked`, the sum of those before, is below p. Draw a *place* in the sorted row; `order` says which token stands there.
#
# </details>
#
# <details><summary>Hint 2: the dart</summary>
#
# `u = torch.tensor(rng.random(ranked.shape[:-1]))[..., None]`; the place is the number of pieces that end before the dart:
# `(ranked.cumsum(-1) <= u).sum(-1)`. Rounding may leave the last sum a little below 1, so `clamp` it.
#
# </details>


# %% exercise="sample"
def sample(logits, temperature=1.0, top_k=None, top_p=None, rng=None):
    """Draw a token for each row: temperature, then the k likeliest, then the likeliest that reach p together.

    logits  shape (..., V)
    rng     a numpy.random.Generator

    Returns ids, shape (...).
    """
    ### BEGIN SOLUTION
    p = (logits.double() / temperature).softmax(dim=-1)
    ranked, order = p.sort(dim=-1, descending=True)
    if top_k is not None:
        ranked = ranked * (torch.arange(ranked.shape[-1]) < top_k)
        ranked = ranked / ranked.sum(-1, keepdim=True)
    if top_p is not None:
        ranked = ranked * (ranked.cumsum(-1) - ranked < top_p)
        ranked = ranked / ranked.sum(-1, keepdim=True)
    u = torch.tensor(rng.random(ranked.shape[:-1]))[..., None]
    sums = ranked.cumsum(-1)
    place = (sums <= u * sums[..., -1:]).sum(-1, keepdim=True).clamp(max=ranked.shape[-1] - 1)
    return order.gather(-1, place)[..., 0]
    ### END SOLUTION


# %% [markdown]
# PyTorch draws with `torch.multinomial`. It throws other darts, so the single tokens differ; the frequencies must not.

# %% tags=["demo"]
with interactive.once_solved("sample"):
    logits = torch.tensor([1.0, 2.5, 0.5, -1.0, 2.0])
    many = 100_000
    mine = sample(logits.expand(many, 5), temperature=1.5, rng=np.random.default_rng(0))
    theirs = torch.multinomial(
        (logits / 1.5).softmax(-1), many, replacement=True, generator=torch.Generator().manual_seed(0)
    )
    print("token      " + "".join(f"{i:8}" for i in range(5)))
    for name, drawn in (("yours", mine), ("PyTorch's", theirs)):
        print(f"{name:11}" + "".join(f"{share:8.1%}" for share in torch.bincount(drawn, minlength=5) / many))
    print(f"{'softmax':11}" + "".join(f"{share:8.1%}" for share in (logits / 1.5).softmax(-1)))

# %% [markdown]
# Now the knobs on a real distribution: which noun the novice would write after *die großen*. **Before you look: with top-p
# 0.8, at which temperature are the most words left?**

# %% tags=["demo", "hide-input"] alt="Three bar charts of the probabilities of the novice's next word, likeliest first, at temperatures 0.5, 1 and 2. Blue bars are inside top-p 0.8, orange ones are cut off. At 0.5 a few words are left, at 1 more, at 2 more still, and the tail is long and fat."
with plotting.house_style():
    fig, axes = plt.subplots(1, 3, figsize=(9.6, 3.1), sharey=True)
    src, _ = to_batch(data.test[:1])  # the big brothers do not love the small houses
    beginning = torch.tensor([[BOS, *german.encode(["die", "großen"])]])
    logits = step_of(translators["novice"], src)(beginning)[0]
    for ax, tau in zip(axes, (0.5, 1.0, 2.0), strict=True):
        p = (logits / tau).softmax(-1).sort(descending=True).values
        inside = (p.cumsum(0) - p < 0.8).sum().item()
        ax.bar(np.arange(80), p[:80], color=[BLUE if i < inside else ORANGE for i in range(80)], width=1.0)
        tail = p[inside:].sum().item()
        ax.set(title=f"τ = {tau}: {inside} stay, tail {tail:.0%}", xlabel="rank of the word")
    axes[0].set_ylabel("probability")
    plt.show()

# %% [markdown]
# A high temperature feeds the tail, and top-p then has to let more of it in. The two work against each other, which is why
# they are turned together.
#
# ### What the tail does to a sentence
#
# When it is greedy, the pupil translates most sentences without a mistake. Now it throws dice. We count the translations without a
# single mistake, with and without top-p, at several temperatures, and how many *different* ones come in six tries at a sentence.


# %% tags=["demo", "hide-input"] alt="Two plots against the temperature. Left, the share of translations without a mistake: without top-p it falls steeply as the temperature rises above one half, with top-p 0.9 it stays high for longer. Right, how many of six tries differ: it rises from one with the temperature, and faster without top-p."
def drawn_texts(step, count, rng, **settings):
    """A batch of texts by chance, with the reader's sample."""
    tokens = torch.full((count, 1), BOS)
    for _ in range(16):
        tokens = torch.cat([tokens, sample(step(tokens), rng=rng, **settings)[:, None]], dim=1)
    return [tuple(german.decode(row)) for row in tokens]


TRIES, TEMPERATURES = 6, (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
with interactive.once_solved("greedy_decode and sample"):
    few = data.test[40:70]
    src = to_batch(few)[0].repeat_interleave(TRIES, dim=0)
    pupil = step_of(translators["pupil"], src)
    curves = {}
    for p in (None, 0.9):
        rng = np.random.default_rng(1)
        for tau in TEMPERATURES:
            texts = drawn_texts(pupil, len(src), rng, temperature=tau, top_p=p)
            right = np.mean([text == few[i // TRIES].target for i, text in enumerate(texts)])
            different = np.mean([len(set(texts[at : at + TRIES])) for at in range(0, len(texts), TRIES)])
            curves.setdefault(p, []).append((right, different))
    with plotting.house_style():
        fig, axes = plt.subplots(1, 2, figsize=(9.2, 3.4))
        for p, colour, mark in ((None, ORANGE, "o-"), (0.9, BLUE, "s-")):
            name = "all tokens" if p is None else f"top-p {p}"
            for ax, values in zip(axes, zip(*curves[p], strict=True), strict=True):
                ax.plot(TEMPERATURES, values, mark, color=colour, label=name)
        axes[0].set(xlabel="temperature", ylabel="without a mistake", ylim=(0, 1))
        axes[1].set(xlabel="temperature", ylabel=f"different ones in {TRIES} tries", ylim=(0.8, TRIES + 0.2))
        axes[0].legend(frameon=False)
        plt.show()
    plainly = greedy_decode(step_of(translators["pupil"], src[::TRIES]), torch.full((len(few),), BOS), EOS, 16)
    perfect = np.mean([tuple(german.decode(text)) == pair.target for text, pair in zip(plainly, few, strict=True)])
    print(f"greedy:            {perfect:.0%} right")
    for p, values in curves.items():
        at_one = values[TEMPERATURES.index(1.0)]
        print(f"τ = 1, {'all tokens' if p is None else 'top-p 0.9 '}: {at_one[0]:.0%} right, {at_one[1]:.1f} different")

# %% [markdown]
# A translation has one right answer here, so variety mostly *is* mistakes, and the two plots mirror each other. At temperature 1, where
# the model says what it believes, cutting the last tenth of the mass off nearly doubles the share of sentences without a mistake: the
# tail is where they came from. At 1.5 nothing helps: the temperature has carried the tail to the front before the cut comes. For
# stories and replies, where there are many right answers, one buys variety at just this price, knowingly.
#
# ## How good is it? BLEU, taken apart
#
# You have the system's translations, *hypotheses*, and human ones, *references*. Are they alike? Comparing word by word at
# the same place is hopeless: one word more at the beginning, and all is "wrong". BLEU counts instead **which runs of words the two have
# in common**, wherever they stand. A run of n words is an *n-gram*. Four ideas make it up:
#
# 1. **Precision.** Of the n-grams that you *wrote*, how many does the reference have?
# 2. **Clipping.** Each at most as often as the reference has it. Otherwise *die die die die* is a perfect German text.
# 3. **All lengths.** n = 1, 2, 3 and 4, multiplied: single words say *what* it is about, longer runs whether it is fluent.
# 4. **Brevity.** Precision alone rewards silence: write only the two words you are sure of. So short texts pay a *brevity penalty*.
#
# $$\text{BLEU} = 100 \cdot \underbrace{\min\left(1,\, e^{1 - r/c}\right)}_{\text{brevity}} \cdot \left(p_1\, p_2\, p_3\, p_4\right)^{1/4},$$
#
# $$p_n = \frac{\text{matching n-grams, clipped}}{\text{n-grams written}},$$
#
# where $c$ is the number of words written and $r$ that of the references. Here it is for one sentence. **Count the blue boxes
# of each row before you read the numbers on the right.**

# %% tags=["demo", "hide-input"] alt="The hypothesis heute sehen die die hunde das alte haus above, and below it four rows of boxes, one for each n. A box spans n words and is blue if the reference heute sehen die kleinen hunde das alte haus nicht has these words, orange if not. Seven of eight single words are blue, the second die is orange; five of seven pairs; three of six triples; one of five runs of four."
GUESS = ["heute", "sehen", "die", "die", "hunde", "das", "alte", "haus"]
TRUTH = ["heute", "sehen", "die", "kleinen", "hunde", "das", "alte", "haus", "nicht"]


def runs(words, n):
    """All n-grams, in order."""
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def take_apart(ax, hypothesis, reference):
    """A box for every n-gram of the hypothesis: blue if the reference still has one like it, orange if not."""
    line = 0.0
    for i, word in enumerate(hypothesis):
        ax.text(i + 0.5, 0.35, word, ha="center", fontsize=11)
    for n in (1, 2, 3, 4):
        left, matched = Counter(runs(reference, n)), 0
        for i, run in enumerate(runs(hypothesis, n)):
            hit = left[run] > 0
            left[run] -= hit
            matched += hit
            y = line - 0.2 - 0.27 * (i % n)
            ax.barh(y, n - 0.14, left=i + 0.07, height=0.2, color=BLUE if hit else ORANGE, alpha=0.9 if hit else 0.75)
        middle = line - 0.2 - 0.135 * (n - 1)
        ax.text(-0.15, middle, f"n = {n}", ha="right", va="center")
        label = f"$p_{n}$ = {matched}/{len(runs(hypothesis, n))}"
        ax.text(len(hypothesis) + 0.2, middle, label, va="center")
        line -= 0.27 * n + 0.3
    ax.set(xlim=(-1, len(hypothesis) + 1.3), ylim=(line, 0.7))
    ax.axis("off")


with plotting.house_style():
    fig, ax = plt.subplots(figsize=(9.4, 4.4))
    take_apart(ax, GUESS, TRUTH)
    ax.set_title("reference: " + " ".join(TRUTH), fontsize=11)
    plt.show()
product = 7 / 8 * 5 / 7 * 3 / 6 * 1 / 5
print(f"7/8 · 5/7 · 3/6 · 1/5 = {product:.4f} = 1/16, its fourth root {product**0.25:.2f}")
print(f"8 words for 9: brevity exp(1 - 9/8) = {math.exp(1 - 9 / 8):.4f}")
print(f"BLEU = 100 · {math.exp(1 - 9 / 8):.4f} · {product**0.25:.2f} = {100 * math.exp(1 - 9 / 8) * product**0.25:.2f}")

# %% [markdown]
# The second *die* is orange: the reference has only one. And one wrong word spoils up to four runs of four: that is how BLEU
# hears a stumble.
#
# **One sentence is not a corpus.** BLEU is for a whole set of translations: matches and n-grams are *added up over all sentences*,
# and divided then. It is not the mean of the sentences' scores. Many a sentence has no matching run of four, and alone it would have 0.
#
# **Several references.** There may be more than one for each sentence. An n-gram may match any of them; the reference that has the *most* of
# it says how many may match. For $r$ the reference counts whose length is closest to the hypothesis, of two equally close
# ones the shorter.
#
# {{exercise corpus_bleu}}
#
# `hypotheses` is a list of texts, each a list of tokens; `references[i]` is the *list of references* of `hypotheses[i]`, each a
# list of tokens, words or ids. Tokens are compared as they are: *The* is not *the*. Return a number from 0 to 100. If there is no matching n-gram for one of the four n in the whole corpus, the score is 0.
#
# *By hand:* the sentence above, `corpus_bleu([GUESS], [[TRUTH]])`, has $50\, e^{-1/8} \approx 44.12$.
#
# <details><summary>Hint 1: the idea</summary>
#
# `Counter` does it all. `Counter(a) & Counter(b)` keeps the smaller count of each, which is clipping; `|` keeps the larger one, which
# is what several references allow; `.total()` adds up.
#
# </details>
#
# <details><summary>Hint 2: the structure</summary>
#
# Go through n = 1 to 4, and for each n through all pairs: add to `matched` and to `written`. If one `matched` is 0, return 0. The length of
# the closest reference is `min((abs(len(ref) - len(h)), len(ref)) for ref in refs)[1]`.
#
# </details>


# %% exercise="corpus_bleu"
def corpus_bleu(hypotheses, references):
    """BLEU of a corpus, from 0 to 100.

    hypotheses  texts, each a list of tokens
    references  for each text a list of references, each a list of tokens
    """
    ### BEGIN SOLUTION
    c = sum(len(h) for h in hypotheses)
    r = 0
    for h, refs in zip(hypotheses, references, strict=True):
        r += min((abs(len(ref) - len(h)), len(ref)) for ref in refs)[1]

    logs = 0.0
    for n in range(1, 5):
        matched = written = 0
        for h, refs in zip(hypotheses, references, strict=True):
            mine = Counter(tuple(h[i : i + n]) for i in range(len(h) - n + 1))
            allowed = Counter()
            for ref in refs:
                allowed |= Counter(tuple(ref[i : i + n]) for i in range(len(ref) - n + 1))
            matched += (mine & allowed).total()
            written += mine.total()
        if matched == 0:
            return 0.0
        logs += math.log(matched / written)
    brevity = min(1.0, math.exp(1 - r / c))
    return 100 * brevity * math.exp(logs / 4)
    ### END SOLUTION


# %% [markdown]
# ### The same number as sacreBLEU's
#
# BLEU looks simple, and for years papers could not be compared: each had cut its texts into tokens in a way of its own, and
# that alone can move the score by more than many an improvement that was reported. *sacreBLEU* is the program that ended this. Here are a few texts, with
# one reference and with several, in German and in Chinese. If the package is not installed, your number is compared with the one
# that it gave here.

# %% tags=["demo"]
HYPOTHESES = [
    "heute sehen die die hunde das alte haus",
    "mir ist sehr kalt und ich bin müde",
    "die katze sitzt auf dem tisch und schläft",
    "我 觉 得 今 天 冷",
]
REFERENCES = [
    ["heute sehen die kleinen hunde das alte haus nicht"],
    ["mir ist sehr kalt und ich bin sehr müde", "ich friere sehr und ich bin müde"],
    ["die katze sitzt auf dem tisch", "auf dem tisch sitzt die katze und schläft"],
    ["我 今 天 觉 得 很 冷", "今 天 我 觉 得 很 冷"],
]
SACREBLEU = 68.28464085292674  # sacrebleu.corpus_bleu(…, tokenize="none").score, version 2

with interactive.once_solved("corpus_bleu"):
    mine = corpus_bleu([h.split() for h in HYPOTHESES], [[ref.split() for ref in refs] for refs in REFERENCES])
    theirs, whose = SACREBLEU, "sacreBLEU's, recorded"
    if importlib.util.find_spec("sacrebleu"):
        sacrebleu = importlib.import_module("sacrebleu")
        streams = [
            [refs[min(i, len(refs) - 1)] for refs in REFERENCES] for i in range(2)
        ]  # one missing: the first again
        theirs, whose = sacrebleu.corpus_bleu(HYPOTHESES, streams, tokenize="none").score, "sacreBLEU's, computed"
    print(f"{'yours':22} {mine:.10f}\n{whose:22} {theirs:.10f}\ndifference {abs(mine - theirs):.0e}")

# %% [markdown]
# (Where an n has no match in the whole corpus, sacreBLEU does not say 0 but pretends a fraction of a match, *smoothing*. Over a
# real corpus it never comes to that.)
#
# ## Wider is better. Is it?
#
# Everything is there for the experiment of this chapter. The novice translates 30 sentences with beams of width 1 to 64, comparing sums
# of log-probabilities as they are, $\alpha = 0$. A wider beam looks at more texts, so it finds likelier ones. **Draw your guess: how
# does the mean log p go with the width? And how does BLEU go?**


# %% tags=["demo", "hide-input"] alt="Three plots against the width of the beam, from 1 to 64. Left, mean log p of the texts found without length norm: it rises steadily. Middle, BLEU: without length norm it rises a little at 2 and falls to less than half at 64, with alpha 1 it stays up. Right, the length of the texts relative to the references: it falls below a half without the norm and stays near one with it."
WIDTHS = (1, 2, 4, 8, 16, 32, 64)
with interactive.once_solved("beam_search and corpus_bleu"):
    exam = data.test[:30]
    truth = [[list(pair.target)] for pair in exam]
    results, samples = {}, {}
    for alpha in (0.0, 1.0):
        for width in WIDTHS:
            ours, total = [], 0.0
            for pair in exam:
                step = step_of(translators["novice"], to_batch([pair])[0])
                text, value = beam_search(step, BOS, EOS, width, alpha, 20)
                ours.append(german.decode(text))
                total += value * ((5 + min(len(text) + 1, 20)) / 6) ** alpha
            lengths = sum(map(len, ours)) / sum(len(refs[0]) for refs in truth)
            results.setdefault(alpha, []).append((total / len(exam), corpus_bleu(ours, truth), lengths))
            samples[alpha, width] = ours
    with plotting.house_style():
        fig, axes = plt.subplots(1, 3, figsize=(9.8, 3.3))
        titles = ("mean log p", "BLEU", "length / reference")
        for alpha, colour, mark in ((0.0, ORANGE, "o-"), (1.0, BLUE, "s-")):
            for ax, values, title in zip(axes, zip(*results[alpha], strict=True), titles, strict=True):
                ax.plot(WIDTHS, values, mark, color=colour, label=f"α = {alpha:.0f}")
                ax.set(xscale="log", xlabel="width of the beam", title=title)
                ax.set_xticks(WIDTHS, labels=WIDTHS)
                ax.minorticks_off()
        axes[1].set_ylim(0, None)
        axes[2].set_ylim(0, 1.1)
        axes[0].legend(frameon=False)
        plt.show()
    print(f"{'width':>5} {'log p':>8} {'BLEU':>6} {'length':>7}   with α = 1: {'log p':>8} {'BLEU':>6} {'length':>7}")
    for width, plain, normed in zip(WIDTHS, results[0.0], results[1.0], strict=True):
        print(
            f"{width:5} {plain[0]:8.2f} {plain[1]:6.1f} {plain[2]:7.0%} {'':13} {normed[0]:8.2f} {normed[1]:6.1f} {normed[2]:7.0%}"
        )
    whole = [i for i, pair in enumerate(exam) if len(samples[1.0, 64][i]) >= len(pair.target)]
    shrunk = min(whole, key=lambda i: len(samples[0.0, 64][i]) - len(samples[0.0, 4][i]))
    print(f"\nempty texts of {len(exam)}, α = 0, width 64: {samples[0.0, 64].count([])}")
    print(f"wanted       {' '.join(exam[shrunk].target)}")
    for width in (4, 64):
        print(f"α 0, {width:2} wide {' '.join(samples[0.0, width][shrunk]) or '(nothing at all)'}")
    print(f"α 1, 64 wide {' '.join(samples[1.0, 64][shrunk])}")

# %% [markdown]
# The search gets *better*, by its own measure, and the translations get *worse*. Both at once. The wide beam is not at fault: it
# finds what it was sent for, and what it was sent for is the wrong thing. A model that is unsure of ten words in a row gives any ten of
# them a tiny probability; saying *end* at once costs only one unlikely token. A narrow beam never sees that way out, because *end* is
# not among the first few words. A wide one does. **The mistakes of a small search were hiding a mistake of the aim.**
#
# The length norm repairs the aim. This is no toy's disease: it was found in large translation systems, where for more than half of
# the sentences the likeliest "translation" of all is the empty one (Stahlberg and Byrne, below). A better model suffers less, which you can try:
# put `"pupil"` in place of `"novice"`.
#
# ## What BLEU cannot see
#
# A number between 0 and 100 looks like a mark in school. **Rank these five translations of "I know that the dog does not see the
# house" yourself, from best to worst, before you run the cell.**

# %% tags=["demo"]
ORIGINAL = "ich weiß , dass der hund das haus nicht sieht"
TRIALS = {
    "says the opposite": "ich weiß , dass der hund das haus sieht",
    "exchanges who sees whom": "ich weiß , dass das haus den hund nicht sieht",
    "pieces in another order": "der hund das haus nicht sieht ich weiß , dass",
    "a slip in the grammar": "ich weiß , dass der hund die haus nicht sieht",
    "perfect, in other words": "mir ist klar : unser gebäude kann der köter nicht sehen",
}
with interactive.once_solved("corpus_bleu"):
    for name, text in TRIALS.items():
        print(f"{corpus_bleu([text.split()], [[ORIGINAL.split()]]):6.1f}   {name}\n         {text}")

# %% [markdown]
# BLEU counts runs of words. It does not know that *nicht* weighs more than *das*. It punishes other words for the same thing,
# and hardly minds when the blocks of a sentence change places. Over many sentences, between *similar* systems, much of that
# evens out, which is why it has served for more than twenty years. For a single sentence, between a system that copies phrases and one that
# understands, or for languages with rich endings, it misleads. People use it as one witness among several: chrF (characters), COMET
# (a trained judge), and human eyes.
#
# **And it depends on the scissors.** Chinese has no spaces. Cut at spaces, a whole sentence is one token, right or wrong. So Chinese is scored by
# characters, and the cut is a part of the score: say which one you used, or the number means nothing.

# %% tags=["demo"]
with interactive.once_solved("corpus_bleu"):
    wanted, came = "我知道那只狗看不见那座房子", "我知道那只狗看不见这座房子"
    for cut, name in ((str.split, "cut at spaces"), (list, "cut into characters")):
        print(f"{corpus_bleu([cut(came)], [[cut(wanted)]]):6.1f}   {name:20} {len(cut(came))} tokens")

# %% [markdown]
# One character of thirteen is another one (*this house* for *that house*).
#
# ## Quiz
#
# **1.** Beam search compares sums of log-probabilities inside a round, and normalised scores only between finished texts. Why is the norm not
# needed inside a round?
#
# <details><summary>Answer</summary>
#
# All candidates of a round have the same length, so all would be divided by the same number. The order stays.
#
# </details>
#
# **2.** Somebody sets `temperature = 0.0001` "to be deterministic". What is that, and what should they call instead?
#
# <details><summary>Answer</summary>
#
# As τ → 0 all probability goes to the largest logit: it is greedy, in a roundabout way, and one division away from infinity. Call
# `greedy_decode`. (And with two equally large logits it still throws a coin between them.)
#
# </details>
#
# **3.** With `top_p = 0.9` the likeliest token has probability 0.95. How many tokens are kept? How many would be kept by code that
# drops the token that crosses?
#
# <details><summary>Answer</summary>
#
# One: the one that crosses is the first. Dropping it leaves none, and 0/0. That is just where the model is sure.
#
# </details>
#
# **4.** Two systems have 27.3 and 27.9 BLEU in two papers. Which one is better?
#
# <details><summary>Answer</summary>
#
# That cannot be said. Were the test sets the same? Were the texts cut into tokens in the same way, in lower case or not, with as many
# references? And even then: is the difference larger than chance, by resampling the sentences? Ask for sacreBLEU's signature.
#
# </details>
#
# **5. From an interview.** *"Your translation system writes better sentences with a beam of 5 than with a beam of 100. A colleague says that
# is a bug, since a wider beam finds a superset. What do you say?"*
#
# <details><summary>A model answer</summary>
#
# First, it is no superset strictly: the beam of 100 may drop what the beam of 5 kept, because its places go to other texts. But usually it
# does find texts of higher *model* probability, and I would check just that: compare log p of both outputs under the model. If the wide one
# is higher, the search is fine, and the model prefers worse texts: mostly shorter ones, because every token costs, and because label
# smoothing and uncertainty leave some probability for the end at every step. So I look at the length ratio and tune a
# length norm, or a coverage penalty, on held-out data; or I rerank, or take the translation that agrees most with samples from the model
# (minimum Bayes risk) in place of the likeliest. If instead log p is *lower* with the wide beam, then there is a bug: finished texts dropped,
# the cache not reordered with the beam, texts of different length compared.
#
# *What a weak answer says:* "Beam search is a heuristic", and stops there.
#
# </details>
#
# ## Summary
#
# - A model gives probabilities. A text is the result of a *policy*: greedy, beam, dice.
# - Greedy cannot take back a step. A beam keeps several texts; the best of *all* candidates go on, finished ones are put aside.
# - Every token costs, so sums favour short texts. Without a length norm a better search makes worse texts.
# - Temperature changes all shares, top-k and top-p cut the tail. The token that crosses p stays.
# - BLEU: clipped precision of runs of 1 to 4 words, multiplied, times brevity. Counts are added over the corpus, then divided.
# - It cannot see meaning, and it depends on how text is cut. Report it with sacreBLEU and its signature, and read the sentences.
#
# ## Further reading
#
# - K. Papineni, S. Roukos, T. Ward, W.-J. Zhu, "BLEU: a Method for Automatic Evaluation of Machine Translation", 2002. The score.
# - M. Post, "A Call for Clarity in Reporting BLEU Scores", 2018. How much the cutting changes it; introduced sacreBLEU.
# - C. Callison-Burch, M. Osborne, P. Koehn, "Re-evaluating the Role of BLEU in Machine Translation Research", 2006. How many different
#   texts have the same BLEU.
# - Y. Wu et al., "Google's Neural Machine Translation System: Bridging the Gap between Human and Machine Translation", 2016. The length
#   norm used here, in equation 14.
# - P. Koehn, R. Knowles, "Six Challenges for Neural Machine Translation", 2017. The sixth is that wide beams make worse translations.
# - F. Stahlberg, B. Byrne, "On NMT Search Errors and Model Errors: Cat Got Your Tongue?", 2019. Exact search, and how often it finds the
#   empty text.
# - A. Fan, M. Lewis, Y. Dauphin, "Hierarchical Neural Story Generation", 2018. Top-k sampling.
# - A. Holtzman et al., "The Curious Case of Neural Text Degeneration", 2020. Why the likeliest text is dull; introduced top-p.
#
# **Next:** Part II ends here: you have built a Transformer from a softmax upwards, trained it, made it write, and measured it. Part III puts
# attention to work. It begins with chapter 16, the translation of real sentences: the models of this course side by side on one data
# set, with one table of what each of them scores and costs.
