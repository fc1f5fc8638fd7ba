# %% [markdown]
# # 7 · Reading an alignment
#
# **The network translates every sentence right. Did it look at the right words?**
#
# An attention network hands out something rare: a table that says, for each word it wrote, where it was looking. It is
# the first thing that people draw, and the last that they doubt. A bright square, and we read: *this came from that*.
#
# In this chapter the answer is known. The sentences come from a small grammar, and with each pair comes the truth: which
# German word came from which English one. So we can do what is rarely done, and *mark* an attention map. Then we do
# something rarer still. We reach into the network while it writes, turn its head, and see whether it cares.
#
# You will write three functions: from weights to links, how wrong the links are, and how wide a look is.
#
# *About two hours, 35 minutes of them for the three exercises. You need chapter 6.*

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

from attnlab import interactive, plotting
from attnlab.data import grammar
from attnlab.luong import ConcatScore
from attnlab.seq2seq import BahdanauDecoder, Encoder, LuongDecoder, Seq2Seq
from autograder import check

torch.set_num_threads(1)
BLUE, ORANGE, GREEN = plotting.COLOURS[:3]
INK = plotting.INK

data = grammar.load(6000, seed=0)
english, german = data.vocabularies["source"], data.vocabularies["target"]
unseen = data.test  # none of them is used in training
print(*str(data.example).split(" → "), sep="\n→ ")
print(f"{len(data.train):,} pairs to learn from, {len(unseen)} to test;")
print(f"{len(english)} English words, {len(german)} German ones")

# %% [markdown]
# It is a small language, but it is not word for word. German articles and adjectives change with gender, number and
# case; the verb comes second, or last after *dass*; *does not* turns into one *nicht* behind the object. The next cell
# trains the network of chapter 6, Bahdanau's, for some seconds, and then has it translate sentences it has never seen.

# %% tags=["demo", "hide-input"]
WIDTH = 32


def bahdanau():
    return BahdanauDecoder(len(german), WIDTH, 2 * WIDTH, WIDTH)


def tensors(pairs):
    """English ids (B, S) and German ids (B, T + 2), with begin and end, padded with 0."""
    source = [torch.tensor(english.encode(pair.source)) for pair in pairs]
    target = [torch.tensor(german.encode(pair.target, bos=True, eos=True)) for pair in pairs]
    return pad_sequence(source, batch_first=True), pad_sequence(target, batch_first=True)


def train(make_decoder, seed, steps=250, batch=32, rate=0.01):
    """A network trained from the given start; the rate of learning sinks to 0 over the second half."""
    torch.manual_seed(seed)
    model = Seq2Seq(Encoder(len(english), WIDTH, WIDTH), make_decoder())
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)
    source, target = tensors(data.train)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = rate * min(1, 2 * (steps - step) / steps)
        chosen = torch.randint(len(source), (batch,))
        logits = model(source[chosen], target[chosen, :-1])
        loss = cross_entropy(logits.flatten(0, 1), target[chosen, 1:].flatten(), ignore_index=0)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
    return model


def looks(model, pairs):
    """For each pair the weights (T, S): row t is where the network looked before it wrote German word t."""
    source, target = tensors(pairs)
    with torch.no_grad():
        weights = model.weights(source, target[:, :-1]).numpy()
    return [weights[b, : len(pair.target), : len(pair.source)] for b, pair in enumerate(pairs)]


def right_sentences(model, pairs):
    words, _ = model.greedy_decode(tensors(pairs)[0], 20)
    return np.mean([tuple(german.decode(row)) == pair.target for row, pair in zip(words, pairs, strict=True)])


started = time.process_time()
network = train(bahdanau, seed=0)
weights = looks(network, unseen)
print(f"{right_sentences(network, unseen):.1%} of the unseen sentences are translated without a single mistake")
print(f"({time.process_time() - started:.0f} seconds of one processor core)")

# %% tags=["demo", "hide-input"] alt="An English sentence above, its German translation below, and ribbons from each German word up to the English words that it looked at. Ribbons that run to the word it translates are blue: adjectives, nouns, the verb, nicht. Others are orange: both German articles run to the nouns behind them, not to the English the, and the comma and dass run elsewhere too. Dotted lines show the true links."
dog, woman = (next(i for i, noun in enumerate(grammar.NOUNS) if noun[0] == word) for word in ("dog", "woman"))
small, old = (
    next(i for i, adjective in enumerate(grammar.ADJECTIVES) if adjective[0] == word) for word in ("small", "old")
)
subject, thing = grammar.Phrase(woman, False, old), grammar.Phrase(dog, False, small)
example = grammar.write(grammar.Sentence(start=5, subject=subject, verb=0, negated=True, object=thing))
assert example not in data.train


def ribbons(w, pair, ax):
    """English above, German below; the width of a ribbon is a weight, its colour whether it runs to a true link."""
    T, S = w.shape
    down = np.linspace(0, 1, 40)
    bend = 3 * down**2 - 2 * down**3
    for t in range(T):
        for s in range(S):
            true = (t, s) in pair.possible
            if w[t, s] > 0.04:
                middle = s + bend * (t - s)
                half = 0.3 * w[t, s]
                ax.fill_betweenx(
                    1 - down, middle - half, middle + half, color=BLUE if true else ORANGE, alpha=0.6, lw=0
                )
            if (t, s) in pair.sure:
                ax.plot(s + bend * (t - s), 1 - down, ":", color=INK, linewidth=1.2)
    for row, y, align in ((pair.source, 1.05, "bottom"), (pair.target, -0.05, "top")):
        for i, word in enumerate(row):
            ax.text(i, y, word, ha="center", va=align, fontsize=11)
    ax.set(xlim=(-0.6, max(T, S) - 0.4), ylim=(-0.2, 1.2))
    ax.axis("off")


with plotting.house_style():
    fig, ax = plt.subplots(figsize=(9, 3.4))
    example_weights = looks(network, [example])[0]
    ribbons(example_weights, example, ax)
    plt.show()

# %% [markdown]
# Above the English, below the German. A ribbon runs from each German word to where the network looked just before it
# wrote it; the wider, the more weight. Dotted: the truth. Blue ribbons run along it, orange ones do not. (The blue one
# from *does* to *sieht* has no dots: it may be drawn, and need not be. There are two kinds of truth, as you will see.)
#
# The translation is perfect. The look is not. The articles *die* and *den* do not look at *the* at all. Is that a fault
# of the network? Hold on to your first answer.
#
# ## Where we are

# %% tags=["demo"]
interactive.road(7)

