"""Attention that one can walk through: its numbers are those of masked_softmax, by mouse, finger and keyboard."""

import base64
import io
import json
import re
import xml.etree.ElementTree as ElementTree

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.image import imread

from attnlab.interactive import attention_map
from attnlab.masks import causal_mask, combine, local_mask, masked_softmax, padding_mask

SCORES = np.log([[1.0, 3.0, 4.0], [2.0, 1.0, 1.0]])  # shares 1/8 3/8 4/8 and 2/4 1/4 1/4
WORDS = ["a", "b", "c"]


def svg_of(figure):
    (data,) = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', figure.html)
    return ElementTree.fromstring(base64.b64decode(data))


def pixels_of(figure):
    """The maps of the static picture, each (T, S, 4)."""
    images = svg_of(figure).findall("{http://www.w3.org/2000/svg}image")
    return [imread(io.BytesIO(base64.b64decode(i.get("href").partition(",")[2])), format="png") for i in images]


def config_of(figure):
    return json.loads(re.search(r"const config = (.*);\n", figure.html)[1])


# --- without scripts ---------------------------------------------------------------------------------------------


def test_words_say_whom_each_query_reads_most():
    assert repr(attention_map(scores=SCORES, queries=["p", "q"], keys=WORDS)) == (
        "Attention weights, 2 queries in rows, 3 keys in columns.\n‘p’ reads ‘c’ most, 0.50\n‘q’ reads ‘a’ most, 0.50"
    )


def test_words_say_the_strongest_weight_of_each_head():
    weights = np.zeros((2, 2, 2, 3))
    weights[1, 0, 1, 2] = 1.0
    lines = repr(attention_map(weights)).splitlines()
    assert lines[3] == "layer 2, head 1: strongest, query 1 reads key 2, 1.00"
    assert len(lines) == 5


def test_a_row_that_may_read_nothing_says_so():
    mask = np.array([[True, True, False], [False, False, False]])
    assert repr(attention_map(scores=SCORES, mask=mask)).endswith(
        "query 0 reads key 1 most, 0.75\nquery 1 reads nothing"
    )


def test_tokens_that_occur_twice_are_told_apart():
    text = repr(attention_map(scores=SCORES, queries=["a", "a"], keys=["c", "d", "b"]))
    assert text.endswith("‘a’ (place 1) reads ‘b’ most, 0.50\n‘a’ (place 2) reads ‘c’ most, 0.50")


def test_the_static_picture_has_the_colours_of_the_heat_maps_and_is_clear_where_the_mask_forbids():
    weights = np.linspace(0, 1, 32).reshape(4, 8)
    mask = np.ones((4, 8), dtype=bool)
    mask[0, 0] = False  # weight 0
    mask[3, 7] = False  # weight 1: a leak, which must be seen
    (shown,) = pixels_of(attention_map(weights, mask=mask))
    expected = matplotlib.colormaps["viridis"](np.rint(weights * 15) / 15)
    np.testing.assert_allclose(shown[..., :3][weights > 0], expected[..., :3][weights > 0], atol=1 / 255)
    assert shown[0, 0, 3] == 0
    assert shown[3, 7, 3] == 1


def test_the_static_picture_shows_every_head():
    weights = torch.softmax(torch.randn(2, 3, 5, 7, generator=torch.Generator().manual_seed(0)), -1)
    figure = attention_map(weights, queries=list("pqrst"), keys=list("abcdefg"))
    titles = ["".join(text.itertext()) for text in svg_of(figure).iter("{http://www.w3.org/2000/svg}text")]
    assert [t for t in titles if t.startswith("layer")] == [f"layer {i}, head {h}" for i in (1, 2) for h in (1, 2, 3)]
    assert [pixels.shape for pixels in pixels_of(figure)] == [(5, 7, 4)] * 6


def test_no_dead_control_where_scripts_do_not_run():
    before = attention_map(scores=SCORES).html.split("<script>")[0]
    assert not re.search("<(input|button|canvas)", before)
    assert 'alt="Attention weights, 2 queries in rows' in before


