# %% [markdown]
# # 2 · Averaging with weights
#
# **How warm was it at noon, when nobody looked?**
#
# A thermometer was read 41 times in a day, at odd moments. Somebody looked at seven past eleven, somebody at three past
# one; at noon nobody did. And it is a bad thermometer, up to a degree or two off. What would you answer, and how?
#
# You would look at the readings near noon, and trust the nearer ones more. That is all. Turn it into one line of
# mathematics, and you have a method of 1964, and also the thing that this course is about. In this chapter you will
# write it down, find out why it is a softmax, see it fail in an instructive way when it is allowed to copy, and let it
# *learn* what "near" means. After that, only the name attention is missing.
#
# *About an hour and three quarters, 45 minutes of them for the three exercises. You need chapter 1.*

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch

from attnlab import interactive, plotting
from attnlab.softmax import softmax, softmax_temperature  # what you wrote in chapter 1
from autograder import check

torch.set_num_threads(1)
BLUE, ORANGE, GREEN = plotting.COLOURS[:3]
INK = plotting.INK


def true_degrees(hour):
    """The day as it was: warm in the afternoon, and a thunderstorm at half past four. Made up."""
    return 14 + 6 * np.sin(2 * np.pi * (hour - 9) / 24) - 5 * np.exp(-((hour - 16.5) ** 2) / 2)


def day(seed):
    """The hours and the degrees of 41 readings. From 20:00 to 22:30 the battery is dead."""
    rng = np.random.default_rng(seed)
    hours = np.sort(np.concatenate([rng.uniform(0, 20, 37), rng.uniform(22.5, 24, 4)])).round(2)
    return hours, (true_degrees(hours) + rng.normal(0, 0.8, 41)).round(1)


hours, degrees = day(5)
print("first readings:", ", ".join(f"{d}° at {h:.2f} h" for h, d in zip(hours[:3], degrees[:3], strict=True)))


# %% tags=["demo", "hide-input"] alt="Readings of temperature between eight in the morning and four in the afternoon. A rod stands upright at noon with a ring on it. From the readings coiled springs run to the ring, thick ones from readings close to noon, thin ones from those further off, none from early and late. The nearer a reading, the larger its dot. Below, a bell stands over noon, and under it each reading has a bar for its share."
def shares_at(query, width):
    """The shares of all readings for one query. PyTorch's bell, until you have written yours.

    Its logarithm is the score that you will meet below, up to a constant, which softmax does not see.
    """
    bell = torch.distributions.Normal(query, width).log_prob(torch.from_numpy(hours))
    return softmax(bell).numpy()


def draw_readings(ax, shares, x=hours, y=degrees, ink=900):
    """A point for every reading, and a dot whose area is its share: the same ink in every picture."""
    ax.scatter(x, y, s=5, color=INK)
    ax.scatter(x, y, s=ink * shares, color=ORANGE, linewidths=0)


def draw_spring(ax, start, end, share):
    """A coiled line between two points of the data, the thicker the greater the share."""
    to_page = ax.transAxes.inverted().transform
    a, b = to_page(ax.transData.transform([start, end]))
    along = np.linspace(0, 1, 600)
    coil = 0.012 * np.sin(24 * np.pi * along) * np.clip(12 * np.minimum(along, 1 - along), 0, 1)
    side = np.array([a[1] - b[1], b[0] - a[0]]) / np.hypot(*(b - a))
    path = a + along[:, None] * (b - a) + coil[:, None] * side
    ax.plot(*path.T, "-", color=ORANGE, linewidth=0.6 + 5 * share, transform=ax.transAxes, scalex=False, scaley=False)


def draw_ring(ax, query, answer):
    ring = {"markerfacecolor": "none", "markeredgecolor": INK, "markeredgewidth": 3}
    ax.plot(query, answer, "o", markersize=14, zorder=5, **ring)


noon, width = 12.0, 0.8
with plotting.house_style():
    fig, (ax, under) = plt.subplots(2, 1, figsize=(8, 4.9), sharex=True, height_ratios=[3.4, 1])
    shares = shares_at(noon, width)
    answer = shares @ degrees
    ax.set(ylabel="degrees", ylim=(13.2, 21.4), xlim=(8, 16.4))
    for hour, degree, share in zip(hours, degrees, shares, strict=True):
        if share > 0.005:
            draw_spring(ax, (hour, degree), (noon, answer), share)
    draw_readings(ax, shares, ink=1200)
    ax.axvline(noon, color=INK, linewidth=1.5)
    draw_ring(ax, noon, answer)
    ax.text(noon + 0.2, answer - 0.9, f"{answer:.1f}°", fontsize=15)
    grid = np.linspace(0, 24, 481)
    under.plot(grid, shares.max() * np.exp(-(((grid - noon) / width) ** 2) / 2), "-", color=INK, linewidth=1.2)
    under.bar(hours, shares, 0.07, color=ORANGE)
    under.axvline(noon, color=INK, linewidth=1.5)
    under.set(xlabel="hour", ylabel="share", xticks=range(8, 17))
    plt.show()

# %% [markdown]
# A ring slides on a rod that stands at noon. Every reading pulls it by a spring: stiff from nearby, slack from far
# away. Where the ring comes to rest, there is the answer. The dots are drawn in *ink*: a dot's area is the
# share of its reading. One query, one look, one pot of ink. It will be the same pot in every picture of this chapter.
#
# ## Where we are

# %% tags=["demo"]
interactive.road(2)

# %% [markdown]
# ## A ring on a rod
#
# Why an average at all? Let the readings be $y_1, \dots, y_S$ and the springs' stiffnesses $w_1, \dots, w_S$. With the
# ring at height $c$, spring $i$ is stretched upwards by $y_i - c$ and holds the energy $\tfrac12 w_i (y_i - c)^2$. (It
# is stretched sideways too, but by an amount that the ring cannot change.) The ring settles where the energy is least:
#
# $$\frac{d}{dc} \sum_i \tfrac12\, w_i\,(y_i - c)^2 = -\sum_i w_i\,(y_i - c) = 0
# \qquad\Longrightarrow\qquad c = \frac{\sum_i w_i\,y_i}{\sum_i w_i}.$$
#
# So the weighted average is not a habit. It is the one answer that is best for all readings together, when a reading
# complains in squares, and each with its own weight. **Before you run the cell, guess:** what happens to the ring if
# every spring is made ten times as stiff?