# %% [markdown]
# ## From soft to hard
#
# Row $t$ of the table $\alpha$, shape `(T, S)`, is the look before German word $t$ was written. People who align
# sentences by hand do not give weights. They draw lines: this word belongs to that one. To compare, we have to make
# lines of weights, and the plainest way is to let each query keep its greatest weight:
#
# $$A = \bigl\{\,(t, s) \;:\; s = \operatorname*{argmax}_{s'} \alpha_{t s'}\,\bigr\}.$$
#
# A pair $(t, s)$ is a **link**: first the query, here the German word, then the key, here the English one.
#
# **Before you write it, think of three rows:** $(0.34, 0.33, 0.33)$, $(0.98, 0.01, 0.01)$ and $(0, 0, 0)$. What do their
# links say, and what have they lost? The first two give the same link. How sure the network was is gone; we shall want
# it back, and that is the third exercise. The last row is that of a query that may look at nothing (chapter 5). It did
# not look at key 0.
#
# {{exercise alignment}}
#
# Return the links as a list of pairs `(t, s)` of whole numbers. (Links have no order. Sorted by query they read best, but
# any order passes, and so does a set of pairs, or an array of shape `(n, 2)`.) Where several weights of a row are equally
# great, the first of them wins. A row without any weight has no link. Leave `weights` as it is.
#
# *By hand:* the weights
#
# $$\begin{pmatrix} 0.2 & 0.7 & 0.1 \\ 0 & 0 & 0 \\ 0.5 & 0.3 & 0.2 \end{pmatrix}$$
#
# give `[(0, 1), (2, 0)]`. Query 1 has no link, and query 2 keeps its number.
#
# <details><summary>Hint 1: the idea</summary>
#
# `argmax` along the last axis answers for all rows at once, and takes the first of equals. Then leave out the rows that
# have no weight, *after* you have counted them.
#
# </details>
#
# <details><summary>Hint 2: the first line</summary>
#
# `best = weights.argmax(axis=-1)`, one position for each query.
#
# </details>


# %% exercise="alignment"
def alignment(weights):
    """The links of an attention map: each query with its heaviest key.

    weights  array (T, S): a row for each query; all zeros for a query
             that may look at nothing

    Returns a list of pairs (t, s). Does not change weights.
    """
    ### BEGIN SOLUTION
    best = weights.argmax(axis=-1)
    looked = (weights > 0).any(axis=-1)
    return [(t, int(s)) for t, s in enumerate(best) if looked[t]]
    ### END SOLUTION


# %% tags=["demo"]
with interactive.once_solved("alignment"):
    for t, s in sorted((int(t), int(s)) for t, s in alignment(example_weights)):
        verdict = "possible" if (t, s) in example.possible else "nobody drew this"
        verdict = "sure" if (t, s) in example.sure else verdict
        words = f"{example.target[t]:10}{example.source[s]:10}"
        print(f"{words}{example_weights[t, s]:5.0%}   {verdict}")

# %% [markdown]
# ## Marking a map
#
# Ask two people to align the same sentences, and they agree on most lines, not on all. What does *does* belong to, in
# *does not see*? To *sieht*, which carries its grammar? To nothing? Och and Ney gave annotators two pencils. A **sure**
# link is one that must be there. A **possible** link is one that may be there. So there are three sets. Papers call them
# $A$, $S$ and $P$; here they are curly, for the plain $S$ is the number of keys:
#
# - $\mathcal A$, the links that you predict,
# - $\mathcal S$, the sure links,
# - $\mathcal P$, the possible links. What is sure is possible, so $\mathcal P$ contains $\mathcal S$.
#
# Now there are two ways to do badly, and each has its own set. You may say what is not even possible. That is what
# **precision** counts. Or you may fail to say what is sure: that is **recall**.
#
# $$\text{precision} = \frac{|\mathcal A \cap \mathcal P|}{|\mathcal A|}, \qquad
# \text{recall} = \frac{|\mathcal A \cap \mathcal S|}{|\mathcal S|}.$$
#
# Whoever draws one safe line has perfect precision. Whoever draws them all has perfect recall. One number has to hold
# both to account. Put them together by adding the numerators and adding the denominators, and turn the result into an
# error:
#
# $$\mathrm{AER} = 1 - \frac{|\mathcal A \cap \mathcal S| + |\mathcal A \cap \mathcal P|}{|\mathcal A| + |\mathcal S|}.$$
#
# This is the **alignment error rate**. It is 0 if all your links are possible and no sure one is missing; it is 1 if
# you share nothing with anybody. A link that is only possible is never counted as missing; to draw it can only help.
#
# Here is an example for a pencil. **Count the four numbers before you read on.**

# %% tags=["demo", "hide-input"] alt="A grid of four German and four English positions. Filled squares at (0,0), (1,1) and (3,3) are sure, outlined squares at (2,2) and (2,3) are possible. Rings, the predicted links, are at (0,0), (1,1), (2,3) and (3,2)."
predicted = [(0, 0), (1, 1), (2, 3), (3, 2)]
sure = {(0, 0), (1, 1), (3, 3)}
possible = {(0, 0), (1, 1), (3, 3), (2, 2), (2, 3)}

with plotting.house_style():
    fig, ax = plt.subplots(figsize=(5.4, 3.0))
    for t in range(4):
        for s in range(4):
            is_sure, is_possible = (t, s) in sure, (t, s) in possible
            square = {"facecolor": BLUE if is_sure else "none", "alpha": 0.8 if is_possible else 0.6}
            edge = {"edgecolor": BLUE if is_possible else INK, "linewidth": 2.5 if is_possible else 0.8}
            ax.add_patch(plt.Rectangle((s - 0.4, t - 0.4), 0.8, 0.8, **square, **edge))
    t, s = np.array(predicted).T
    ax.scatter(s, t, s=260, facecolors="none", edgecolors=ORANGE, linewidths=3)
    for y, mark, words in ((0.4, BLUE, "sure"), (1.4, "none", "possible")):
        ax.add_patch(plt.Rectangle((4.3, y - 0.25), 0.5, 0.5, facecolor=mark, edgecolor=BLUE, linewidth=2.5))
        ax.text(5.1, y, words, va="center")
    ax.scatter([4.55], [2.4], s=160, facecolors="none", edgecolors=ORANGE, linewidths=3)
    ax.text(5.1, 2.4, "predicted", va="center")
    ax.set(xlim=(-0.6, 7), ylim=(3.6, -0.6), xticks=range(4), yticks=range(4), aspect="equal", ylabel="query t")
    ax.set_xlabel("key s", x=0.28)
    ax.tick_params(length=0)
    for side in ("left", "bottom"):
        ax.spines[side].set_visible(False)
    plt.show()

