import io
import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import colors
from matplotlib import pyplot as plt

import attnlab
from attnlab.plotting import (
    COLOURS,
    INK,
    WEIGHTS_MAP,
    alignment_map,
    alt_text,
    bars,
    curves,
    head_grid,
    heatmap,
    house_style,
    image_attention,
    signed_heatmap,
)

WEIGHTS = np.array([[0.7, 0.2, 0.1], [0.0, 0.25, 0.75]])
PICTURES = {
    "heatmap": lambda: heatmap(WEIGHTS, ["a", "b"], ["x", "y", "z"], numbers=True, title="weights"),
    "masked": lambda: heatmap(WEIGHTS, mask=WEIGHTS > 0),
    "signed": lambda: signed_heatmap(WEIGHTS - 0.4, numbers=True),
    "alignment": lambda: alignment_map(WEIGHTS, ["le", "chat"], ["the", "cat", "."]),
    "image": lambda: image_attention(np.linspace(0, 1, 96).reshape(8, 12), WEIGHTS),
    "bars": lambda: bars({"τ = 1": WEIGHTS[0], "τ = 2": WEIGHTS[1]}, ["x", "y", "z"]),
    "curves": lambda: curves({"train": [3.0, 1.0], "test": [3.0, 2.0]}),
    "heads": lambda: head_grid(np.stack([WEIGHTS] * 5), title="layer 1"),
}
every = pytest.mark.parametrize("name", PICTURES)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def pixels(picture, background):
    figure = getattr(picture, "figure", None) or picture
    file = io.BytesIO()
    figure.savefig(file, format="png")
    file.seek(0)
    rgba = plt.imread(file)
    return rgba[..., :3] * rgba[..., 3:] + np.array(colors.to_rgb(background)) * (1 - rgba[..., 3:])


def luminance(rgb):
    rgb = np.asarray(rgb)
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]