# %% tags=["demo"]
heights = np.linspace(0, 30, 300_001)
for factor in (1, 10):
    stiffness = factor * shares
    # Σ w (y − c)², multiplied out, for all heights at once
    energy = stiffness @ degrees**2 - 2 * heights * (stiffness @ degrees) + heights**2 * stiffness.sum()
    print(f"stiffness × {factor:2}: the ring rests at {heights[energy.argmin()]:.4f}°")
print(f"the weighted average:          {shares @ degrees / shares.sum():.4f}°")

# %% [markdown]
# Nothing happens. Only the *ratios* of the stiffnesses count, so we may as well scale them to add up to 1. Then they
# are shares, the sum below the fraction is 1, and the answer is $\sum_i w_i\,y_i$.
#
# ## Who pulls how hard?
#
# A reading at hour $x_i$ should pull less the further it is from the hour $q$ that we ask for. The usual choice is the
# bell,
#
# $$K(q - x_i) = e^{-(q - x_i)^2 / 2\sigma^2}.$$
#
# Its one parameter, the **width** $\sigma$, says what *near* means, in hours. At a distance of one width a reading
# still pulls with more than half of the full strength, at three with next to nothing. Divide by the sum to have shares:
#
# $$w_i = \frac{e^{-(q - x_i)^2 / 2\sigma^2}}{\sum_j e^{-(q - x_j)^2 / 2\sigma^2}}.$$
#
# You know this line. It has an exponential on top, and the sum of all of them below. **It is the softmax of the scores
# $-(q - x_i)^2 / 2\sigma^2$.** Near means a score of almost 0, far a very negative one, and softmax makes shares of
# them.
#
# That is no accident of the bell. Whatever positive function $K$ you measure nearness with, $K = e^{\log K}$: its
# shares are the softmax of $\log K$. *Every way to average by nearness is a softmax; what you choose is the score.*
#
# The parts have names, and you will meet them in every chapter to come:
#
# | | here | in a Transformer |
# |---|---|---|
# | **query** | the hour that is asked for | what a word is looking for |
# | **keys** | the hours of the readings | what the other words offer to be found by |
# | **values** | the degrees | what they hand over when they are found |
# | **scores** | $-\text{distance}^2 / 2\sigma^2$ | how well a key fits the query |
#
# The keys decide *who* is asked, the values *what* they say. The two need not even be of the same kind: hours here,
# degrees there.

# %% tags=["demo"]
shares = shares_at(noon, width)
pull = ", ".join(f"{np.exp(-(d**2) / 2):.0%} at {d}" for d in (0, 1, 2, 3))
print(f"the pull by distance in widths: {pull}\n")
print(f"query: {noon:.0f} h, width {width} h\n\n{'key':>7}{'distance':>10}{'score':>8}{'share':>8}{'value':>8}")
for i in np.argsort(-shares)[:7]:
    distance = hours[i] - noon
    print(f"{hours[i]:7.2f}{distance:10.2f}{-((distance / width) ** 2) / 2:8.2f}{shares[i]:8.1%}{degrees[i]:7.1f}°")
print(f"{'... and ' + str(len(hours) - 7) + ' more':>25}{np.sort(shares)[:-7].sum():8.1%}")
print(f"\nΣ share · value = {shares @ degrees:.2f}°   (the truth: {true_degrees(noon):.2f}°)")

# %% [markdown]
# ### Where nobody is near
#
# Between 20:00 and 22:30 the battery was dead. Ask for 21:15 anyway, more and more narrowly. The cell computes the
# bells and divides by their sum, just as the formula stands above; then it takes the softmax of the scores. On paper
# they are the same. **Guess what each of them says when the bell is narrow.**

# %% tags=["demo"]
late = 21.25
nearest = np.abs(hours - late).argmin()
print(f"nearest reading: {degrees[nearest]}° at {hours[nearest]} h\n")
print(f"{'width':>8}{'bells, then divide':>22}{'softmax of scores':>20}")
for narrow in (1.0, 0.5, 0.1, 0.05, 0.03, 0.01):
    bells = torch.exp(torch.from_numpy(-((late - hours) ** 2) / (2 * narrow**2)))
    textbook = (bells / bells.sum()).numpy() @ degrees
    print(f"{narrow:8}{textbook:21.2f}°{shares_at(late, narrow) @ degrees:19.2f}°")

# %% [markdown]
# Every bell is rounded to 0, and $0/0$ is not a number. It is the left cliff of chapter 1, this time with nobody left
# to stay. Textbooks that print the quotient have a hole wherever the readings do. The softmax subtracts the greatest
# score first, and has none: it asks the nearest reading, however far that is.
#
# Is that a *good* answer? It is an honest limit of the formula, and a warning. Shares must add up to 1, so somebody is
# always asked; an average by nearness cannot say "I do not know".
#
# {{exercise gaussian_weights}}
#
# The shares of all keys, for all queries at once:
#
# $$w_{ts} = \frac{e^{-(q_t - k_s)^2 / 2\sigma^2}}{\sum_{s'} e^{-(q_t - k_{s'})^2 / 2\sigma^2}}.$$
#
# `queries` has shape `(T,)`, `keys` has shape `(S,)`, the answer has shape `(T, S)`: **row $t$ holds the shares that
# query $t$ gives, and each row adds up to 1.** `width` is $\sigma$, a number greater than 0. No query may be so far
# away that the answer breaks. You may use the `softmax` that was imported above.
#
# *By hand:* query 1, keys 1, 4 and −5, width 3. The keys are none, one and two widths away, so the scores are $0$,
# $-\tfrac12$ and $-2$, their exponentials $1$, $0.607$ and $0.135$, and the shares $0.574$, $0.348$ and $0.078$.
#
# <details><summary>Hint 1: the idea</summary>
#
# First the table of all differences, every query with every key. NumPy makes it when the queries stand in a column and
# the keys in a row. Then scores, then a softmax along the right axis.
#
# </details>
#
# <details><summary>Hint 2: the first line</summary>
#
# `distance = queries[:, None] - keys[None, :]`, of shape `(T, S)`.
#
# </details>