# %% [markdown]
# Four rings, $|\mathcal A| = 4$. Three filled squares, $|\mathcal S| = 3$. Two rings sit on filled squares,
# $|\mathcal A \cap \mathcal S| = 2$. Three sit on any square with a blue edge, $|\mathcal A \cap \mathcal P| = 3$. So $\mathrm{AER} = 1 - \frac{2 + 3}{4 + 3} = \frac27$.
#
# Note what happened to ring $(2, 3)$. It is no sure link, so it is missing from $\mathcal A \cap \mathcal S$; but it is possible, and
# precision was happy with it. And to $(2, 2)$: nothing. It was left out, and is not
# counted as missing. (Drawn, it would have taken the rate from $\frac27$ to $\frac28$.)
#
# {{exercise alignment_error_rate}}
#
# $$\mathrm{AER} = 1 - \frac{|\mathcal A \cap \mathcal S| + |\mathcal A \cap \mathcal P|}{|\mathcal A| + |\mathcal S|}$$
#
# The three arguments are collections of pairs: lists, tuples or sets, whatever the caller has. A link that is listed
# twice is one link. Some corpora list the sure links among the possible ones, some apart: *you* see to it that
# $\mathcal P$ contains $\mathcal S$, without writing into a set that belongs to the caller. If nothing is predicted and
# nothing is sure, nothing went wrong: 0.
#
# *By hand:* the picture above, $\frac27$.
#
# <details><summary>Hint 1: the idea</summary>
#
# Python's sets can do the whole formula: `a & b` is what two sets share, `a | b` what is in either, `len` counts. Only
# sets can: a list has no `&`. And `a | b` makes a new set, where `a |= b` and `a.update(b)` change `a`.
#
# </details>
#
# <details><summary>Hint 2: the first line</summary>
#
# `predicted, sure = set(predicted), set(sure)`, then `possible`, then the case of nothing at all.
#
# </details>


# %% exercise="alignment_error_rate"
def alignment_error_rate(predicted, sure, possible):
    """How far predicted links are from those that people drew.

    predicted  links, pairs (t, s): a list, tuple or set
    sure       links that must be there
    possible   links that may be there; the sure ones may be listed here,
               too, or not

    Returns a number from 0 (perfect) to 1 (nothing shared). Does not
    change its arguments.
    """
    ### BEGIN SOLUTION
    predicted, sure = set(predicted), set(sure)
    possible = set(possible) | sure
    if not predicted and not sure:
        return 0.0
    right = len(predicted & sure) + len(predicted & possible)
    return 1 - right / (len(predicted) + len(sure))
    ### END SOLUTION


# %% [markdown]
# ## A perfect translator sits an exam
#
# Three candidates align the unseen sentences.
#
# - **The diagonal.** German word $t$ with English word $t$. It has seen nothing and knows nothing.
# - **The dictionary.** IBM's Model 1, of 1993. It knows no order and no grammar. It only counts, over and over, which
#   words turn up in pairs together. Every English sentence gets one more word, called *nobody*, for German words that
#   come from no word in particular; what it gives to *nobody* has no link. It cannot translate a sentence.
# - **The network.** You have seen it translate.
#
# **Who wins, and how large is the network's error?** Write down a number.

# %% tags=["demo"]
NOBODY = 0  # an English word that is nowhere, for German words without a source


def word_ids(pair):
    """German word numbers (T,) and English ones (S + 1,), the first of them nobody's."""
    return np.array(german.encode(pair.target)), np.array([NOBODY, *english.encode(pair.source)])


def model_1(pairs, rounds=8):
    """p(german | english), shape (German, English): what becomes of each word."""
    p = np.full((len(german), len(english)), 1 / len(german))
    ids = [word_ids(pair) for pair in pairs]
    for _ in range(rounds):
        counts = np.zeros_like(p)
        for g, e in ids:
            share = p[g[:, None], e]  # (T, S + 1): who may have made this word?
            share /= share.sum(axis=1, keepdims=True)
            np.add.at(counts, (g[:, None], e), share)
        p = counts / np.maximum(counts.sum(axis=0), 1e-12)
    return p


def dictionary_weights(p, pair):
    """For each German word, how likely each English one has made it: (T, S).

    All zeros where nobody is the likeliest.
    """
    g, e = word_ids(pair)
    share = p[g[:, None], e]
    somebody = share[:, 1:].max(axis=1, keepdims=True) > share[:, :1]
    made = share[:, 1:] * somebody
    return made / np.maximum(made.sum(axis=1, keepdims=True), 1e-12)


def pooled(list_of_links):
    """The links of many sentences in one set; sentence b begins at 100 b."""
    numbered = enumerate(list_of_links)
    return {(100 * b + t, 100 * b + s) for b, links in numbered for t, s in links}


def rate_of(maps_of_sentences):
    links = pooled(alignment(w) for w in maps_of_sentences)
    return alignment_error_rate(links, all_sure, all_possible)


all_sure = pooled(pair.sure for pair in unseen)
all_possible = pooled(pair.possible for pair in unseen)
p = model_1(data.train)
maps = {
    "the diagonal": [np.eye(len(pair.target), len(pair.source)) for pair in unseen],
    "the dictionary": [dictionary_weights(p, pair) for pair in unseen],
    "the network": weights,
}
with interactive.once_solved("alignment_error_rate"):
    for name, candidates in maps.items():
        print(f"{name:16} AER {rate_of(candidates):.3f}")

# %% [markdown]
# The rate is taken over all sentences at once, with their links in one set; a mean of the sentences' rates would count
# a line of a short sentence for more than a line of a long one.
#
# The dictionary, which cannot translate, aligns better than the network, which can. **So is the network's attention
# bad?** Look at *what* it gets wrong.

# %% tags=["demo", "hide-input"] alt="Horizontal bars, one a class of German words, divided into where the network looked most. Nouns, adjectives, verbs, nicht: almost all at the word they translate. Articles: none there; all at the adjective or noun behind them. Comma and dass, ich weiß: mostly elsewhere."
CLASSES = ("noun", "adjective", "verb", "nicht", "adverb", "der, den, das", "die", "ich weiß", "comma, dass")
ENDED = {word for verb in grammar.VERBS for word in verb[2:]}
NOUNS = {word for noun in grammar.NOUNS for word in noun[2:4]}
OPENERS = {word for _, words in grammar.OPENERS for word in words.split()}
ADVERBS = {word for _, word in grammar.ADVERBS}


