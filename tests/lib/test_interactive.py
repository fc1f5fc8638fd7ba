"""Figures without a kernel: what they say in words, what stands there without scripts, what moves with them."""

import base64
import json
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from attnlab.interactive import kernel_slider, once_solved, road, stops, temperature_slider

SCORES = [0.0, float(np.log(3.0))]  # shares 1/4 and 3/4; at a quarter of the temperature 1/82 and 81/82
FAR = float(np.sqrt(2 * np.log(3.0)))  # so many widths away, a point weighs a third
POINTS = ([0.0, FAR], [4.0, 8.0], 0.0, 1.0)  # at 0 the shares are 3/4 and 1/4, the average 5


FIGURES = [temperature_slider(SCORES), kernel_slider(*POINTS), road(1)]


def drawing(figure):
    """The picture of a figure, as parsed SVG."""
    (data,) = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', figure.html)
    return ElementTree.fromstring(base64.b64decode(data))


def words_in(svg):
    return ["".join(text.itertext()) for text in svg.iter("{http://www.w3.org/2000/svg}text")]


def boxes_in(svg):
    return svg.findall("{http://www.w3.org/2000/svg}rect")


# --- the slider, without scripts -------------------------------------------------------------------------------------


def test_slider_says_its_numbers_in_words():
    assert repr(temperature_slider(SCORES, ["no", "yes"])) == (
        "temperature 0.25: no 1.2%, yes 98.8%\ntemperature 1: no 25.0%, yes 75.0%\ntemperature 4: no 43.2%, yes 56.8%"
    )


def test_slider_without_scripts_shows_three_temperatures_side_by_side():
    svg = drawing(temperature_slider(SCORES, ["no", "yes"]))
    words = words_in(svg)
    assert [word for word in words if word.startswith("τ")] == ["τ = 0.25", "τ = 1", "τ = 4"]
    assert [word for word in words if word.endswith("%")] == ["1%", "99%", "25%", "75%", "43%", "57%"]
    heights = [float(bar.get("height")) for bar in boxes_in(svg)]
    assert heights[3] == pytest.approx(3 * heights[2], rel=0.01)


def test_slider_has_no_dead_control_where_scripts_do_not_run():
    without_script = temperature_slider(SCORES).html.split("<script>")[0]
    assert "<input" not in without_script
    assert 'alt="Softmax at several temperatures. temperature 0.25: x0 1.2%' in without_script