# %% exercise="gaussian_weights"
def gaussian_weights(queries, keys, width):
    """The share that each key has in the answer to each query.

    queries  array of shape (T,)
    keys     array of shape (S,)
    width    a number greater than 0, the standard deviation of the bell

    Returns an array of shape (T, S) in which every row adds up to 1.
    """
    ### BEGIN SOLUTION
    distance = queries[:, None] - keys[None, :]
    return softmax(-((distance / width) ** 2) / 2)
    ### END SOLUTION


# %% [markdown]
# ## All questions at once
#
# Nobody asks for noon only. Ask for every quarter of an hour, 97 queries, and the shares become a table $w$ of shape
# `(T, S)` = `(97, 41)`: a row for each query $t$, a column for each reading $s$. Call the values $v_s$; so far they were
# the degrees $y_s$. The answers are
#
# $$\mathrm{out}_t = \sum_s w_{ts}\,v_s, \qquad\text{that is}\qquad \mathrm{out} = w\,v.$$
#
# One product of matrices answers all the questions. And the values may be more than single numbers. Say that every
# reading also notes the humidity; then $v$ has shape `(S, d_v)` with $d_v = 2$, each column is averaged with the *same*
# shares, and `out` has shape `(T, d_v)`. In a Transformer the values are vectors of some hundred numbers. The line
# stays as it is.
#
# {{exercise attention_pool}}
#
# Average the values with given weights: $\mathrm{out}_{t} = \sum_s w_{ts}\,v_s$.
#
# `weights` has shape `(T, S)`; `values` has shape `(S,)`, or `(S, d_v)` if each value is a vector. The answer has shape
# `(T,)`, or `(T, d_v)`. The weights may carry further axes in front, many tables at once: `(..., T, S)`; then the
# answer carries them too. Take the weights as they come: a row of zeros gives zero. (Chapter 5 will need that.)
#
# *By hand:* the weights $(\tfrac14, \tfrac34)$ and the values $4$ and $8$ give $1 + 6 = 7$.
#
# <details><summary>Hint 1: the idea</summary>
#
# The last axis of the weights and the first axis of the values both count the keys. They meet, and vanish.
#
# </details>
#
# <details><summary>Hint 2: the first line</summary>
#
# NumPy's `@` adds over the last axis of what stands on its left.
#
# </details>


# %% exercise="attention_pool"
def attention_pool(weights, values):
    """Each query's average of the values.

    weights  array of shape (..., T, S)
    values   array of shape (S,) or (S, d_v)

    Returns an array of shape (..., T) or (..., T, d_v).
    """
    ### BEGIN SOLUTION
    return weights @ values
    ### END SOLUTION


# %% [markdown]
# Two lines, and you have an *attention layer*: shares from queries and keys, then an average of values.
#
# ## From one neighbour to everybody
#
# What does the width do to the answers? **Sketch the curve of all answers for a tiny width, and for a huge one, before
# you run the cell.** Below each curve it draws your table of weights: rows are queries, columns are keys, both in the
# order of the day, and each row has its own pot of ink. (The ink shows the root of the share, or the small ones would
# vanish.)