def class_of(word):
    if word in (",", "dass"):
        return "comma, dass"
    if word in ("der", "den", "das"):
        return "der, den, das"
    if word in ("die", "nicht"):
        return word
    for name, words in (("noun", NOUNS), ("verb", ENDED), ("ich weiß", OPENERS), ("adverb", ADVERBS)):
        if word in words:
            return name
    return "adjective"


def phrase_behind(pair, t):
    """The English positions behind the word that German word t translates, up to the next noun."""
    links = dict(pair.sure)
    nouns = [links[u] for u in range(t, len(pair.target)) if pair.target[u] in NOUNS]
    return range(links[t] + 1, nouns[0] + 1) if t in links and nouns else range(0)


def where_it_looked(w, pair, t):
    """0: at a true link, 1: at the adjective or noun behind it, 2: elsewhere."""
    s = int(w[t].argmax())
    return 0 if (t, s) in pair.possible else 1 if s in phrase_behind(pair, t) else 2


def shares_by_class(list_of_weights):
    counts = {name: np.zeros(3) for name in CLASSES}
    for w, pair in zip(list_of_weights, unseen, strict=True):
        for t, word in enumerate(pair.target):
            counts[class_of(word)][where_it_looked(w, pair, t)] += 1
    return {name: count / count.sum() for name, count in counts.items()}


def draw_shares(ax, list_of_weights, title):
    for y, (name, share) in enumerate(shares_by_class(list_of_weights).items()):
        left = 0
        for part, colour in zip(share, (BLUE, ORANGE, INK), strict=True):
            face = colour if colour != INK else "none"  # hollow, so that its label reads by night, too
            ax.barh(y, part, left=left, facecolor=face, edgecolor=colour, linewidth=0.8)
            if part > 0.12:
                ax.text(
                    left + part / 2,
                    y,
                    f"{part:.0%}",
                    ha="center",
                    va="center",
                    color="white" if colour != INK else INK,
                    fontsize=9,
                )
            left += part
        ax.text(-0.02, y, name, ha="right", va="center")
    ax.set(ylim=(len(CLASSES) - 0.4, -0.6), xlim=(0, 1), title=title)
    ax.axis("off")


with plotting.house_style():
    fig, ax = plt.subplots(figsize=(8, 3.8))
    draw_shares(ax, weights, "")
    for x, colour, words in (
        (0.0, BLUE, "at its true link"),
        (0.32, ORANGE, "at the adjective or noun behind it"),
        (0.78, INK, "elsewhere"),
    ):
        ax.text(x, -0.75, words, color=colour, fontsize=11)
    plt.show()

# %% [markdown]
# Nouns, adjectives, verbs and *nicht* sit on their true links. All the trouble comes from small words, and the articles
# make a rule of it: they hardly ever look most at *the*, but at the noun behind it, or at the noun's adjective.
#
# Put yourself in the network's place. You are about to write an article: *der*, *die*, *das* or *den*? English *the*
# will not tell you. It is the same for all. What decides is the gender and number of the noun behind it. The next cell
# puts one subject after the other into the same sentence, and reads off what the network wants to write first.

# %% tags=["demo"]
print(f"{'':29}{'der':>6}{'die':>6}{'das':>6}{'on “the”':>12}{'on the noun':>13}")
for words in ("dog visits", "woman visits", "child visits", "women visit"):
    sentence = f"the {words} the old king".split()
    source = torch.tensor([english.encode(sentence)])
    begin = torch.tensor([[german["<bos>"]]])
    with torch.no_grad():
        chances = network(source, begin)[0, 0].softmax(-1)
        look = network.weights(source, begin)[0, 0]
    chances = [chances[german[article]] for article in ("der", "die", "das")]
    likely = "".join(f"{chance:6.2f}" for chance in chances)
    print(f"{' '.join(sentence):29}{likely}{look[0]:12.2f}{look[1]:13.2f}")

# %% [markdown]
# There is the answer to the question on the first page. **The network is right, and so is the gold.** They answer
# different questions. The gold says what a word is *a translation of*. The weights say what the network needed *to know*
# to write it. For a noun the two are the same. For an article they are not, and a network that looked at *the* would
# have learned nothing there.
#
# And the dictionary, which has no gender to think of? **Where will it link the articles?**

# %% tags=["demo"]
columns = ("“the”", "its noun", "“does”", "others", "nobody")
print("linked to", *(f"{name:>9}" for name in columns), " in sentences")
for article in ("der", "die", "das", "den"):
    links = dict.fromkeys(("the", "noun", "does", "others", "nobody"), 0)
    for w, pair in zip(maps["the dictionary"], unseen, strict=True):
        for t in (t for t, word in enumerate(pair.target) if word == article):
            s, behind = int(w[t].argmax()), phrase_behind(pair, t)
            to = "noun" if s in behind[-1:] else "others"
            to = pair.source[s] if pair.source[s] in links else to
            links[to if w[t].any() else "nobody"] += 1
    shares = "".join(f"{n / sum(links.values()):10.0%}" for n in links.values())
    often = np.mean([article in pair.target for pair in data.train])
    print(f"{article:9}{shares}{often:14.0%}")
often = np.mean(["the" in pair.source for pair in data.train])
print(f"sentences with “the”: {often:.0%}")
alike = np.allclose(p[:, english["the"]], p[:, NOBODY])
print("“the” and nobody explain every German word alike:", alike)

# %% [markdown]
# No article goes to *the*, and again for a reason. *the* is in every sentence, and "nobody" is too: who only counts cannot
# tell the two apart. *die* is in nearly every sentence itself, so both explain it best, and our program gives a tie to
# nobody. The rarer articles go to what is as rare as they are: *das* and *den* to their nouns, *der* to its noun or to
# *does*, which is a sign of a singular subject, as *der* is. So the dictionary does not answer the question of the gold
# either. It says what *occurs* together.
#
# This is not a quirk of our grammar. Ghader and Monz (2017) compared attention with alignments in real German–English
# systems, by part of speech: close for nouns, further apart for others, and what lay apart was often useful. That AER
# says little about how well a system translates was known before there was attention (Fraser and Marcu, 2007).
#
# ## How wide is a look?
#
# Ribbons were wide or narrow, and our links threw that away. What we want back is one number a row: is this look sharp, or
# spread? Chapter 1 had the number, the **entropy**; now in natural logarithms, whose unit is the *nat*:
#
# $$H_t = -\sum_{s=1}^{S} \alpha_{ts} \ln \alpha_{ts}.$$
#
# A look at one key alone: $H = -1 \ln 1 = 0$. An even look at $S$ keys: $H = -S \cdot \frac1S \ln \frac1S = \ln S$, and
# no look can be wider. So $e^H$ can be read as *the number of keys it looks at*, even where it is no whole number.
#
# Now type the formula, and try it on the first case, $(1, 0, 0)$. **What comes out?**