def test_an_attention_map_fetches_nothing():
    figure = attention_map(scores=SCORES)
    everything = figure.html + ElementTree.tostring(svg_of(figure), encoding="unicode")
    everything = re.sub(r"base64,[\w+/=]+|\"data\": \"[\w+/=]+\"", "", everything)  # numbers, which may hold a //
    assert set(re.findall(r"(?:https?:)?//[\w.]+[^\s\"'<]*", everything)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<(link|iframe|script\s+src)|@import|url\(|fetch\(|require\(", everything)


def test_eight_heads_of_32_words_stay_small():
    scores = np.random.default_rng(0).normal(size=(8, 32, 32))
    words = [f"token{i}" for i in range(32)]
    assert len(attention_map(scores=scores, queries=words, keys=words).html) < 62_000


def test_labels_cannot_break_out_of_the_page():
    label = '</script><script>alert("1")</script> & \'"<img src=x>'
    figure = attention_map(scores=SCORES, queries=[label, "q"], keys=WORDS)
    assert figure.html.count("<script>") == figure.html.count("</script>") == 1
    assert figure.html.count("<img") == 1
    assert "<" not in re.search(r'<img alt="([^"]*)"', figure.html)[1]
    assert config_of(figure)["queries"][0] == label


def test_a_token_of_blanks_is_seen_and_words_stay_words():
    keys = [" cat", "Ada → Ben", "\n"]
    assert config_of(attention_map(scores=SCORES, keys=keys))["keys"] == ["␣cat", "Ada → Ben", "↵"]


@pytest.mark.parametrize("make", [torch.tensor, lambda x: torch.tensor(x).bfloat16(), lambda x: x.tolist()])
def test_numbers_of_any_kind_are_taken(make):
    assert "query 0 reads key 2 most, 0.50" in repr(attention_map(scores=make(SCORES)))
    weights = torch.full((2, 3), 1 / 3, requires_grad=True)
    assert "query 1 reads key 0 most, 0.33" in repr(attention_map(weights))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "weights or scores, one of the two"),
        ({"weights": SCORES, "scores": SCORES}, "one of the two"),
        ({"weights": SCORES}, "are these scores"),
        ({"weights": np.full((2, 3), np.nan)}, r"nan at \[0, 0\]: was a row masked altogether"),
        ({"scores": np.full((2, 3), -np.inf)}, "give the mask as mask="),
        ({"scores": np.zeros((1, 1, 1, 2, 3))}, "is there a batch axis"),
        ({"scores": np.zeros(3)}, r"got shape \(3,\)"),
        ({"scores": np.zeros((2, 65))}, "show a part of it"),
        ({"scores": SCORES, "keys": ["a"]}, "each of the 3 keys, got 1"),
        ({"scores": SCORES, "heads": ["a", "b"]}, "each of the 1 heads, got 2"),
        ({"scores": SCORES, "mask": np.ones((3, 2), bool)}, r"broadcasts to \(2, 3\)"),
        ({"scores": SCORES, "mask": np.ones((5, 1, 2, 3), bool)}, r"mask\[0\]"),
        ({"scores": SCORES, "tau": 0.01}, "from 0.05 to 20"),
    ],
)
def test_it_says_what_is_wrong_with_its_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        attention_map(**arguments)


def test_a_mask_of_numbers_is_refused():
    with pytest.raises(TypeError, match="a mask is boolean"):
        attention_map(np.ones((2, 3)), mask=np.ones((2, 3)))


@pytest.mark.parametrize("shape", [(3,), (1, 3), (2, 3), (1, 1, 1, 3)])
def test_a_mask_broadcasts(shape):
    mask = np.zeros(shape, dtype=bool)
    mask[..., 1] = True
    assert config_of(attention_map(scores=SCORES, mask=mask))["mask"] == ["010", "010"]


# --- in a real browser -------------------------------------------------------------------------------------------


def cell(page, t, s):
    return page.get_by_role("grid").get_by_role("row").nth(t + 1).get_by_role("gridcell").nth(s)


def shown(page):
    """What the cells say, (T, S); hidden ones say NaN."""
    rows = page.locator("[role=row]").evaluate_all(
        "rows => rows.slice(1).map(r => [...r.querySelectorAll('[role=gridcell]')].map(c => c.ariaLabel))"
    )
    return np.array([[np.nan if said == "hidden" else float(said) for said in row] for row in rows])


def same(page, weights, mask):
    """The page shows these weights, and hides what the mask hides."""
    numbers = shown(page)
    mask = np.broadcast_to(mask, numbers.shape)
    np.testing.assert_array_equal(np.isnan(numbers), ~mask)
    np.testing.assert_allclose(numbers[mask], weights[mask], atol=0.00051)


def slide_to(page, tau):
    page.get_by_role("slider").evaluate(
        "(node, tau) => { node.value = Math.log(tau); node.dispatchEvent(new Event('input')); }", tau
    )


@pytest.mark.browser
@pytest.mark.parametrize("tau", [0.05, 1.0, 20.0])
def test_the_page_computes_what_masked_softmax_computes(page_with, tau):
    T, S = 7, 11
    scores = np.random.default_rng(3).normal(scale=5, size=(2, 3, T, S))
    given = np.random.default_rng(4).random((T, S)) < 0.4
    given[2] = False
    page = page_with(attention_map(scores=scores, mask=given).html)
    slide_to(page, tau)
    same(page, masked_softmax(scores[0, 0] / tau, given), given)
    for p in range(6):
        page.get_by_role("radio").nth(p).check()
        same(page, masked_softmax(scores[p // 3, p % 3] / tau, given), given)

    page.get_by_label("as given").uncheck()
    same(page, masked_softmax(scores[1, 2] / tau, np.ones((T, S), bool)), np.ones((T, S), bool))
    page.get_by_label("causal: no look ahead").check()
    same(page, masked_softmax(scores[1, 2] / tau, causal_mask(T, S)), causal_mask(T, S))
    page.get_by_label("radius of the window").fill("2")
    page.get_by_label("how many keys are padding").fill("4")
    all_three = combine(causal_mask(T, S), local_mask(T, S, 2), padding_mask(np.array([S - 4]), S)[0, 0])
    assert not all_three.any(-1).all()
    same(page, masked_softmax(scores[1, 2] / tau, all_three), all_three)
    page.get_by_role("button", name="Open all").click()
    assert not np.isnan(shown(page)).any()


@pytest.mark.browser
def test_it_says_who_reads_whom_under_the_pointer(page_with):
    page = page_with(attention_map(scores=SCORES, queries=["p", "q"], keys=WORDS).html)
    cell(page, 0, 2).hover()
    assert page.locator("output").inner_text() == "‘p’ reads ‘c’ with weight 0.500, its score is 1.39"
    assert page.locator(".here").all_inner_texts() == ["c", "p", "0.50"]


@pytest.mark.browser
def test_the_keyboard_walks_hides_and_shows(page_with):
    page = page_with(attention_map(scores=SCORES, queries=["p", "q"], keys=WORDS).html)
    page.evaluate("document.body.addEventListener('keydown', e => { window.heard = e.key; })")
    said = page.locator("output")
    page.locator("[role=gridcell][tabindex='0']").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert said.inner_text() == "‘q’ reads ‘b’ with weight 0.250, its score is 0.00"
    page.keyboard.press("Home")
    page.keyboard.press("Space")
    assert said.inner_text() == "‘q’ may not read ‘a’: hidden by the mask, weight 0"
    np.testing.assert_array_equal(shown(page)[1], [np.nan, 0.5, 0.5])
    np.testing.assert_array_equal(shown(page)[0], [0.125, 0.375, 0.5])
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    assert said.inner_text() == "‘q’ may read nothing: the mask hides every key, and all its weights are 0"
    page.keyboard.press("Enter")
    np.testing.assert_array_equal(shown(page)[1], [np.nan, np.nan, 1.0])
    assert page.evaluate("window.heard") is None  # JupyterLab would have gone to the next cell


@pytest.mark.browser
def test_a_mask_is_painted_with_the_mouse(page_with):
    page = page_with(attention_map(scores=np.zeros((4, 4))).html)
    page.mouse.move(*middle(cell(page, 0, 0)))
    page.mouse.down()
    page.mouse.move(*middle(cell(page, 3, 3)), steps=1)  # so fast that no cell in between is told
    page.mouse.up()
    page.mouse.move(*middle(cell(page, 0, 3)), steps=4)  # no button: only looks
    hidden = np.eye(4, dtype=bool)
    same(page, masked_softmax(np.zeros((4, 4)), ~hidden), ~hidden)
    page.mouse.move(*middle(cell(page, 1, 1)))
    page.mouse.down()  # begins on a hidden cell: shows
    page.mouse.move(*middle(cell(page, 1, 2)))
    page.mouse.up()
    hidden[1, 1] = False
    same(page, masked_softmax(np.zeros((4, 4)), ~hidden), ~hidden)


def middle(node):
    box = node.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


@pytest.mark.browser
def test_a_finger_hides_a_cell_on_a_page_as_narrow_as_a_phone(browser):
    context = browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True, offline=True)
    page = context.new_page()
    scores = np.zeros((2, 3, 9, 30))
    page.set_content(f"<meta name=viewport content='width=device-width'>{attention_map(scores=scores).html}")
    cell(page, 2, 3).tap()
    assert np.isnan(shown(page)[2, 3])
    assert np.isnan(shown(page)).sum() == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    context.close()


@pytest.mark.browser
def test_heads_are_chosen_with_the_keyboard(page_with):
    weights = np.zeros((2, 2, 3, 3))
    for p in range(4):
        weights[p // 2, p % 2] = (p + 1) / 10
    page = page_with(attention_map(weights, heads=["left", "right"]).html)
    first = page.get_by_role("radio", name="layer 1, left")
    assert first.is_checked()
    first.focus()
    for p in (1, 2, 3):
        page.keyboard.press("ArrowRight")
        np.testing.assert_allclose(shown(page), (p + 1) / 10)
    assert page.get_by_role("radio", name="layer 2, right").is_checked()


@pytest.mark.browser
def test_weights_are_shown_as_they_are_given(page_with):
    weights = np.array([[0.2, 0.2, 0.0], [0.9, 0.9, 0.0]])  # sums that are wrong must be seen to be wrong
    page = page_with(attention_map(weights, mask=np.array([True, False, False])).html)
    np.testing.assert_array_equal(shown(page), [[0.2, 0.2, np.nan], [0.9, 0.9, np.nan]])
    assert page.get_by_role("slider").count() == page.get_by_role("checkbox").count() == 0
    cell(page, 1, 1).click()
    assert page.locator("output").inner_text() == "query 1 reads key 1 with weight 0.900, though the mask hides it"


@pytest.mark.browser
def test_several_maps_on_a_page_leave_each_other_alone(page_with):
    html = attention_map(scores=np.zeros((2, 3, 3))).html
    page = page_with(html + attention_map(scores=np.ones((2, 2, 2))).html)
    page.evaluate("html => document.body.append(document.createRange().createContextualFragment(html))", html)
    maps = page.locator(".attnlab-live")
    maps.nth(0).get_by_role("radio").nth(1).check()
    maps.nth(0).get_by_label("causal").check()
    hidden = [maps.nth(i).locator("[aria-label=hidden]").count() for i in range(3)]
    chosen = [maps.nth(i).get_by_role("radio").nth(0).is_checked() for i in (0, 2)]
    assert (hidden, chosen) == ([3, 0, 0], [False, True])


@pytest.mark.browser
def test_hostile_tokens_run_nothing(page_with):
    token = "<img/src=x/onerror=window.hit=1></script><script>window.hit=1</script>"  # no blank: those are replaced
    names = {"queries": [token, "q"], "heads": [token, "h"]}
    page = page_with(attention_map(scores=np.zeros((2, 2, 3)), keys=WORDS, **names).html)
    cell(page, 0, 0).click()
    assert page.locator("img").count() == 0
    assert page.evaluate("window.hit") is None
    assert token in page.locator("output").inner_text()


@pytest.mark.browser
def test_without_scripts_the_picture_of_a_map_stays(page_with):
    page = page_with(attention_map(scores=SCORES).html, scripts=False)
    assert page.get_by_role("grid").count() == 0
    image = page.get_by_role("img").bounding_box()
    assert image["width"] > 80
    assert image["height"] > 60


@pytest.mark.browser
@pytest.mark.parametrize(("ink", "paper"), [("#222", "#fff"), ("#ddd", "#111")], ids=["day", "night"])
def test_a_map_passes_axe(browser, ink, paper):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page = browser.new_context(offline=True).new_page()
    html = attention_map(scores=np.zeros((2, 2, 3, 3)), keys=WORDS, mask=np.array([True, True, False])).html
    page.set_content(
        f"<!doctype html><html lang=en><title>map</title><body style='color:{ink};background:{paper}'>"
        f"<main><h1>A map</h1>{html}</main>"
    )
    found = axe.Axe().run(page).response["violations"]
    assert [(v["id"], [n["html"][:80] for n in v["nodes"]][:3]) for v in found] == []
    page.context.close()