@pytest.mark.parametrize("figure", FIGURES, ids=["slider", "kernel", "road"])
def test_figures_fetch_nothing(figure):
    """Every address in it is the name of the SVG namespace, which browsers do not look up."""
    everything = figure.html + ElementTree.tostring(drawing(figure), encoding="unicode")
    assert set(re.findall(r"(?:https?:)?//[\w.]+[^\s\"'<]*", everything)) <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<(link|iframe|script\s+src)|@import|url\(|fetch\(|require\(", everything)


@pytest.mark.parametrize("figure", FIGURES, ids=["slider", "kernel", "road"])
def test_figures_offer_html_and_words(figure):
    bundle = figure._repr_mimebundle_()
    assert bundle == {"text/html": figure._repr_html_(), "text/plain": repr(figure)}


def test_figures_are_the_same_on_every_build():
    assert temperature_slider(SCORES).html == temperature_slider(np.array(SCORES)).html
    assert road(7).html == road(7).html


def test_sliders_of_different_scores_do_not_answer_to_one_name():
    keys = {
        re.search(r'data-attnlab="([^"]+)"', temperature_slider(x).html)[1]
        for x in ([0.0, 1.0], [0.0, 2.0], [0.0, 1.0, 2.0])
    }
    assert len(keys) == 3


def test_labels_cannot_break_out_of_the_page():
    label = '</script><script>alert("1")</script> & \'"<img src=x>'
    figure = temperature_slider([1.0, 2.0], [label, "plain"])
    assert figure.html.count("<script>") == figure.html.count("</script>") == 1
    assert figure.html.count("<img") == 1
    alt = re.search(r'<img alt="([^"]*)"', figure.html)[1]
    assert "<" not in alt
    config = json.loads(re.search(r"const config = (.*);\n", figure.html)[1])
    assert config["labels"] == [label, "plain"]
    assert any(word.startswith("</script>") for word in words_in(drawing(figure)))


def test_slider_survives_scores_that_would_overflow():
    assert "x0 26.9%, x1 73.1%" in repr(temperature_slider([10000.0, 10001.0]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones((1, 2)),), "is it a batch of lists"),
        (([],), "one or more finite scores"),
        (([1.0, np.inf],), "one or more finite scores"),
        (([1.0, 2.0], ["a"]), "got 2 scores, 1 labels"),
        (([1.0, 2.0], None, 0.0), "from 0.05 to 20"),
    ],
)
def test_slider_says_what_is_wrong_with_its_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        temperature_slider(*arguments)


# --- the kernel slider, without scripts -------------------------------------------------------------------------------


def test_kernel_slider_says_its_numbers_in_words():
    assert repr(kernel_slider(*POINTS, xlabel="hour", ylabel="degrees")) == (
        "hour 0, width 0.25: degrees 4.00, the weight spread as if over 1.0 of 2 points\n"
        "hour 0, width 1: degrees 5.00, the weight spread as if over 1.8 of 2 points\n"
        "hour 0, width 4: degrees 5.93, the weight spread as if over 2.0 of 2 points"
    )


def test_kernel_slider_without_scripts_spends_the_same_ink_at_every_width():
    figure = kernel_slider(*POINTS)
    circles = drawing(figure).findall("{http://www.w3.org/2000/svg}circle")
    dots = [float(circle.get("r")) for circle in circles if circle.get("fill") == "#d55e00"]
    ink = (np.array(dots).reshape(3, 2) ** 2).sum(axis=1)
    np.testing.assert_allclose(ink, ink[0], rtol=0.02)  # radii are written with one decimal
    assert "<input" not in figure.html.split("<script>")[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[0.0], [1.0]], [1.0, 2.0], 0.0, 1.0), "is one of them a table"),
        (([0.0, 1.0], [1.0, 2.0, 3.0], 0.0, 1.0), "as many y"),
        (([0.0, np.nan], [1.0, 2.0], 0.0, 1.0), "finite numbers"),
        (([1.0, 1.0], [1.0, 2.0], 1.0, 1.0), "two places or more"),
        (([0.0, 1.0], [1.0, 2.0], 9.0, 1.0), "query from -0.05 to 1.05"),
        (([0.0, 1.0], [1.0, 2.0], 0.5, 0.0), "width from 0.0025 to 4"),
    ],
)
def test_kernel_slider_says_what_is_wrong_with_its_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        kernel_slider(*arguments)


# --- the road --------------------------------------------------------------------------------------------------------


def test_road_has_a_stop_for_each_of_the_26_chapters():
    assert list(stops()) == list(range(1, 27))
    assert len(boxes_in(drawing(road(1)))) == 26


@pytest.mark.parametrize("chapter", [1, 9, 14, 26])
def test_road_fills_what_is_built_and_dashes_what_is_to_come(chapter):
    boxes = boxes_in(drawing(road(chapter)))
    here = [box for box in boxes if box.get("stroke-width") == "2"]
    to_come = [box for box in boxes if box.get("stroke-dasharray")]
    assert (len(here), len(to_come)) == (1, 26 - chapter)


def test_road_says_where_we_are_in_words():
    assert repr(road(1)) == "Chapter 1 of 26: softmax. Built so far: nothing yet."
    assert repr(road(3)) == "Chapter 3 of 26: additive. Built so far: softmax, averaging."


@pytest.mark.parametrize("chapter", [0, 27])
def test_road_ends(chapter):
    with pytest.raises(ValueError, match="from 1 to 26"):
        road(chapter)


# --- demonstrations that wait for the reader -------------------------------------------------------------------------


def test_once_solved_names_the_exercise_of_a_stub(capsys):
    with once_solved("softmax"):
        raise NotImplementedError
    assert (
        capsys.readouterr().out == "This cell uses your softmax. Solve the exercise above, then run this cell again.\n"
    )


def test_once_solved_is_silent_for_a_solution(capsys):
    with once_solved("softmax"):
        pass
    assert capsys.readouterr().out == ""


def test_once_solved_hides_no_other_mistake():
    with pytest.raises(TypeError), once_solved("softmax"):
        raise TypeError
    with pytest.raises(NameError), once_solved("softmax"):
        raise NameError


def test_a_cell_that_goes_on_from_one_that_waits_says_so(capsys):
    with once_solved("softmax"):
        raise NotImplementedError
    with once_solved("attend"):
        raise NameError
    assert "goes on from one above that waits" in capsys.readouterr().out
    with once_solved("softmax"):
        pass
    with pytest.raises(NameError), once_solved("attend"):
        raise NameError