# %% tags=["demo"]
row = np.array([1.0, 0.0, 0.0])
with np.errstate(all="ignore"):
    print("as printed:", -np.sum(row * np.log(row)))
print("tiny weights:", *(f"{w:7.0e}" for w in (1e-1, 1e-3, 1e-6, 1e-12)))
print("their terms: ", *(f"{-w * np.log(w):7.1e}" for w in (1e-1, 1e-3, 1e-6, 1e-12)))

# %% [markdown]
# $\ln 0$ is $-\infty$, and $0 \cdot \infty$ is not a number. But the last line shows where the term is going: as $w$
# sinks to 0, $-w \ln w$ sinks to 0 as well, the logarithm is no match for the factor before it. So a key without weight
# adds nothing, and $0 \ln 0$ *means* 0. Exact zeros are no rarity: every masked key has one.
#
# {{exercise attention_entropy}}
#
# $$H_t = -\sum_s \alpha_{ts} \ln \alpha_{ts}, \qquad 0 \ln 0 = 0$$
#
# `weights` has shape `(…, T, S)`; there may be axes for batch and heads in front. Return an array of shape `(…, T)`. A
# query without any weight has entropy 0, and a look at one key alone has 0 exactly, not a little less: no entropy is
# below 0. Leave `weights` as it is.
#
# *By hand:* $(\frac12, \frac14, \frac14)$ gives $\frac12 \ln 2 + 2 \cdot \frac14 \ln 4 = 1.5 \ln 2$, about 1.04 nats: as
# wide as an even look at $e^{1.04} \approx 2.8$ keys.
#
# <details><summary>Hint 1: the idea</summary>
#
# Where a weight is 0, let the logarithm see a 1 instead: $\ln 1 = 0$, and the term is $0 \cdot 0$. A tiny number *added*
# to all weights would move the other terms, too, and give $(1, 0)$ an entropy below 0.
#
# </details>
#
# <details><summary>Hint 2: the first line</summary>
#
# `safe = np.where(weights > 0, weights, 1)` makes a new array, and the old one stays as it is.
#
# </details>


# %% exercise="attention_entropy"
def attention_entropy(weights):
    """How widely each query looks, in nats.

    0 for one key alone, ln S for all alike.

    weights  array (..., T, S)

    Returns an array (..., T). Does not change weights.
    """
    ### BEGIN SOLUTION
    safe = np.where(weights > 0, weights, 1)
    return -np.sum(weights * np.log(safe), axis=-1)
    ### END SOLUTION


# %% [markdown]
# Now for a second network. It differs from the first in one number: the seed from which its parameters were drawn. And a
# third one, after Luong, which looks with its *new* state instead of its old one (chapter 6).

# %% tags=["demo"]


def luong():
    return LuongDecoder(len(german), WIDTH, 2 * WIDTH, WIDTH, ConcatScore(WIDTH, 2 * WIDTH, WIDTH))


started = time.process_time()
networks = {
    "Bahdanau": network,
    "Bahdanau, other seed": train(bahdanau, seed=4),
    "Luong": train(luong, seed=0, steps=300),
}
all_weights = {name: looks(model, unseen) for name, model in networks.items()}
with interactive.once_solved("alignment_error_rate"):
    for name, model in networks.items():
        right = f"{right_sentences(model, unseen):7.1%} of sentences right"
        print(f"{name:22}{right}    AER {rate_of(all_weights[name]):.3f}")
    print(f"{'the dictionary':51}AER {rate_of(maps['the dictionary']):.3f}")
print(f"({time.process_time() - started:.0f} seconds of one processor core)")

# %% tags=["demo", "hide-input"] alt="Number of keys looked at, by position in the sentence, for three networks. The positions are those of sentences like ich weiß, dass die alte frau den kleinen hund nicht sieht. All three are near one key at adjectives and nouns, and wider at the comma, dass and some articles, each in its own way."
template = [i for i, pair in enumerate(unseen) if len(pair.target) == 12]
places = [
    "ich",
    "weiß",
    "comma",
    "dass",
    "article",
    "adjective",
    "noun",
    "article",
    "adjective",
    "noun",
    "nicht",
    "verb",
]
with plotting.house_style(), interactive.once_solved("attention_entropy"):
    spread = {
        name: np.exp(attention_entropy(np.stack([maps_of[i] for i in template]))).mean(axis=0)
        for name, maps_of in all_weights.items()
    }
    fig, ax = plt.subplots(figsize=(8.6, 3.4))
    for (name, keys), colour, mark in zip(spread.items(), (BLUE, GREEN, ORANGE), "osD", strict=True):
        ax.plot(keys, mark, linestyle="-", color=colour, label=name)
    ax.axhline(1, color=INK, linewidth=0.8, linestyle=":")
    ax.set(ylabel="keys looked at, exp(H)", ylim=(0.8, None))
    ax.set_xticks(range(12), labels=places, rotation=40, ha="right")
    ax.legend(fontsize=10)
    print(f"mean of {len(template)} unseen sentences of this form; an even look would be at 12 keys")
    plt.show()

# %% [markdown]
# Entropy by position. At adjectives, nouns and *nicht* there is one word to be read, and all three read it. At the comma
# and *dass* the look goes soft.
#
# And see the table above the picture. **The first two networks translate equally well, and their error rates lie far
# apart.** The second is level with the dictionary, which beat the first with ease: "attention aligns worse than
# counting" would have been a finding about one seed. The seeds were picked to show it, from a handful: try others. Whatever an attention map tells you, it tells
# you about *this* network, not about the sentence.
#
# ## Off by one
#
# Some networks look one step early or late: the whole map is shifted against the gold. What is known about that?
#
# - Koehn and Knowles (2017) compared attention with a statistical aligner's links. In most of their language pairs the
#   two agreed more often than not. In one, German to English, they hardly did: in the map that they print, the points
#   are off by one position. They call it an outlier, and leave the cause open. Their systems were built with Nematus,
#   whose decoder takes in the last word before it looks.
# - When a decoder looks, the word it is about to write does not exist yet. Peter, Nix and Ney (2017) let it know the
#   coming word, and the links improve.
# - In a Transformer, Chen et al. (2020) read the links of a word one step *later*, when that word is the input. They are
#   much better there.
#
# What do ours do? Move all links by one step and measure again. **Guess which of the three is shifted.**

