"""The page in a real browser: it sorts, shows ranked lists and local matches, and asks for nothing outside its file."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

pytestmark = pytest.mark.slow


@pytest.fixture
def opened(browser, page_file):
    """The browser with the page just opened, in a window of 1,280 by 900 pixels."""
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    size = {"width": 1280, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get(page_file.as_uri())
    return browser


def all_of(found, css):
    return found.find_elements(By.CSS_SELECTOR, css)


def one(found, css):
    return found.find_element(By.CSS_SELECTOR, css)


def choose(opened, name, text, place=0):
    Select(all_of(opened, f"select[name='{name}']")[place]).select_by_visible_text(text)


def names_in(opened, css):
    return [item.text for item in all_of(opened, css)]


def precisions(opened):
    """AP in percent of each listed query, head by head."""
    texts = [item.get_attribute("textContent") for item in all_of(opened, "#queries .muted")]
    return [[float(value) for value in text.removeprefix("AP ").split(" / ")] for text in texts]


def column(table, place):
    return [row.find_elements(By.CSS_SELECTOR, "th, td")[place].text for row in all_of(table, "tbody tr")]


def test_tables_sort_by_any_column_and_back(opened):
    table = one(opened, "table.sortable")
    headings = all_of(table, "thead tr:last-child th")
    place = next(place for place, heading in enumerate(headings) if heading.text == "Rank-1")
    before = column(table, place), column(table, 0)
    button = one(headings[place], "button")
    seen = []
    for state in ("descending", "ascending", "none"):
        button.click()
        assert headings[place].get_attribute("aria-sort") == state
        seen.append([float(entry.split()[0]) for entry in column(table, place)])
    assert seen[0] == sorted(seen[0], reverse=True) and seen[1] == sorted(seen[1]) and seen[0] != seen[1]
    assert (column(table, place), column(table, 0)) == before
    one(headings[0], "button").click()
    assert headings[0].get_attribute("aria-sort") == "ascending"
    assert column(table, 0) == sorted(column(table, 0), key=str.lower)


def test_a_table_sorts_from_the_keyboard(opened):
    heading = one(opened, "table.sortable thead tr:last-child th")
    button = one(heading, "button")
    opened.execute_script("arguments[0].focus()", button)
    button.send_keys(Keys.ENTER)
    assert heading.get_attribute("aria-sort") == "ascending"
    assert button.value_of_css_property("outline-style") == "solid"


def test_a_query_is_chosen_by_click_and_by_arrow_keys(opened):
    buttons = all_of(opened, "#queries button")
    names = [one(button, ".name").text for button in buttons]
    assert one(opened, ".asked strong").text == names[0]
    buttons[2].click()
    assert one(opened, ".asked strong").text == names[2]
    buttons[2].send_keys(Keys.ARROW_DOWN)
    assert one(opened, ".asked strong").text == names[3]
    assert opened.switch_to.active_element == buttons[3]
    buttons[3].send_keys(Keys.HOME)
    assert one(opened, ".asked strong").text == names[0]
    assert [button.get_attribute("tabindex") for button in buttons].count("0") == 1


def test_up_to_three_heads_stand_side_by_side(opened):
    names = [option.text for option in Select(all_of(opened, "select[name='head']")[0]).options]
    assert len(names) == 9
    for place, name in enumerate(names[:3]):
        choose(opened, "head", name, place)
    assert names_in(opened, ".under h4") == names[:3]
    assert all(len(row) == 3 for row in precisions(opened))
    for under in all_of(opened, ".under"):
        nearest = one(under, ".ranked[aria-label='the ten nearest']")
        assert len(all_of(nearest, ".right, .wrong")) == 10
    choose(opened, "head", "none", 2)
    choose(opened, "head", "none", 1)
    assert names_in(opened, ".under h4") == names[:1]


def test_queries_come_in_the_order_that_is_asked_for(opened):
    gaps = [max(row) - min(row) for row in precisions(opened)]
    assert all(one >= other - 0.11 for one, other in pairwise(gaps))
    choose(opened, "order", "average precision is lowest")
    means = [sum(row) for row in precisions(opened)]
    assert all(one <= other + 0.11 for one, other in pairwise(means))
    choose(opened, "order", "a mistake is most confident")
    nearest = [one(under, ".ranked .right, .ranked .wrong") for under in all_of(opened, ".under")]
    assert "wrong" in [button.get_attribute("class") for button in nearest]


def test_cameras_choose_queries(opened):
    everything = len(all_of(opened, "#queries button"))
    select = Select(one(opened, "select[name='query-camera']"))
    counts = []
    for option in [option.text for option in select.options][1:]:
        select.select_by_visible_text(option)
        counts.append(len(all_of(opened, "#queries button")))
        assert f"camera {option}" in one(opened, ".asked").text
    assert sum(counts) == everything and max(counts) < everything


def test_a_share_of_mistakes_by_camera_pair_leads_to_its_queries(opened):
    everything = len(all_of(opened, "#queries button"))
    matrix = next(item for item in all_of(opened, ".cameras") if item.is_displayed())
    one(matrix, "summary").click()
    cell = one(matrix, "[data-asked]:has(button)")
    one(cell, "button").click()
    for name, key in (("query-camera", "data-asked"), ("gallery-camera", "data-mistaken")):
        assert one(opened, f"select[name='{name}']").get_attribute("value") == cell.get_attribute(key)
    assert 0 < len(all_of(opened, "#queries button")) < everything
    assert one(opened, "#number").text.endswith(f"of {everything} queries")
    assert f"camera {cell.get_attribute('data-asked')}" in one(opened, ".asked").text


def test_left_out_and_missed_pictures_can_be_hidden(opened):
    shown = {kind: len(all_of(opened, f".ranked .{kind}")) for kind in ("out", "missed")}
    one(opened, "input[name='left-out']").click()
    one(opened, "input[name='missed']").click()
    assert not all_of(opened, ".ranked .out, .ranked .missed")
    one(opened, "input[name='left-out']").click()
    assert len(all_of(opened, ".ranked .out")) == shown["out"]


def test_a_click_draws_the_matches_of_a_pair_level_by_level(opened):
    choose(opened, "head", "TransMatcher", 0)
    button = one(opened, ".ranked button")
    button.send_keys(Keys.ENTER)
    levels = all_of(opened, ".pair figure")
    assert len(levels) > 1
    assert sum(len(all_of(level, "line.match")) for level in levels) > 0
    for level in levels:
        drawn, passing = (len(all_of(level, css)) for css in ("line.match", "line.passing"))
        assert f"of {drawn} matches {passing} in colour" in one(level, "figcaption").text
        assert "score" in one(level, "figcaption").text
        assert len(all_of(level, "image")) == 2
    assert button.get_attribute("aria-pressed") == "true"
    button.click()
    assert not all_of(opened, ".pair")


def test_a_head_without_local_matches_is_shown_without_lines_and_says_so(opened):
    choose(opened, "head", "cosine", 0)
    one(opened, ".ranked button").click()
    assert len(all_of(opened, ".pair figure")) == 1 and not all_of(opened, "line.match")
    assert "offers no local matches" in one(opened, ".pair").text


def test_everything_has_a_name_for_those_who_listen(opened):
    one(opened, ".ranked button").click()
    for control in all_of(opened, "button, select, input"):
        assert not control.is_displayed() or control.accessible_name
    assert all(image.get_attribute("alt") is not None for image in all_of(opened, "img"))
    assert all(picture.get_attribute("alt") for picture in all_of(opened, "figure.drawn img"))
    assert all(cell.get_attribute("scope") for cell in all_of(opened, "th"))


def test_nothing_leaves_the_file_and_nothing_complains(opened, page_file):
    one(opened, "#queries li:last-child button").click()
    one(opened, ".ranked button").click()
    one(opened, "table.sortable th button").click()
    assert opened.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in opened.get_log("performance")]
    asked = {event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"}
    assert {url for url in asked if not url.startswith("data:")} == {page_file.as_uri()}


def test_tables_and_pictures_need_no_script(opened, page_file):
    opened.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    opened.get(page_file.as_uri())
    assert "TransMatcher" in one(opened, "table.sortable").text
    pictures = all_of(opened, "figure.drawn img")
    assert pictures and all(picture.is_displayed() and picture.size["height"] > 100 for picture in pictures)
    assert not all_of(opened, "th button")
    assert "Ranked lists need JavaScript" in one(opened, "#explorer").text
    assert not one(opened, "#explorer-parts").is_displayed()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
def test_the_page_fits_its_window_in_either_scheme(scheme, width, opened, page_file):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    opened.get(page_file.as_uri())
    assert opened.execute_script("return document.documentElement.scrollWidth") <= width
    paper, ink = (one(opened, "body").value_of_css_property(name) for name in ("background-color", "color"))
    brightness = [sum(map(int, colour[colour.index("(") + 1 : -1].split(",")[:3])) for colour in (paper, ink)]
    assert (brightness[0] > 600 > brightness[1]) == (scheme == "light")
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