# --- in a real browser -----------------------------------------------------------------------------------------------


@pytest.mark.browser
def test_slider_follows_the_keyboard(page_with):
    page = page_with(temperature_slider(SCORES, ["no", "yes"]).html)
    slider = page.get_by_role("slider")
    assert page.locator("svg text").all_text_contents() == ["no", "25.0 %", "yes", "75.0 %"]
    assert slider.get_attribute("aria-valuetext") == "temperature 1.00"
    slider.focus()
    for _ in range(200):
        page.keyboard.press("ArrowLeft")
    assert slider.get_attribute("aria-valuetext") == "temperature 0.0500"
    assert page.locator("svg text").all_text_contents() == ["no", "0.0 %", "yes", "100.0 %"]
    assert "0.00 bits" in page.locator("output").inner_text()
    for _ in range(200):
        page.keyboard.press("ArrowUp")
    assert slider.get_attribute("aria-valuetext") == "temperature 20.0"
    assert "1.00 bits: as undecided as a fair choice among 2.00 of 2" in page.locator("output").inner_text()


@pytest.mark.browser
def test_slider_follows_the_mouse(page_with):
    page = page_with(temperature_slider(SCORES).html)
    box = page.get_by_role("slider").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.98, box["y"] + box["height"] / 2)
    hot = float(page.locator("svg text").nth(1).text_content().removesuffix(" %"))
    assert 47 < hot < 50


@pytest.mark.browser
def test_kernel_slider_follows_the_keyboard(page_with):
    page = page_with(kernel_slider(*POINTS, xlabel="hour", ylabel="degrees").html)
    query, width = page.get_by_role("slider").all()
    assert query.get_attribute("aria-valuetext") == "hour 0.00"
    assert width.get_attribute("aria-valuetext") == "width 1.00"
    said = page.locator("output")
    assert said.inner_text() == "degrees 5.00, the weight spread as if over 1.8 of 2 points"
    width.focus()
    for _ in range(150):
        page.keyboard.press("ArrowLeft")
    assert said.inner_text() == "degrees 4.00, the weight spread as if over 1.0 of 2 points"
    query.focus()
    for _ in range(250):
        page.keyboard.press("ArrowRight")
    assert said.inner_text() == "degrees 8.00, the weight spread as if over 1.0 of 2 points"
    ring = page.locator("svg circle").last
    dot = page.locator("svg circle").nth(3)
    assert float(dot.get_attribute("r")) == pytest.approx(16)
    assert float(ring.get_attribute("cy")) == pytest.approx(float(dot.get_attribute("cy")))


@pytest.mark.browser
def test_slider_takes_the_colour_of_the_page(page_with):
    page = page_with(temperature_slider(SCORES).html, colour="rgb(1, 2, 3)")
    assert page.locator("svg text").first.evaluate("node => getComputedStyle(node).fill") == "rgb(1, 2, 3)"


@pytest.mark.browser
def test_a_second_copy_of_an_output_comes_alive_and_leaves_the_first_alone(page_with):
    """JupyterLab can show one output twice ("New View for Output")."""
    html = temperature_slider(SCORES).html
    page = page_with(html)
    page.get_by_role("slider").press("ArrowLeft")
    page.evaluate("html => document.body.append(document.createRange().createContextualFragment(html))", html)
    said = [slider.get_attribute("aria-valuetext") for slider in page.get_by_role("slider").all()]
    assert said == ["temperature 0.951", "temperature 1.00"]


@pytest.mark.browser
def test_hostile_labels_run_nothing(page_with):
    label = '<img src=x onerror="window.hit = 1"></script><script>window.hit = 1</script>'
    page = page_with(temperature_slider([1.0, 2.0], [label, "b"]).html)
    page.get_by_role("slider").press("ArrowLeft")
    assert page.evaluate("window.hit") is None
    assert page.locator("svg text").first.text_content() == label[:17] + "…"


@pytest.mark.browser
def test_without_scripts_the_picture_stays(page_with):
    page = page_with(temperature_slider(SCORES).html, scripts=False)
    assert page.get_by_role("slider").count() == 0
    image = page.get_by_role("img").bounding_box()
    assert image["width"] > 200
    assert image["height"] > 100