# %% tags=["demo"]
with interactive.once_solved("alignment_error_rate"):
    columns = f"{'the word before':>16}{'its own word':>14}{'the word after':>16}"
    print(f"{'AER, each look given to':26}{columns}")
    for name, maps_of in all_weights.items():
        rates = []
        for step in (-1, 0, 1):
            links = pooled([(t + step, s) for t, s in alignment(w) if 0 <= t + step < len(w)] for w in maps_of)
            rates.append(alignment_error_rate(links, all_sure, all_possible))
        print(f"{name:26}{rates[0]:16.3f}{rates[1]:14.3f}{rates[2]:16.3f}")

# %% [markdown]
# None of them. Neither the old state nor the new one costs a step here. What was off in ours was off by a *reason*, not
# by one.
#
# So before you report a shift, look for the usual cause: **the reader**. In training, the decoder is fed
# `<bos> die alte frau` and writes `die alte frau <eos>`. Label the rows of its weights with the words that go *in*, and
# every row is named one word too early. That is a column of the table above, and it looks like a dramatic finding.
#
# A second warning of the same kind. Key $s$ is not English word $s$. It is $h_s$, the state of a GRU that has read the
# sentence from both sides up to $s$ (chapter 6). You have seen what that does: an article may look at the *adjective*,
# which says nothing about gender, because the adjective's state has read the noun behind it. Weights say where in the
# *memory* a network looked, not where in the text.
#
# ## Do the weights explain anything?
#
# Until now we have only read. What would show that a look *mattered*? Take it away, and see what changes.
#
# ### Other weights, same output
#
# First the hard fact, without any network. Attention returns an average, $c = \sum_s \alpha_s v_s$. Let four values sit
# at the corners of a square. Look at two opposite corners, half and half: the average is the centre. Look at the two
# *others*: the centre again.

# %% tags=["demo"]
values = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])  # four keys, d_v = 2
for row in ([0.5, 0, 0.5, 0], [0, 0.5, 0, 0.5], [0.25, 0.25, 0.25, 0.25]):
    print(f"weights {row!s:26} output {np.array(row) @ values}")

# %% [markdown]
# Two maps that have no key in common, and nobody downstream can tell them apart. When can that happen? New weights
# $\alpha + n$ leave the output alone if $\sum_s n_s v_s = 0$, and they are still weights if $\sum_s n_s = 0$ (and none
# falls below 0). Those are $d_v + 1$ equations for $S$ unknowns. **With more than $d_v + 1$ keys there is always such an
# $n$** (Brunner et al., 2020, who ask this of Transformers). Where no weight is exactly 0, as after any softmax without a
# mask, a small enough step along $n$ takes none below 0. And with fewer keys there is an $n$ if the values are linearly
# dependent in the right way; in the extreme, if they are all equal, *any* weights do.
#
# Is that our network's case? Stack the values of a sentence beside a column of ones, and count how many rows are
# independent.

# %% tags=["demo"]
with torch.no_grad():
    memory, _ = network.start(tensors([example])[0])
ones = torch.ones(len(example.source), 1)
stacked = torch.cat([memory.values[0], ones], dim=1)  # (S, d_v + 1)
S, width = stacked.shape
rank = torch.linalg.matrix_rank(stacked)
print(f"S = {S} keys, d_v + 1 = {width}, independent rows: {rank}")

# %% [markdown]
# No: 12 keys in 64 dimensions, all independent. Here other weights always mean another context. But a different context
# need not mean a different *word*. For that, we have to ask the network.
#
# ### Turning its head
#
# The next cell stops the decoder at every step. It forces it to look at one single English word, has it write, and notes
# how likely the right German word still is. Then the next English word. That gives a second map beside the weights: not
# *where did it look*, but **where could it have looked, and written the same?**
#
# Think of the row of *hund*, and of the rows of the comma and *dass*. **What will they be like?**

# %% tags=["demo", "hide-input"] alt="Two tables side by side, a row for each German word, a column for each English one. Left, the weights: mostly one bright cell a row. Right, how likely the right German word is when the network may look at one English word only. Rows of adjectives, hund and nicht have the same single bright cell as on the left. The rows of the comma and of dass are bright all along: any look will do. The articles are bright in several places."


def forced(model, pairs, weights_at):
    """How likely each right word is when step t looks with weights_at(t, mask) of shape (B, S): an array (B, T)."""
    source, target = tensors(pairs)
    decoder = model.decoder
    chances = []
    with torch.no_grad():
        memory, state = model.start(source)
        for t, embedded in enumerate(decoder.embed(target[:, :-1]).unbind(1)):
            context = (weights_at(t, memory.mask[:, 0])[:, None] @ memory.values)[:, 0]
            turned = decoder.cell(torch.cat([embedded, context], -1), state)
            logits = decoder.readout(torch.cat([turned, context, embedded], -1))
            chances.append(logits.softmax(-1).gather(1, target[:, t + 1, None])[:, 0])
            state = decoder.step(embedded, state, memory).state  # and goes on as if nothing had happened
    return torch.stack(chances, dim=1).numpy()


def looking_only_at(s):
    def weights_at(t, mask):
        only = torch.zeros(mask.shape)
        only[:, s] = 1
        return only

    return weights_at


what_if = np.stack([forced(network, [example], looking_only_at(s))[0, :-1] for s in range(len(example.source))], axis=1)
with plotting.house_style():
    fig, (left, right) = plt.subplots(1, 2, figsize=(9.6, 4.9), sharey=True)
    plotting.alignment_map(example_weights, example.target, example.source, title="where it looked", ax=left)
    plotting.alignment_map(what_if, example.target, example.source, title="where it could have looked", ax=right)
    right.set_ylabel("")
    plt.show()

# %% [markdown]
# On the right, yellow means: looking *only there*, it writes the right word all the same. (The ring marks the row's
# greatest value.)
#
# Read the rows of *alte*, *kleinen*, *hund*, *nicht*: both maps have the same one bright cell. Look elsewhere, and the
# word is lost. Here the weights tell the truth, and nearly all of it. (*frau* has a second bright cell, at *does*: a
# neighbour whose state has read *woman* just before.)
#
# Now read the comma and *dass*. They are bright nearly from end to end. After *ich weiß* comes a comma, after the comma
# comes *dass*: the decoder's own state knows it. The map on the left shows a look there, and it means nothing. It is
# what a gaze does while the mouth says what it knows by heart.
#
# ### All words, not one sentence
#
# One sentence is an anecdote. So take all unseen ones. **Taking a look away** shall mean to make it even, $1/S$ for each
# word, at one step, with all other steps untouched. A word is *lost* if the right one is then no longer more likely than
# not. How often is it lost, by class? And how often had the look agreed with the gold?