# %% tags=["demo", "hide-input"] alt="Four columns for the widths 0.05, 0.8, 4 and 100 hours. Above, the readings and the curve of answers: a staircase that runs through nearly every reading, then a smooth curve that follows the day and its storm, then a broad wave that has lost the storm, then a flat line. Below, the table of weights: a sharp diagonal, a soft diagonal band, a wide blur, and an even grey."
quarters = np.linspace(0, 24, 97)
widths = (0.05, 0.8, 4.0, 100.0)
with interactive.once_solved("gaussian_weights and attention_pool"), plotting.house_style():
    fig, axes = plt.subplots(2, 4, figsize=(9.6, 4.6), height_ratios=[1, 1.15], sharey="row")
    for (ax, table), sigma in zip(axes.T, widths, strict=True):
        fine = np.linspace(0, 24, 961)
        curve = attention_pool(gaussian_weights(fine, hours, sigma), degrees)
        ax.scatter(hours, degrees, s=6, color=INK)
        ax.plot(fine, curve, "-", color=BLUE)
        ax.set(title=f"width {sigma:g} h", xticks=(0, 12, 24))
        weights = gaussian_weights(quarters, hours, sigma)
        ink = np.zeros((*weights.shape, 4))
        ink[..., :3] = [int(ORANGE[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        ink[..., 3] = weights**0.5
        table.imshow(ink, aspect="auto", extent=(0.5, 41.5, 24, 0), interpolation="nearest")
        table.set(xlabel="key", xticks=(1, 20, 41), yticks=(0, 6, 12, 18, 24))
        for spine in table.spines.values():
            spine.set(visible=True, alpha=0.4)
    axes[0, 0].set(ylabel="degrees")
    axes[1, 0].set(ylabel="query (hour)")
    plt.show()

# %% [markdown]
# On the left everyone copies the nearest reading, noise and all. On the right everyone gets the mean of the day.
# Between the two lies everything that is of use. (Every heat map of attention in this course is a table like those
# below. The last steep drop of the diagonal is the time of the dead battery: queries there have no keys of their own.)
#
# Try it yourself. Move the query through the storm and into the gap; widen the bell until the ring no longer cares
# where it is.

# %% tags=["demo"]
interactive.kernel_slider(hours, degrees, query=12.0, width=0.8, xlabel="hour", ylabel="degrees")

# %% [markdown]
# ### You have met this knob
#
# The width turns nearest neighbour into the mean. In chapter 1 another knob, the temperature, turned argmax into the
# uniform distribution. It is the same one. Call the distance $d$, and let the score be $-d^2$ alone; then
#
# $$\mathrm{softmax}\Bigl(-\frac{d^2}{2\sigma^2}\Bigr) = \mathrm{softmax}\Bigl(\frac{-d^2}{\tau}\Bigr)
# \qquad\text{with the temperature}\qquad \tau = 2\sigma^2.$$
#
# A narrow bell is a cold softmax: it freezes on the nearest key. A wide bell is a hot one. Below, the last column counts how
# many readings are really asked: $e^{H}$ with the entropy $H = -\sum_i w_i \ln w_i$, the same number as $2^H$ in bits.

# %% tags=["demo"]
with interactive.once_solved("gaussian_weights"):
    squared = (noon - hours) ** 2
    print(f"{'width σ':>8}{'temperature 2σ²':>17}{'greatest difference':>21}{'readings asked at noon':>24}")
    for sigma in widths:
        yours = gaussian_weights(np.array([noon]), hours, sigma)[0]
        chapter_1 = softmax_temperature(-squared, 2 * sigma**2)
        asked = torch.special.entr(torch.from_numpy(yours)).sum().exp()
        print(f"{sigma:8g}{2 * sigma**2:17g}{np.abs(yours - chapter_1).max():21.1e}{asked:24.1f}")

# %% [markdown]
# ## Across, never down
#
# A table of scores has two axes, and softmax can run along either. Each row across, over the keys: we did that. Or each
# column down, over the queries. The code differs in one character, no shape changes, and nothing crashes. **Does it
# matter?**
#
# Here is a day on which nothing happens. It is 20° all day, and all 41 readings say so. What will each version draw?

# %% tags=["demo", "hide-input"] alt="Answers over a day on which every reading is 20 degrees. With softmax over the keys: a flat line at 20. With softmax over the queries: a curve of hills and valleys between 2 and 18 degrees, high where readings crowd, low where there are few."
scores = torch.distributions.Normal(torch.tensor(quarters)[:, None], 0.8).log_prob(torch.tensor(hours))
calm = np.full(41, 20.0)
with plotting.house_style():
    fig, ax = plt.subplots(figsize=(8, 2.9))
    ax.plot(quarters, torch.softmax(scores, 1).numpy() @ calm, "-", color=BLUE, label="across: over the keys")
    ax.plot(quarters, torch.softmax(scores, 0).numpy() @ calm, "-", color=ORANGE, label="down: over the queries")
    ax.plot(hours, np.full(41, -1.5), "|", color=INK)
    ax.text(24.3, -1.5, "readings", va="center")
    ax.set(xlabel="hour", ylabel="degrees", xticks=range(0, 25, 3), xlim=(0, 24), ylim=(-3, 29))
    ax.legend(loc="upper right", ncols=2)
    plt.show()

# %% [markdown]
# Down the columns it is *no average any more*. The rows do not add up to 1. What the curve shows is not the temperature
# but how many readings there are. And it gets stranger. Ask for noon alone; then for noon and one o'clock; then for
# every hour; then for every quarter of an hour. The question about noon is the same each time. **Is the answer?**

# %% tags=["demo"]
questions = {
    "noon alone": [12.0],
    "noon and one o'clock": [12.0, 13.0],
    "every hour": range(25),
    "every quarter of an hour": quarters,
}
print(f"{'what is asked':28}{'noon, across':>14}{'noon, down':>14}")
for what, asked in questions.items():
    queries = torch.tensor(list(asked), dtype=torch.float64)
    scores = torch.distributions.Normal(queries[:, None], 0.8).log_prob(torch.tensor(hours))
    row = int((queries == 12).nonzero())
    across, down = (torch.softmax(scores, axis)[row].numpy() @ calm for axis in (1, 0))
    print(f"{what:28}{across:13.1f}°{down:13.1f}°")

# %% [markdown]
# Asked alone, noon gets every reading of the day in full, and adds them up. The more questions, the less is left for
# each. *The answer to a question depends on what else was asked.*
#
# So remember who shares. A **query** has one look to give away. A key has nothing to give away; it can be looked at by
# all the queries, or by none. Softmax runs over the keys.
#
# <details><summary>Does nobody ever do it the other way?</summary>
#
# Somebody does, on purpose. In *slot attention* (Locatello et al., 2020) a few queries, the "slots", compete for the
# pixels of a picture, so each pixel divides itself among the slots: softmax over the queries. But before they average,
# they divide once more, by the sum over the keys. The competition runs down, the average still runs across.
#
# </details>
#
# ## Which width?
#
# A narrow bell draws the noise, a wide one flattens the storm. We want the width that makes the smallest error. Error
# where? We have nothing but the $N = 41$ readings. So take those: ask for their own hours, and compare the answers with
# what was read. With $f_\sigma(x)$ for the answer at hour $x$, when the width is $\sigma$, that is
#
# $$\text{loss}(\sigma) = \frac1N \sum_{i=1}^N {\bigl(y_i - f_\sigma(x_i)\bigr)}^2.$$
#
# Try all widths and keep the one with the smallest loss. **Which one wins?** Think before you go on. It is worth a
# minute.
#
# <details><summary>The trap</summary>
#
# The narrowest. At its own hour every reading is at distance 0 from itself, and nobody can be nearer. With
# $\sigma \to 0$ it gets all the ink, predicts itself perfectly, and the loss is 0. The loss would be 0 for readings
# drawn from a hat.
#
# </details>
#
# A reading must not be its own witness. So take each reading away in turn, and predict it *from the others*. That is
# **leave-one-out**:
#
# $$\mathrm{loo}(\sigma) = \frac1N \sum_{i=1}^N {\bigl(y_i - f_\sigma^{(-i)}(x_i)\bigr)}^2, \qquad
# f_\sigma^{(-i)}(x_i) = \frac{\sum_{j \ne i} e^{-(x_i - x_j)^2 / 2\sigma^2}\,y_j}
# {\sum_{j \ne i} e^{-(x_i - x_j)^2 / 2\sigma^2}}.$$
#
# In the table of scores, query $i$ meets key $i$ on the diagonal. To leave the point out is to forbid the diagonal, and
# you know a score that gets a share of exactly 0: $-\infty$. This is your first **mask**. It goes onto the *scores*,
# before the softmax. **Why not onto the shares, afterwards?**
#
# <details><summary>Why not afterwards?</summary>
#
# Two reasons. If you only set the diagonal share to 0, the others do not add up to 1 any more, and every prediction
# shrinks towards 0. And if you then divide by what is left, a narrow bell undoes you: beside the point itself, which is
# at distance 0, all others were rounded to 0 in the softmax. What is left is $0/0$. Chapter 5 is about nothing else.
#
# </details>
#
# {{exercise leave_one_out_loss}}
#
# The mean squared error, when each point is predicted by a Gaussian-weighted average of all the *others*: the formula
# $\mathrm{loo}(\sigma)$ above.
#
# `x` and `y` have shape `(N,)` with $N \ge 2$, the answer is one number. A very narrow width has to work: then each
# point is predicted by its nearest neighbour. Two points may have the same `x`; they are still two points, and each may
# help to predict the other.
#
# *By hand:* two points with the values 2 and 5. Each is predicted by the other, whatever the width: both errors are 3,
# the loss is 9.
#
# <details><summary>Hint 1: the idea</summary>
#
# Either a loop: for each `i`, call your `gaussian_weights` with one query and with the keys that are left. Or no loop:
# the table of scores of all points with all points, $-\infty$ on its diagonal, then softmax.
#
# </details>
#
# <details><summary>Hint 2: the first line</summary>
#
# With a loop: `rest = np.arange(len(x)) != i` picks the others, in `x[rest]` and in `y[rest]`. Without: after the table
# `scores` is made, `scores = np.where(np.eye(len(x), dtype=bool), -np.inf, scores)`.
#
# </details>


# %% exercise="leave_one_out_loss"
def leave_one_out_loss(x, y, width):
    """How well each point is predicted from all the others: the mean squared error.

    x      array of shape (N,), where the points are
    y      array of shape (N,), their values
    width  a number greater than 0, the standard deviation of the bell

    Returns one number.
    """
    ### BEGIN SOLUTION
    distance = x[:, None] - x[None, :]
    itself = np.eye(len(x), dtype=bool)
    scores = np.where(itself, -np.inf, -((distance / width) ** 2) / 2)
    predicted = attention_pool(softmax(scores), y)
    return np.mean((y - predicted) ** 2)
    ### END SOLUTION


# %% [markdown]
# Now the trap, and the way out of it, in one picture. The third curve is the error against the true temperatures of the
# day. Nobody in the story can compute it; we can, because we made the day up.

# %% tags=["demo", "hide-input"] alt="Three curves of error against width, on a logarithmic axis. The loss of readings that may see themselves falls steadily to zero as the bell narrows. The leave-one-out loss is a valley with its lowest point near 0.8 hours, above a dotted line for the noise of the readings. The error against the truth is a valley with nearly the same lowest point, and lies below."
trial_widths = np.geomspace(0.02, 50, 61)


def errors_of_widths(hours, degrees):
    """For every trial width: the loss with itself, leave-one-out, and the error against the true day."""
    seen = [np.mean((degrees - attention_pool(gaussian_weights(hours, hours, w), degrees)) ** 2) for w in trial_widths]
    unseen = [leave_one_out_loss(hours, degrees, w) for w in trial_widths]
    truth = true_degrees(quarters)
    true = [np.mean((truth - attention_pool(gaussian_weights(quarters, hours, w), degrees)) ** 2) for w in trial_widths]
    return np.array([seen, unseen, true])


with interactive.once_solved("leave_one_out_loss"):
    table = errors_of_widths(hours, degrees)
    names = ("each sees itself", "leave one out", "against the truth")
    with plotting.house_style():
        fig, ax = plt.subplots(figsize=(8, 3.5))
        for line, name, colour in zip(table, names, (ORANGE, BLUE, INK), strict=True):
            ax.semilogx(trial_widths, line, "-", color=colour, label=name)
            best = line.argmin()
            ax.plot(trial_widths[best], line[best], "o", color=colour, clip_on=False)
            print(f"{name:18} smallest at width {trial_widths[best]:5.2f} h: {line[best]:.2f} square degrees")
        ax.axhline(0.8**2, color=INK, linestyle=":", linewidth=1.2)
        ax.text(50, 0.8**2 - 0.03, "noise of the readings", ha="right", va="top")
        ax.set(xlabel="width in hours", ylabel="mean squared error", ylim=(0, 2.6))
        ax.set_xticks([0.02, 0.1, 0.5, 1, 4, 20], labels=["0.02", "0.1", "0.5", "1", "4", "20"])
        ax.minorticks_off()
        ax.legend(loc="upper left")
        plt.show()

# %% [markdown]
# The loss that may see itself runs down to 0, straight into the trap. Leave-one-out turns round, and has its minimum
# near the place where the truth has it.
#
# It lies higher than the error against the truth, and it should. It compares with *readings*, and those carry noise
# that no method can foresee: a variance of $0.8^2 = 0.64$ here.
#
# One day is an anecdote. Here are a hundred others, with other readings and other noise. Each picks its width by each
# of the two losses, and we look at what the choice costs.

# %% tags=["demo"]
with interactive.once_solved("leave_one_out_loss"):
    trial_widths = np.geomspace(0.02, 50, 31)
    picked = {"each sees itself": [], "leave one out": [], "the best, if one knew it": []}
    for seed in range(100, 200):
        seen, unseen, true = errors_of_widths(*day(seed))
        for name, line in zip(picked, (seen, unseen, true), strict=True):
            picked[name].append((trial_widths[line.argmin()], true[line.argmin()]))
    print(f"{'width picked by':26}{'median width':>14}{'mean error against the truth':>31}")
    for name, pairs in picked.items():
        chosen, costs = np.array(pairs).T
        print(f"{name:26}{np.median(chosen):12.2f} h{np.mean(costs):31.2f}")

# %% [markdown]
# Leave-one-out is a noisy judge, and on these days it likes the bell a little too narrow. But it costs little, and it
# needs nothing but the readings.
#
# ## The same in PyTorch, and no list of widths
#
# Why try sixty widths? The loss is a smooth function of $\sigma$, all the way through the softmax. So let a gradient
# find it. The learned number is $\log\sigma$, so that the width stays positive whatever the gradient says. It is the
# first learned parameter of the course.


# %% tags=["demo"]
class KernelAverage(torch.nn.Module):
    """Averages by nearness, with a width that is learned."""

    def __init__(self, width):
        super().__init__()
        self.log_width = torch.nn.Parameter(torch.tensor(float(width), dtype=torch.float64).log())

    def weights(self, queries, keys, itself=True):
        scores = -(((queries[:, None] - keys) / self.log_width.exp()) ** 2) / 2
        if not itself:
            scores = scores.masked_fill(torch.eye(len(keys), dtype=torch.bool), -torch.inf)
        return torch.softmax(scores, dim=-1)

    def forward(self, queries, keys, values, itself=True):
        return self.weights(queries, keys, itself) @ values


x, y = torch.from_numpy(hours), torch.from_numpy(degrees)
model = KernelAverage(0.8)
with torch.no_grad(), interactive.once_solved("gaussian_weights, attention_pool and leave_one_out_loss"):
    ours = gaussian_weights(quarters, hours, 0.8)
    theirs = model.weights(torch.from_numpy(quarters), x).numpy()
    print(f"greatest difference of weights  {np.abs(ours - theirs).max():.1e}")
    answers = model(torch.from_numpy(quarters), x, y).numpy()
    print(f"greatest difference of answers  {np.abs(attention_pool(ours, degrees) - answers).max():.1e}")
    loss = ((y - model(x, x, y, itself=False)) ** 2).mean().item()
    print(f"difference of leave-one-out     {abs(loss - leave_one_out_loss(hours, degrees, 0.8)):.1e}")

print(f"\n{'start':>8}{'slope there':>14}{'after 100 steps':>18}{'loss':>8}")
for start in (0.02, 0.1, 0.3, 3.0, 100.0):
    model = KernelAverage(start)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    slopes = []
    for _ in range(100):
        loss = ((y - model(x, x, y, itself=False)) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        slopes.append(model.log_width.grad.item())
        optimiser.step()
    print(f"{start:6} h{slopes[0]:14.3f}{model.log_width.exp().item():16.2f} h{loss.item():8.3f}")

# %% [markdown]
# From nearly anywhere the gradient walks towards the same width, and finds it more exactly than a list of sixty. Not so
# in the first line.
# That bell is so narrow that each share is either 0 or 1. A softmax so cold hardly moves, the slope is next to nothing,
# and after a hundred steps it is still standing there. It is the desert of chapter 1. *Start warm*, if you want to
# learn; chapter 4 is about how attention makes sure of that.
#
# ## Who says that near is near?
#
# For hours on a clock, distance is the obvious similarity. For anything richer it is not, and *this* is the step from
# kernel regression to attention.
#
# Here is a made-up country with 300 rain gauges. Mountain ridges run across it from upper left to lower right, and how
# much it rains depends on where you are between the ridges. Two gauges may be far apart on one slope and measure the
# same, or close together on two sides of a ridge and have nothing in common. How much rain falls at the ring? Whom
# would *you* ask?
#
# The round bell asks everybody near. Now allow it to stretch. Instead of $-\lVert q - k \rVert^2 / 2\sigma^2$, let the
# score be
#
# $$-\tfrac12\,\lVert W q - W k \rVert^2,$$
#
# with a matrix $W$ that first turns and stretches both. (With $W = I/\sigma$ it is the round bell.) Who
# chooses $W$? The same judge as before: the leave-one-out loss. Its gradient runs back through the softmax
# into every entry of $W$.


# %% tags=["demo"]
def true_rain_at(places):
    across = places @ np.array([np.cos(0.6), np.sin(0.6)])
    along = places @ np.array([-np.sin(0.6), np.cos(0.6)])
    return np.sin(5 * across) + 0.5 * across + 0.15 * along


def country(gauges, useless, seed):
    """Features of shape (gauges, 2 + useless), measured rain, and true rain. Only the first two features matter."""
    rng = np.random.default_rng(seed)
    place = rng.uniform(-1, 1, (gauges, 2))
    rain = true_rain_at(place)
    features = np.concatenate([place, rng.uniform(-1, 1, (gauges, useless))], axis=1)
    measured = rain + rng.normal(0, 0.2, gauges)
    return tuple(map(torch.from_numpy, (features, measured, rain)))


def stretched_scores(queries, keys, W):
    """−½ ‖W q − W k‖² for all pairs, shape (T, S)."""
    q, k = queries @ W.T, keys @ W.T
    return q @ k.T - (k**2).sum(-1) / 2 - (q**2).sum(-1)[:, None] / 2


def mean_error(x, y, W, itself=False):
    """The loss of predicting each gauge from the others, or (itself=True) from all, its own reading among them."""
    scores = stretched_scores(x, x, W)
    if not itself:
        scores = scores.masked_fill(torch.eye(len(x), dtype=torch.bool), -torch.inf)
    return ((y - torch.softmax(scores, dim=-1) @ y) ** 2).mean()


def learn(x, y, W, itself=False, steps=200):
    W = W.clone().requires_grad_()
    optimiser = torch.optim.Adam([W], lr=0.1)
    for _ in range(steps):
        loss = mean_error(x, y, W, itself)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return W.detach()


def best_round(x, y):
    """I / σ, with the σ that leave-one-out picks."""
    tries = [torch.eye(x.shape[1], dtype=torch.float64) / sigma for sigma in np.geomspace(0.03, 5, 40)]
    return min(tries, key=lambda W: mean_error(x, y, W))


def error_on_fresh(x, y, W, useless):
    """Against the true rain at 1,000 places without a gauge."""
    places, _, truth = country(1000, useless, seed=1)
    return ((truth - torch.softmax(stretched_scores(places, x, W), dim=-1) @ y) ** 2).mean().item()


gauges, rain, _ = country(300, 0, seed=0)
fixed = best_round(gauges, rain)
learned = learn(gauges, rain, fixed)
for name, W in (("fixed", fixed), ("learned", learned)):
    print(f"{name:8} error at 1,000 new places: {error_on_fresh(gauges, rain, W, 0):.4f}")

# %% tags=["demo", "hide-input"] alt="Three maps of the same 300 gauges in a country of parallel bands that run from upper left to lower right. Left: the bands and the gauges coloured by rain. Middle: the ink of the fixed round bell, a small cluster about the query. Right: the ink of the learned similarity, a thin strip of dots along one band, reaching far along it to both sides."
asked_place = torch.tensor([[0.1, 0.15]], dtype=torch.float64)
with plotting.house_style():
    fig, axes = plt.subplots(1, 3, figsize=(9.6, 3.5), sharey=True)
    u, v = np.meshgrid(np.linspace(-1, 1, 80), np.linspace(-1, 1, 80))
    land = true_rain_at(np.stack([u, v], axis=-1))
    axes[0].pcolormesh(u, v, land, cmap="viridis", alpha=0.35, rasterized=True)
    axes[0].scatter(*gauges.T, s=16, c=rain, cmap="viridis", linewidths=0)
    axes[0].set(title="the rain")
    for ax, W, title in ((axes[1], fixed, "who is asked: fixed"), (axes[2], learned, "who is asked: learned")):
        ax.contour(u, v, land, levels=7, colors=INK, linewidths=0.6, alpha=0.6, linestyles="-")
        ink = torch.softmax(stretched_scores(asked_place, gauges, W), dim=-1)[0].numpy()
        draw_readings(ax, ink, *gauges.numpy().T, ink=900)
        ax.set(title=title)
    for ax in axes:
        draw_ring(ax, *asked_place[0])
        ax.set(aspect="equal", xticks=(-1, 0, 1), yticks=(-1, 0, 1))
    plt.show()

# %% [markdown]
# Nobody told it about ridges. It was told only to predict each gauge from the others, and it learned *whom to ask*: its
# ink runs along the slope, far to both sides, and not a step across. The pot of ink is the same;
# the aim is better.
#
# ### A list of useless facts
#
# It gets better. Let each gauge write down more about itself: the number of its garden gate, the age of its owner, the
# last digit of its telephone. None of that has to do with rain. But a round bell looks at all features alike, so two
# gauges count as near only if they agree in *everything*. **How many useless facts does it take to ruin the fixed
# bell?**
#
# Against it we set two that learn. One has a square matrix $W$, as above. The other has a $W$ with only two rows,
# whatever the number of features: it must say in two numbers what matters about a gauge. Each is judged at 1,000 new
# places.

# %% tags=["demo", "hide-input"] alt="Error at new places against the number of useless features, from 0 to 32. The fixed bell climbs from 0.02 to the dashed line of the plain mean, which it reaches at about 8. The square W stays near 0.01 up to 4, then climbs above the dashed line. The W with two rows stays near 0.01 up to 16, and rises to 0.1 at 32."
counts = (0, 1, 2, 4, 8, 16, 32)
lines = {"fixed, round": [], "learned, square W": [], "learned, two rows": []}
overfitted = []
for useless in counts:
    x, y, _ = country(300, useless, seed=0)
    fixed = best_round(x, y)
    two_rows = torch.randn(2, 2 + useless, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    solutions = fixed, learn(x, y, fixed), learn(x, y, two_rows / (2 + useless) ** 0.5)
    for name, W in zip(lines, solutions, strict=True):
        lines[name].append(error_on_fresh(x, y, W, useless))
    overfitted.append(mean_error(x, y, solutions[1]).item())
_, _, truth = country(1000, 0, seed=1)
mean_only = ((truth - rain.mean()) ** 2).mean().item()
print(f"{'useless features':20}" + "".join(f"{count:8}" for count in counts))
with plotting.house_style():
    fig, ax = plt.subplots(figsize=(8, 3.5))
    for (name, line), colour, marker in zip(lines.items(), (ORANGE, GREEN, BLUE), "os^", strict=True):
        ax.semilogy(range(len(counts)), line, f"{marker}-", color=colour, label=name)
        print(f"{name:20}" + "".join(f"{error:8.3f}" for error in line))
    ax.axhline(mean_only, color=INK, linestyle="--", linewidth=1.2)
    ax.text(0, mean_only * 1.12, "the mean of all gauges")
    for name, colour, at, height in zip(
        lines, (ORANGE, GREEN, BLUE), (0.9, 3.75, 4.1), (0.15, 0.075, 0.0075), strict=True
    ):
        ax.text(at, height, name, color=colour, ha="right" if at < 4 else "left")
    ax.set(xlabel="useless features", ylabel="error at new places", ylim=(0.003, 1.6))
    ax.set_xticks(range(len(counts)), labels=counts)
    plt.show()
print("\nwhat the square W thought of itself (leave-one-out, noise included):")
print(" " * 20 + "".join(f"{loss:8.3f}" for loss in overfitted))

# %% [markdown]
# The fixed bell drowns. With eight useless facts it is hardly better than no bell at all: in ten dimensions nobody is
# near. The learned one with two rows does not care, up to sixteen of them, because it learns not to look.
#
# And the square one? Read its own opinion, in the last line. By that, 32 useless facts made its
# error half as large again; the truth is that it grew about two hundredfold, and is far worse than the mean. Leave-one-out is an honest judge of *one* number. With a
# thousand entries to adjust, one finds a way to please any judge. Two rows are less free, and better off. Every head of
# a Transformer strikes the same bargain: its projections have few rows, a number that is called $d_k$.
#
# ### What if it may look at itself?
#
# Once more the trap of this chapter, with a better liar. Train $W$ with every gauge allowed to see its own reading.
# **Guess the loss, and the error.**

# %% tags=["demo"]
x, y, _ = country(300, 8, seed=0)
start = torch.randn(2, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) / 10**0.5
print(f"8 useless features; the mean of all gauges has an error of {mean_only:.3f}\n")
print(f"{'':25}{'loss it saw':>12}{'leave-one-out':>14}{'at new places':>14}{'own share':>10}")
for shape, first in (("two rows", start), ("square", best_round(x, y))):
    for name, itself in (("without itself", False), ("with itself", True)):
        W = learn(x, y, first, itself)
        seen, honest, fresh = mean_error(x, y, W, itself), mean_error(x, y, W), error_on_fresh(x, y, W, 8)
        own = torch.softmax(stretched_scores(x, x, W), dim=-1).diagonal().mean()
        print(f"{shape + ', ' + name:25}{seen:12.4f}{honest:14.4f}{fresh:14.4f}{own:10.1%}")

# %% [markdown]
# Compare the first two lines: a *smaller* loss and a *greater* error. Then look at the last. Its loss is as good as 0,
# and at new places it might as well say the mean. The last column shows how it did that: it is the share that a
# gauge gives to itself, once it may. And what did it use to tell itself from everybody else? The useless facts. They say nothing
# about rain, but there is no better way to find *yourself* than by your telephone number.
#
# In chapter 5 the same happens to a model of language that is allowed a glimpse of the next word: a wonderful loss, and
# nothing learned.
#
# ### One step from the dot product
#
# Multiply out the score, with $q' = Wq$ and $k' = Wk$:
#
# $$-\tfrac12 \lVert q' - k' \rVert^2
# = q' \cdot k' \;-\; \tfrac12 \lVert k' \rVert^2 \;-\; \tfrac12 \lVert q' \rVert^2.$$
#
# The last term is the same for all keys, and softmax sees only differences: it is gone. If the keys are equally long,
# the middle one is gone too. What remains is a **dot product**. So on keys of one length, averaging by nearness *is*
# averaging by dot product, and $\sigma^2$ is its temperature. The cell checks it with 7 queries and 11 keys of length
# 1, in 64 dimensions.

# %% tags=["demo"]
random = torch.Generator().manual_seed(0)
q = torch.randn(7, 64, dtype=torch.float64, generator=random)
k = torch.nn.functional.normalize(torch.randn(11, 64, dtype=torch.float64, generator=random), dim=-1)
for sigma in (0.5, 1.0, 64**0.25):
    by_distance = torch.softmax(-((q[:, None] - k) ** 2).sum(-1) / (2 * sigma**2), dim=-1)
    by_product = torch.softmax(q @ k.T / sigma**2, dim=-1)
    print(f"σ = {sigma:.3f}: temperature σ² = {sigma**2:5.2f}, difference {(by_distance - by_product).abs().max():.1e}")

# %% [markdown]
# Look at the last row. Let $d$ now be the number of features, 64: with $\sigma^2 = \sqrt d = 8$ this is $\mathrm{softmax}(q \cdot k/\sqrt d)$, the formula of the
# Transformer. Two freedoms are still missing there. Queries and keys get a matrix *each*, $W_q$ and $W_k$, for "what I
# look for" and "what I offer" need not be the same. And the values are learned too. Both are coming.
#
# ## Quiz
#
# **1.** You double the width. What happens to the temperature, and to the share of a key three hours away relative to
# one that is right at the query?
#
# <details><summary>Answer</summary>
#
# The temperature is $2\sigma^2$: it becomes four times as high. The ratio of the two shares was $e^{-9/2\sigma^2}$; its
# exponent becomes a quarter of that, so the new ratio is the fourth *root* of the old one. From $1/16$ it goes to
# $1/2$.
#
# </details>
#
# **2.** The highest reading of the day is 20.6°. Can any width, at any hour, give an answer of 21°? And what comes out
# for tomorrow noon, hour 36?
#
# <details><summary>Answer</summary>
#
# Never. Shares are positive and add up to 1, so an average lies between the least and the greatest value. For hour 36 a
# narrow bell asks the last reading before midnight, a wide one the whole day. It has no idea that noon comes again: for
# that, the *keys* would have to say so, for instance as a point on a clock face. What a key says is half of the art
# (chapter 10).
#
# </details>
#
# **3.** By mistake, one reading was copied into the list ten times. What happens to the answers near it? And to
# the leave-one-out loss?
#
# <details><summary>Answer</summary>
#
# Ten springs pull where one did: near it, the answers move towards that reading. Averages count heads. (A word that
# stands ten times in a text gets ten shares, too.) Leave-one-out is deceived outright: each copy is predicted perfectly
# by the other nine, and the narrowest bell looks good again. Duplicates in a data set turn an honest test into the
# trap.
#
# </details>
#
# **4.** In the table of weights of shape `(T, S)`, what do the sums of the *columns* say?
#
# <details><summary>Answer</summary>
#
# How much ink each key gets from all queries together: how often it is asked. They add up to $T$, but need not be
# equal. Some keys are popular, and some are never asked. Only the rows must add up to 1.
#
# </details>
#
# **5. From an interview.** *"People say that attention is just kernel regression. Are they right?"*
#
# <details><summary>A model answer</summary>
#
# The form is the same. Nadaraya and Watson estimate $f(q) = \sum_i w_i\,y_i$ with $w_i = K(q, x_i) / \sum_j K(q, x_j)$.
# Attention is that with $K(q, k) = e^{q \cdot k / \sqrt d}$: the $x_i$ are the keys, the $y_i$ the values, and the
# softmax is the kernel's normalisation. On keys of equal length it is exactly the Gaussian kernel with $\sigma^2 =
# \sqrt d$. What holds for the one holds for the other: the answer lies among the values, a cold softmax is nearest
# neighbour, a hot one the mean, and the cost is one score for each pair.
#
# What differs: in kernel regression only the width is chosen, and the kernel is symmetric and fixed. In attention the
# similarity is learned, through $W_q$ and $W_k$, and need not be symmetric: *it* may look for *cat*, while *cat* does
# not look for *it*. A long key attracts every query that points its way, which no distance does. The values are learned
# too, and not noisy measurements of the answer. And layers are stacked, so the outputs of one become the queries, keys
# and values of the next.
#
# The view is useful, too: features that approximate the kernel $e^{q \cdot k}$ make attention linear in the length
# (chapter 25).
#
# *What a weak answer says:* "yes, both take weighted averages", without saying what is learned.
#
# </details>
#
# ## Summary
#
# - A weighted average is where a ring comes to rest that all values pull at: the best answer in squares.
# - Shares by nearness are the softmax of a score; for the bell it is $-d^2/2\sigma^2$. Take the softmax, not the
#   quotient.
# - Queries ask, keys are found, values are averaged. The table of weights has a row for each query, and each row adds
#   up to 1. Softmax runs over the keys, or it is no average.
# - The width runs from nearest neighbour to the mean, and is a temperature, $\tau = 2\sigma^2$.
# - To judge a width, leave each point out. Who may copy looks perfect. The mask goes onto the scores.
# - A fixed notion of *near* drowns in useless features. A learned one finds out whom to ask: that is attention.
#
# ## Further reading
#
# - E. A. Nadaraya, "On Estimating Regression", 1964, and G. S. Watson, "Smooth Regression Analysis", 1964. The average
#   by nearness, found twice in one year.
# - M. Stone, "Cross-Validatory Choice and Assessment of Statistical Predictions", 1974. Leaving out, made a principle.
# - J. Goldberger, S. Roweis, G. Hinton, R. Salakhutdinov, "Neighbourhood Components Analysis", 2004. A softmax over
#   negative squared distances after a learned $W$, trained by leaving one out, for classes.
# - K. Q. Weinberger, G. Tesauro, "Metric Learning for Kernel Regression", 2007. The same for numbers: our experiment
#   with the rain gauges.
# - O. Vinyals, C. Blundell, T. Lillicrap, K. Kavukcuoglu, D. Wierstra, "Matching Networks for One Shot Learning", 2016.
#   Keys and queries from a deep network, values that are labels.
# - Y.-H. H. Tsai, S. Bai, M. Yamada, L.-P. Morency, R. Salakhutdinov, "Transformer Dissection: A Unified Understanding
#   of Transformer's Attention via the Lens of Kernel", 2019. The Transformer, read as this chapter.
# - F. Locatello et al., "Object-Centric Learning with Slot Attention", 2020. The softmax that runs down, and why.
#
# **Next:** [3 · Additive attention](../03_additive_attention/03_additive_attention.ipynb). There the score is no
# distance at all: a small network decides how well query and key fit.