def contrast(a, b):
    bright, dark = sorted((luminance(colors.to_rgb(a)), luminance(colors.to_rgb(b))), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("page", ["#ffffff", "#111111"])
def test_ink_and_colours_can_be_told_from_both_pages(page):
    assert contrast(INK, page) > 4.3
    assert min(contrast(colour, page) for colour in COLOURS) > 3


def test_the_map_of_weights_grows_in_lightness_alone():
    """Whoever sees no hue still reads more from less."""
    lightness = luminance(matplotlib.colormaps[WEIGHTS_MAP](np.linspace(0, 1, 64))[:, :3])
    assert (np.diff(lightness) > 0).all()


@every
def test_every_picture_is_clear_where_nothing_is_drawn_and_visible_on_both_pages(name):
    picture = PICTURES[name]()
    for page in ("white", "#111111"):
        image = pixels(picture, page)
        assert np.allclose(image[0, 0], colors.to_rgb(page), atol=1e-3)
        assert (np.abs(luminance(image) - luminance(colors.to_rgb(page))) > 0.1).mean() > 0.005


@every
def test_no_setting_outlives_the_call_and_nothing_is_shown(name, monkeypatch):
    monkeypatch.setattr(plt, "show", lambda *a, **k: pytest.fail("a picture was shown"))
    before = dict(matplotlib.rcParams)
    PICTURES[name]()
    assert dict(matplotlib.rcParams) == before


@every
def test_every_picture_describes_itself(name):
    text = alt_text(PICTURES[name]())
    assert text.endswith(".") and len(text) > 20


def test_descriptions_say_what_matters():
    assert alt_text(PICTURES["heatmap"]()) == (
        "Heat map of attention weights, 2 queries by 3 keys: weights. Strongest: b on z, 0.75."
    )
    assert alt_text(PICTURES["masked"]()).endswith("Strongest: query 1 on key 2, 0.75.")
    assert alt_text(PICTURES["heads"]()).count("Attention weights of head") == 5
    assert alt_text(PICTURES["curves"]()).endswith("train: 3 to 1; test: 3 to 2.")


def test_heatmap_shows_the_weights_from_zero_to_one_with_their_labels():
    ax = PICTURES["heatmap"]()
    (image,) = ax.images
    np.testing.assert_array_equal(image.get_array(), WEIGHTS)
    assert image.get_clim() == (0, 1)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b"]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["x", "y", "z"]
    assert [t.get_text() for t in ax.texts] == ["0.70", "0.20", "0.10", "0.00", "0.25", "0.75"]


def test_forbidden_cells_stay_empty_where_zeros_are_coloured():
    ax = heatmap(WEIGHTS, mask=np.array([[True, True, False], [True, True, True]]))
    assert np.ma.getmaskarray(ax.images[0].get_array()).tolist() == [[False, False, True], [False, False, False]]
    assert ax.patch.get_hatch()


def test_numbers_are_black_on_light_cells_and_white_on_dark_ones():
    ax = heatmap(np.array([[0.0, 1.0]]), numbers=True)
    assert [t.get_color() for t in ax.texts] == ["white", "black"]


def test_signed_heatmap_has_zero_in_the_middle():
    ax = signed_heatmap(np.array([[-1.0, 3.0]]))
    assert ax.images[0].get_clim() == (-3, 3)


def test_alignment_rings_the_strongest_weight_of_each_row_that_has_one():
    ax = alignment_map(np.vstack([WEIGHTS, np.zeros(3)]), ["le", "chat", "_"], ["the", "cat", "."])
    assert ax.collections[-1].get_offsets().tolist() == [[0, 0], [2, 1]]


def test_blanks_are_made_visible_and_dollars_are_not_maths():
    ax = heatmap(WEIGHTS, [" ", "$"], ["\n", r"$\frac$", "a b"])
    assert [t.get_text() for t in ax.get_yticklabels()] == ["␣", "$"]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["↵", r"$\frac$", "a␣b"]
    ax.figure.canvas.draw()


def test_head_grid_draws_each_head_once_with_the_same_colours():
    figure = PICTURES["heads"]()
    drawn = [ax for ax in figure.axes if ax.images and len(ax.images[0].get_array().shape) == 2 and ax.get_title()]
    assert [ax.get_title() for ax in drawn] == [f"head {i}" for i in range(1, 6)]
    assert {ax.images[0].get_clim() for ax in drawn} == {(0, 1)}


def test_the_brightest_tile_is_the_one_with_most_weight():
    ax = image_attention(np.ones((4, 6)), WEIGHTS)
    veil = ax.images[1].get_array()
    assert np.unravel_index(veil[..., 3].argmin(), WEIGHTS.shape) == (1, 2)
    assert veil[1, 2, 3] == 0


def test_bars_are_as_high_as_the_weights():
    ax = PICTURES["bars"]()
    heights = [[bar.get_height() for bar in group] for group in ax.containers]
    np.testing.assert_allclose(heights, WEIGHTS)


def test_curves_differ_in_colour_and_in_dashes():
    ax = curves({str(i): np.arange(3) for i in range(5)}, x=[10, 20, 30])
    legend = ax.get_legend().get_lines()
    assert len({line.get_color() for line in ax.lines}) == 5
    assert len({str(line._dash_pattern) for line in ax.lines}) == 5 == len(legend)
    assert ax.lines[0].get_xdata().tolist() == [10, 20, 30]


def test_pictures_are_drawn_into_the_axes_that_they_are_given():
    with house_style():
        _, ax = plt.subplots()
    assert heatmap(WEIGHTS, ax=ax) is ax


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_tensors_of_any_precision_and_with_gradients_are_drawn(dtype):
    weights = torch.tensor(WEIGHTS, dtype=dtype, requires_grad=True)
    np.testing.assert_allclose(heatmap(weights).images[0].get_array(), WEIGHTS, atol=4e-3)


def test_shapes_and_labels_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"two axes, got shape \(1, 2, 3\)"):
        heatmap(WEIGHTS[None])
    with pytest.raises(ValueError, match=r"\(H, T, S\), got shape \(2, 3\)"):
        head_grid(WEIGHTS)
    with pytest.raises(ValueError, match="expected 3 labels, one for each column, got 2"):
        heatmap(WEIGHTS, keys=["x", "y"])


def test_matplotlib_is_imported_only_when_something_is_drawn():
    code = "import sys, attnlab.plotting; sys.exit('matplotlib' in sys.modules)"
    source_root = str(Path(attnlab.__file__).parents[1])
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": source_root})