# %% tags=["demo", "hide-input"] alt="Scatter plot of word classes for two networks. Across: how often the look agreed with the gold. Up: how often the word is lost when the look is taken away. Upper right: nouns, adjectives, verbs, nicht, looks that agree and matter. Upper left: der, den, das, which disagree with the gold and matter. Lower left: comma and dass, which do neither. Lower right: adverbs in both networks and, in the second, die, which agree with the gold and do not matter."


def even(t, mask):
    return mask / mask.sum(-1, keepdim=True)


def lost_by_class(model, list_of_weights):
    """For each class: the share of looks that agree with the gold, the share of words lost with an even look."""
    chances = forced(model, unseen, even)
    rows = {name: [] for name in CLASSES}
    for b, (w, pair) in enumerate(zip(list_of_weights, unseen, strict=True)):
        for t, word in enumerate(pair.target):
            rows[class_of(word)].append((where_it_looked(w, pair, t) == 0, chances[b, t] < 0.5))
    return {name: np.mean(row, axis=0) for name, row in rows.items()}


both = ("Bahdanau", "Bahdanau, other seed")
points_of = {name: lost_by_class(networks[name], all_weights[name]) for name in both}
print(f"{'':16}{both[0]:>15}{both[1]:>26}")
print(f"{'':16}{'agrees':>8}{'lost':>7}{'agrees':>19}{'lost':>7}")
for label in CLASSES:
    (agrees, lost), (agrees_too, lost_too) = (points_of[name][label] for name in both)
    print(f"{label:16}{agrees:8.0%}{lost:7.0%}{agrees_too:19.0%}{lost_too:7.0%}")
with plotting.house_style():
    fig, axes = plt.subplots(1, 2, figsize=(9.6, 4.2), sharey=True)
    for ax, name in zip(axes, both, strict=True):
        points = points_of[name]
        groups = []  # classes at almost the same place share a label
        for label, place in sorted(points.items(), key=lambda item: -item[1][1]):
            near = [group for group in groups if np.abs(group[0] - place).max() < 0.07]
            near[0][1].append(label) if near else groups.append((place, [label]))
            ax.plot(*place, "o", color=BLUE if place[0] > 0.5 else ORANGE, markersize=8, clip_on=False)
        for (agrees, lost), labels in groups:
            side = "right" if agrees > 0.5 else "left"
            x = agrees - 0.04 if agrees > 0.5 else agrees + 0.04
            ax.text(x, lost, " / ".join(labels), va="center", ha=side)
        ax.axvline(0.5, color=INK, linewidth=0.8, linestyle=":")
        ax.axhline(0.5, color=INK, linewidth=0.8, linestyle=":")
        ax.set(xlim=(-0.04, 1.04), ylim=(-0.06, 1.04), title=name, xlabel="the look agreed with the gold")
    axes[0].set_ylabel("the word is lost without it")
    plt.show()

# %% [markdown]
# Four corners, and each has a lesson. (Some classes stand between them, and some change sides with the network. That is a
# lesson too: a map is of one network, not of the language.)
#
# - **Top right: it agrees, and it matters.** Nouns, adjectives, verbs, *nicht*. What the map shows is what happens.
# - **Top left: it looks wrong, and it matters.** *der*, *den*, *das*. Whoever prunes looks that disagree with the gold
#   loses the grammar.
# - **Bottom left: it looks wrong, and it does not matter.** The comma and *dass*. They look somewhere, each network
#   somewhere else, and nothing changes when they do not.
# - **Bottom right: it looks right, and it does not matter.** The adverbs, in both networks, lean this way. The clear case is
#   *die* in the second network: most of these looks go to *the*, just as the gold has it, and without them hardly a *die*
#   is lost. A convincing picture of very little.
#
# One caution about the last corner. *die* is the most frequent article, and so a good guess for a network that is told
# nothing. To survive an ablation is not the same as never to have been used.
#
# ### The debate, in two experiments
#
# In 2019 this became a quarrel with memorable titles. *Attention is not Explanation*, wrote Jain and Wallace. In
# classifiers and question answering over an LSTM, they found that weights agree only weakly with other measures of
# importance (gradients, leaving a word out), and that for a given text one can often construct quite different weights
# which hardly change the prediction. If two maps lead to one answer, how can either be *the* reason?
#
# *Attention is not not Explanation*, answered Wiegreffe and Pinter. Weights that are constructed afterwards, for one
# text, belong to no model that anybody could train. *A* reason need not be the *only* one. And first of all one should
# ask whether the task needs attention: on some of those data sets, a model with weights frozen at uniform did as well.
# There, weights cannot explain, because they do nothing. They propose tests, among them this one.
#
# You have just run a version of the first experiment, at every step. The second is one line: set chapter 3's vector $v$, from
# which all scores come, to 0, and keep it there. Then all scores are equal, and every look is even. Train that. **How well will it
# translate?**

# %% tags=["demo"]


def uniform():
    decoder = bahdanau()
    decoder.attention.v.weight.requires_grad_(False).zero_()
    return decoder


never_looked = train(uniform, seed=0)
print(f"trained to look:        {right_sentences(network, unseen):6.1%} of sentences right")
print(f"trained without a look: {right_sentences(never_looked, unseen):6.1%}")

# %% [markdown]
# Here attention is needed. So on this task both sides are right, word by word. For a noun, the weights are where its
# content comes from; alternatives fail. For *dass*, any weights do, and the map explains nothing. A single verdict on
# "attention" mixes the two, and depends on how many words of each kind your task has. (A classifier gives *one* answer
# for a whole text, and each of its states has read all of it. There most looks may be of the second kind.)
#
# The practical rule: **a map is a hypothesis.** It costs nothing and is often right. Before you build on it, change what
# it says matters, and see whether the output follows; and change what it says does not.
#
# ## The same in PyTorch
#
# PyTorch has the pieces ready: `argmax`, and `torch.special.entr`, which is $-w \ln w$ with the 0 in its place.

# %% tags=["demo"]
as_tensor = torch.tensor(example_weights)
with interactive.once_solved("alignment"):
    theirs = list(enumerate(as_tensor.argmax(dim=-1).tolist()))
    print("same links:", set(map(tuple, alignment(example_weights))) == set(theirs))
with interactive.once_solved("attention_entropy"):
    gap = torch.special.entr(as_tensor).sum(-1) - torch.tensor(attention_entropy(example_weights))
    print(f"greatest difference of the entropies: {gap.abs().max():.1e}")

# %% [markdown]
# In PyTorch an entropy can also be *trained*: add it to the loss, and looks become sharper. Then a gradient has to come
# through, and there is a trap. Both functions below return the right entropy of $(1, 0)$. **Do both have a gradient?**

# %% tags=["demo"]


def repaired_outside(w):
    return -torch.where(w > 0, w * torch.log(w), 0.0).sum()


def repaired_inside(w):
    return -(w * torch.log(torch.where(w > 0, w, 1.0))).sum()


for function in (repaired_outside, repaired_inside):
    w = torch.tensor([1.0, 0.0], requires_grad=True)
    entropy = function(w)
    entropy.backward()
    print(f"{function.__name__:18} entropy {abs(entropy.item()):.1f}   gradient {w.grad.tolist()}")

# %% [markdown]
# Choosing the 0 *after* the logarithm hides the damage from the value, not from the gradient: the branch that was not
# chosen still sends back $0 \cdot \infty$. It is the autopsy of chapter 1 again. Put the 1 *under* the logarithm.
#
# ## Quiz
#
# **1.** An aligner predicts half of the sure links, and nothing else. What are its precision, its recall and its AER?
#
# <details><summary>Answer</summary>
#
# Precision 1, recall $\frac12$. With $|\mathcal S| = 2n$ and $|\mathcal A| = n$, both intersections have $n$ links, so
# $\mathrm{AER} = 1 - \frac{2n}{3n} = \frac13$. The mean of precision and recall would have said $1 - \frac34 = \frac14$.
#
# </details>
#
# **2.** A look has entropy 0. Is it a correct look?
#
# <details><summary>Answer</summary>
#
# It is a *sharp* look: all weight on one key. Whether on the right one, entropy cannot say, and whether it matters, not
# either. Width, agreement with the gold, and effect are three different measurements; you have taken all three.
#
# </details>
#
# **3.** Your colleague's attention map is perfect, except that the look of each word stands in the row above it. What
# do you ask first?
#
# <details><summary>Answer</summary>
#
# What the rows are labelled with. In teacher forcing the decoder's input is the target shifted by one. The weights of
# the step that *reads* `<bos>` belong to the first word that is *written*. Only when the labels are right, ask whether
# the network is shifted.
#
# </details>
#
# **4.** A layer has 40 keys, and values of width 16. Somebody shows you the weights of one query as the reason for its
# output. What can you show them?
#
# <details><summary>Answer</summary>
#
# Other weights with exactly the same output. There are 40 unknowns and 17 conditions, so 23 directions to move in; go
# along one until a weight reaches 0. (If the softmax gave no weight exactly 0, there is room to move.) The weights that
# they have are the ones the layer *computed*, but the output does not depend on which of all these they were.
#
# </details>
#
# **5. From an interview.** *"A client wants us to show attention weights to the end user as an explanation of each
# decision. Do you agree?"*
#
# <details><summary>A model answer</summary>
#
# Not as they are. A weight says how much of a *value* entered one average. It does not say that the value mattered:
# what follows may ignore it, other paths (the decoder's state, residual connections, other heads and layers) may carry
# the same information, and if there are more keys than dimensions, other weights give the same output. Nor is a key a
# word: in any contextual encoder, position $s$ holds a mixture of the text.
#
# It is not worthless either. Where the output needs the content of one position, weights and effect agree, and this can
# be tested. I would first ask whether the model needs its attention at all: freeze it uniform and retrain. Then I would
# intervene: remove or replace what got the most weight, against the same for random positions, and measure how the
# output changes; the same with another seed. If weights and effects agree on our data, show them, and say what was
# tested. If not, show the effects of the interventions themselves.
#
# Jain and Wallace (2019) and Wiegreffe and Pinter (2019) are the two papers to know; they disagree less than their
# titles.
#
# *What a weak answer says:* "Attention shows what the model looks at", or "Attention is not explanation", and no more.
#
# </details>
#
# ## Summary
#
# - A hard alignment keeps the greatest weight of each row. It forgets how great it was.
# - $\mathrm{AER} = 1 - \frac{|\mathcal A \cap \mathcal S| + |\mathcal A \cap \mathcal P|}{|\mathcal A| + |\mathcal S|}$: what you say must be possible, what is sure must be
#   said.
# - The gold asks what a word translates. The weights answer what the network needed to know. For *der* that is the noun.
# - Entropy is the width of a look, $e^H$ the number of keys; $0 \ln 0 = 0$, also for the gradient.
# - The same task, another seed: another map. Before you find a shift by one, check your labels.
# - Other weights can give the same output: certainly so with more than $d_v + 1$ keys, if no weight is exactly 0. Other
#   outputs can give the same word.
# - A map is a hypothesis. An intervention is a test.
#
# ## Further reading
#
# - P. F. Brown, S. A. Della Pietra, V. J. Della Pietra, R. L. Mercer, "The Mathematics of Statistical Machine
#   Translation: Parameter Estimation", 1993. The five IBM models; the first is the dictionary of this chapter.
# - F. J. Och, H. Ney, "A Systematic Comparison of Various Statistical Alignment Models", 2003. Sure and possible links,
#   and the alignment error rate, which they had introduced in 2000.
# - A. Fraser, D. Marcu, "Measuring Word Alignment Quality for Statistical Machine Translation", 2007. Why a better AER
#   need not mean a better translation.
# - D. Bahdanau, K. Cho, Y. Bengio, "Neural Machine Translation by Jointly Learning to Align and Translate", 2015. The
#   first attention maps of translations.
# - H. Ghader, C. Monz, "What does Attention in Neural Machine Translation Pay Attention to?", 2017. Attention against
#   alignment, by part of speech.
# - P. Koehn, R. Knowles, "Six Challenges for Neural Machine Translation", 2017. The fifth is word alignment, with the
#   map that is off by one.
# - J.-T. Peter, A. Nix, H. Ney, "Generating Alignments Using Target Foresight in Attention-Based Neural Machine
#   Translation", 2017. A look that knows the word to come.
# - Y. Chen, Y. Liu, G. Chen, X. Jiang, Q. Liu, "Accurate Word Alignment Induction from Neural Machine Translation",
#   2020. In Transformers: read the links one step later.
# - S. Jain, B. C. Wallace, "Attention is not Explanation", 2019, and S. Wiegreffe, Y. Pinter, "Attention is not not
#   Explanation", 2019. Read both.
# - G. Brunner, Y. Liu, D. Pascual, O. Richter, M. Ciaramita, R. Wattenhofer, "On Identifiability in Transformers", 2020.
#   When other weights give the same output.
#
# **Next:** [8 · Self-attention](../08_self_attention/08_self_attention.ipynb). Until now one sequence looked at another.
# What if a sequence looks at *itself*?
