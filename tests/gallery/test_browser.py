"""The page in a real browser: what plays, what is found, in which order, by which keys."""

import io
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from PIL import Image

from fvis.gallery.page import PAGE, write_index, write_single

from .conftest import Browser
from .fake_runs import attack_unit, awkward_runs, clip_unit, image_unit, read_units, write_run

pytestmark = pytest.mark.slow

NAMES = "[...document.querySelectorAll('.card:not([hidden]) h2 a')].map(a => a.title)"
FOCUSED = "document.activeElement.title || document.activeElement.textContent"
OPENED = "opened?.name"  # the unit whose page is shown
CONTROL, ESCAPE, LEFT, RIGHT, DOWN, ENTER, TAB = (
    "\ue009",
    "\ue00c",
    "\ue012",
    "\ue014",
    "\ue015",
    "\ue007",
    "\ue004",
)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run of forty images."""
    base = tmp_path_factory.mktemp("images")
    run = write_run(base / "run", [image_unit(i) for i in range(40)])
    return write_index([run], base / "index.html")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run of clips and one of attacks."""
    base = tmp_path_factory.mktemp("clips")
    runs = [
        write_run(base / "motion", [clip_unit(i) for i in range(12)]),
        write_run(base / "attacks", [attack_unit(i) for i in range(9)]),
    ]
    return write_index(runs, base / "index.html")


def choose(browser: Browser, selector: str, value: str) -> None:
    from selenium.webdriver.support.select import Select

    element = browser.driver.find_element("css selector", selector)
    Select(element).select_by_value(value)


def address(run: str, name: str) -> str:
    """The part of a page's address that asks for a unit."""
    return "#unit=" + quote(f"{run}/{name}", safe="")


def looks(browser: Browser, selector: str) -> set[bytes]:
    """What an element looks like over a second: one picture if still, several if it moves."""
    element = browser.driver.find_element("css selector", selector)
    seen = set()
    for _ in range(6):
        seen.add(element.screenshot_as_png)
        time.sleep(0.15)
    return seen


def test_names_are_shown_not_run(tmp_path: Path, browser: Browser) -> None:
    page = write_index(list(awkward_runs(tmp_path)), tmp_path / "index.html")
    browser.open(page)  # an alert would end this with an exception
    for run in (folder for folder in tmp_path.iterdir() if folder.is_dir()):
        name = read_units(run, tmp_path)[1]["name"]
        browser.js("location.hash = arguments[0]", address(run.name, name))
        browser.wait("!document.getElementById('unit').hidden")
        browser.wait(f"{OPENED} === {name!r}")
        assert run.name in browser.js("document.querySelector('#unit header').textContent")
        browser.wait("[...document.querySelectorAll('#unit img')].every(i => i.complete)")
        assert browser.js("[...document.querySelectorAll('#unit img')].every(i => i.naturalWidth)")
    assert browser.js("document.querySelectorAll('script').length") == 4


def test_pictures_are_loaded_only_as_they_come_near(tmp_path: Path, browser: Browser) -> None:
    run = write_run(tmp_path / "run", [image_unit(i) for i in range(400)])
    browser.open(write_index([run], tmp_path / "index.html"))
    loaded = "[...document.images].filter(i => i.complete && i.naturalWidth).length"
    browser.wait(f"{loaded} > 4")
    assert browser.js(loaded) < 200
    browser.js("document.querySelector('.card:last-child').scrollIntoView()")
    browser.wait("document.querySelector('.card:last-child img').naturalWidth > 0")


def test_small_pictures_are_shown_in_their_own_pixels(tmp_path: Path, browser: Browser) -> None:
    run = write_run(tmp_path / "run", [image_unit(0), image_unit(1), clip_unit(2)])
    (wide,) = run.glob("units/*-00001/image.png")
    Image.open(wide).resize((224, 224)).save(wide)
    browser.open(write_index([run], tmp_path / "index.html"))
    browser.wait("document.querySelector('.card canvas')")
    browser.wait("[...document.images].every(i => i.complete)")
    drawn = "[...document.querySelectorAll('.card :is(img, canvas)')]"
    told = "[i.naturalWidth ?? i.width, getComputedStyle(i).imageRendering]"
    seen = sorted(browser.js(f"{drawn}.map(i => {told})"))
    assert seen == [[32, "pixelated"]] * 3 + [[224, "auto"]]


def test_clips_are_still_till_hovered_or_focused(clips: Path, browser: Browser) -> None:
    browser.open(clips)
    browser.wait("document.querySelector('.card:nth-child(3) canvas')")
    picture = ".card:nth-child(3) .picture"
    (still,) = looks(browser, picture)
    first = Image.open(io.BytesIO(still)).convert("RGB")
    assert first.getpixel((first.width // 2, first.height // 2)) == (255, 0, 0)  # the first frame's
    browser.hover(picture)
    assert len(looks(browser, picture)) > 1
    browser.hover("h1")
    assert len(looks(browser, picture)) == 1
    browser.js("document.querySelector('.card:nth-child(3) a').focus()")
    assert len(looks(browser, picture)) > 1


def test_an_attack_shows_what_it_was_before_while_hovered(clips: Path, browser: Browser) -> None:
    browser.open(clips)
    browser.js("document.querySelector('.card:nth-child(14)').scrollIntoView({block: 'center'})")
    before = "document.querySelector('.card:nth-child(14) img.alternate')"
    assert not browser.js(f"{before}.checkVisibility()")
    browser.hover(".card:nth-child(14) .picture")
    browser.wait(f"{before}.checkVisibility() && {before}.naturalWidth")
    assert browser.js(f"{before}.src").endswith("clean.png")


def test_clips_stay_still_for_those_who_ask_for_it(clips: Path, browser: Browser) -> None:
    browser.prefer(motion="reduce")
    browser.open(clips)
    browser.wait("document.querySelector('.card:nth-child(2) canvas')")
    browser.hover(".card:nth-child(2) .picture")
    assert len(looks(browser, ".card:nth-child(2) .picture canvas")) == 1
    browser.driver.find_element("css selector", ".card:nth-child(2) a").click()
    browser.wait("document.querySelectorAll('#unit canvas').length == 3")
    assert len(looks(browser, "#unit .clip")) == 1
    browser.driver.find_element("css selector", "#unit nav button").click()
    assert len(looks(browser, "#unit .clip")) > 1


def test_filters_leave_what_they_say(images: Path, browser: Browser) -> None:
    browser.open(images)
    units = [image_unit(i) for i in range(40)]

    def expect(*numbers: int) -> None:
        assert [int(name[-5:]) for name in browser.js(NAMES)] == sorted(
            numbers, key=lambda i: ("-" if i % 4 == 3 else units[i]["layer"], i)
        )
        count = browser.js("document.getElementById('count').textContent")
        assert count == (f"{len(numbers)} of 40 units" if len(numbers) < 40 else "40 units")

    expect(*range(40))
    choose(browser, "[data-key=layer]", "<script>alert('layer')</script>")
    expect(*(i for i in range(40) if i % 4 == 3))
    choose(browser, "[data-key=model]", "resnet50")
    expect()
    assert browser.js("!document.getElementById('none').hidden")
    browser.driver.find_element("id", "clear").click()
    expect(*range(40))
    choose(browser, "[data-key=status]", "rescued")
    expect(*(i for i in range(40) if i % 5 == 3))
    choose(browser, "[data-key=status]", "")
    browser.keys("/", "猫 LAYER2")
    expect(*(i for i in range(40) if i % 5 == 3 and i % 4 == 1))


def test_sorting_gives_the_order_it_names(clips: Path, browser: Browser) -> None:
    browser.open(clips)

    def shown(key: str) -> list[str]:
        cards = "[...document.querySelectorAll('.card')]"
        text = "value => typeof value === 'boolean' ? String(Number(value)) : String(value ?? '')"
        return list(browser.js(f"{cards}.map(c => entryOf(c).{key}).map({text})"))

    for order, key, sign in (
        ("-activation", "activation", -1),
        ("activation", "activation", 1),
        ("-motion", "motion", -1),
        ("motion", "motion", 1),
        ("-success", "success", -1),
        ("success", "success", 1),
    ):
        choose(browser, "#sort", order)
        values = shown(key)
        known = [float(value) for value in values if value]
        assert known == sorted(known, key=lambda value: sign * value)
        assert values[len(known) :] == [""] * (len(values) - len(known))
    choose(browser, "#sort", "-success")
    steps = [int(value) for value in shown("steps") if value]
    assert steps == sorted(steps)
    choose(browser, "#sort", "")
    assert shown("run") == ["motion"] * 12 + ["attacks"] * 9


def test_keys_lead_from_unit_to_unit_and_back(images: Path, browser: Browser) -> None:
    browser.open(images)
    names = browser.js(NAMES)
    columns = browser.js(
        "getComputedStyle(document.getElementById('cards')).gridTemplateColumns.split(' ').length"
    )
    browser.js("document.querySelector('.card a').focus()")
    browser.keys(RIGHT, RIGHT, LEFT, DOWN)
    assert browser.js(FOCUSED) == names[1 + columns]
    browser.keys(ENTER)
    browser.wait("!document.getElementById('unit').hidden")
    assert browser.js(OPENED) == names[1 + columns]
    assert browser.js("document.activeElement.tagName") == "H1"
    assert browser.js("document.title.startsWith(document.activeElement.firstChild.textContent)")
    browser.keys(RIGHT)
    browser.wait(f"{OPENED} === {names[2 + columns]!r}")
    browser.keys(LEFT)
    browser.wait(f"{OPENED} === {names[1 + columns]!r}")
    browser.keys(LEFT)
    browser.wait(f"{OPENED} === {names[columns]!r}")
    browser.keys(ESCAPE)
    browser.wait("!document.getElementById('gallery').hidden")
    assert browser.js(FOCUSED) == names[columns]
    browser.driver.back()
    browser.wait(f"{OPENED} === {names[columns]!r}")
    browser.driver.back()
    browser.wait(f"{OPENED} === {names[1 + columns]!r}")


def test_next_follows_the_order_and_the_filters(images: Path, browser: Browser) -> None:
    browser.open(images)
    choose(browser, "[data-key=status]", "dead")
    choose(browser, "#sort", "-activation")
    names = browser.js(NAMES)
    browser.driver.find_element("css selector", ".card:not([hidden]) a").click()
    for i, name in enumerate(names):
        browser.wait(f"{OPENED} === {name!r}")
        place = browser.js("document.querySelector('.place').textContent")
        assert place == f"{i + 1} of {len(names)}"
        browser.keys(RIGHT)


def test_a_units_page_shows_all_that_is_known(clips: Path, browser: Browser) -> None:
    (unit,) = [u for u in read_units(clips.parent / "motion", clips.parent) if "00009" in u["name"]]
    browser.open(clips, address("motion", unit["name"]))
    browser.wait("document.querySelectorAll('#unit figure img').length == 3")
    text = browser.js("document.getElementById('unit').innerText")
    for part in ("motion index 0.33", "1.52 px/frame", "spearman 0.5", "nested deeper found"):
        assert part in " ".join(text.split())
    assert unit["command"] in text
    assert "target.units=9" in unit["command"]
    links = browser.js("[...document.querySelectorAll('#unit .files a')].map(a => a.textContent)")
    assert links == ["clip.mp4", "flow.npz", "metadata.json"]
    label = browser.js("document.querySelector('#unit svg').getAttribute('aria-label')")
    assert label.startswith("Activation over 256 steps, from 0 to")
    player = browser.js("document.querySelector('#unit video').getAttribute('src')")
    assert player.endswith("clip.mp4")


@pytest.mark.parametrize("fragment", ["#unit=nobody%ZZ", "#unit=nobody", "#compare=nobody&"])
def test_a_wrong_address_says_so(clips: Path, browser: Browser, fragment: str) -> None:
    browser.open(clips, fragment)
    assert browser.js("document.getElementById('unit').hidden")
    said = "document.getElementById('astray')"
    assert browser.js(f"{said}.checkVisibility()") and fragment in browser.js(f"{said}.textContent")
    browser.js("location.hash = '#units'")
    browser.wait(f"{said}.hidden")


def test_the_command_is_copied(images: Path, browser: Browser) -> None:
    browser.open(images, address("run", "layer2-00001"))
    browser.driver.find_element("css selector", ".command + button").click()
    browser.wait("document.querySelector('.command + button').textContent == 'Copied'")
    command = browser.js("document.querySelector('.command').textContent")
    browser.js("document.body.append(document.createElement('textarea'))")
    browser.driver.find_element("css selector", "body > textarea").send_keys(CONTROL, "v")
    assert browser.js("document.querySelector('body > textarea').value") == command
    assert command.startswith("fvis run ")


CONTRAST = """(() => {
  const rgba = (text) => text.match(/[\\d.]+/g).map(Number);
  const over = (top, under) => top.slice(0, 3).map(
    (c, i) => c * (top[3] ?? 1) + under[i] * (1 - (top[3] ?? 1)));
  const background = (e) => e ? over(rgba(getComputedStyle(e).backgroundColor),
    background(e.parentElement)) : [255, 255, 255];
  const light = (rgb) => rgb.map((c) => c / 255).map(
    (c) => c <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
  const poor = [];
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    if (!own || !e.checkVisibility() || /SCRIPT|OPTION/.test(e.tagName)) continue;
    const style = getComputedStyle(e);
    const ink = rgba(e.namespaceURI.endsWith('svg') ? style.fill : style.color);
    const [one, other] = [light(over(ink, background(e))), light(background(e))].sort();
    const ratio = (Math.max(one, other) + .05) / (Math.min(one, other) + .05);
    if (ratio < 4.5) poor.push([e.tagName, e.className, e.textContent.slice(0, 30), ratio]);
  }
  return poor;
})()"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out_from_its_ground(clips: Path, browser: Browser, scheme: str) -> None:
    browser.prefer(scheme)
    browser.open(clips)
    assert browser.js("getComputedStyle(document.body).backgroundColor") == (
        "rgb(20, 21, 23)" if scheme == "dark" else "rgb(253, 253, 252)"
    )
    browser.js("document.querySelector('details').open = true")
    assert browser.js(CONTRAST) == []
    browser.open(clips, address("attacks", "layer2-00001"))
    assert browser.js("document.querySelectorAll('#unit td').length") > 10
    assert browser.js(CONTRAST) == []


@pytest.mark.parametrize("fragment", ["", "#unit=attacks%2Flayer2-00001"])
def test_a_phone_need_not_scroll_sideways(clips: Path, browser: Browser, fragment: str) -> None:
    browser.size(390, 844)
    browser.open(clips, fragment)
    large = "[...document.querySelectorAll('#cards img, #cards canvas, #unit img')]"
    seen = f"{large}.filter(i => i.checkVisibility()).map(i => i.clientWidth)"
    browser.wait(f"{seen}.length")
    assert browser.js("document.documentElement.scrollWidth") == 390
    assert browser.js(f"{seen}[0]") > 100


def test_the_focus_goes_through_the_page_as_it_is_read(images: Path, browser: Browser) -> None:
    browser.open(images)
    stops = []
    for _ in range(14):
        browser.keys(TAB)
        stops.append(browser.js("document.activeElement.id || document.activeElement.tagName"))
    keys = [stop for stop in stops if stop not in ("SUMMARY", "SELECT")]
    assert keys[:7] == ["A", *["A"] * 4, "text", "sort"]  # a stop for each row of the atlas
    assert browser.js("document.querySelectorAll('[tabindex]:not([tabindex=\"-1\"])').length") == 0
    assert stops[-1] == "A"
    assert (
        browser.js(FOCUSED) == browser.js(NAMES)[stops.count("A") - 2 - 4]
    )  # one skips to the units


def test_without_scripts_the_units_are_there(images: Path, browser: Browser) -> None:
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.open(images)
        cards = browser.driver.find_elements("css selector", ".card")
        assert len(cards) == 40
        assert cards[0].find_element("css selector", "noscript a").is_displayed()
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_the_atlas_leads_to_units_and_to_a_layers_cards(images: Path, browser: Browser) -> None:
    browser.open(images)
    rows = browser.js("[...document.querySelectorAll('#atlas h2 a')].map(a => a.textContent)")
    assert len(rows) == 4
    cells = "[...document.querySelectorAll('#atlas .row:nth-child(2) li a')]"
    assert browser.js(f"{cells}.length") == 10
    title = browser.js(f"{cells}[2].title")
    browser.js(f"{cells}[2].click()")
    browser.wait("!document.getElementById('unit').hidden")
    name = browser.js("document.querySelector('#unit h1').firstChild.textContent")
    assert title.startswith(name)
    browser.keys(ESCAPE)
    browser.wait("document.getElementById('unit').hidden")
    browser.js("document.querySelectorAll('#atlas h2 a')[1].click()")
    layers = set(browser.js("[...document.querySelectorAll('.card')].map(c => entryOf(c).layer)"))
    assert layers == {rows[1]}
    browser.js("document.querySelectorAll('#atlas h2 a')[0].focus()")
    browser.keys(DOWN, RIGHT, RIGHT, LEFT)
    assert browser.js("document.activeElement.title") == browser.js(f"{cells}[0].title")


def test_cards_beyond_the_first_page_are_added_when_they_are_needed(
    tmp_path: Path, browser: Browser
) -> None:
    run = write_run(tmp_path / "run", [image_unit(i) for i in range(2 * PAGE + 50)])
    page = write_index([run], tmp_path / "index.html")
    browser.open(page)
    count = "document.querySelectorAll('.card').length"
    assert browser.js(count) == PAGE
    browser.js("document.getElementById('more').scrollIntoView()")
    browser.wait(f"{count} > {PAGE}")
    browser.open(page)
    browser.js("document.getElementById('text').value = arguments[0]", f"{2 * PAGE + 41:05d}")
    browser.js("document.getElementById('text').dispatchEvent(new Event('input'))")
    (name,) = browser.js(NAMES)
    assert name.endswith(f"{2 * PAGE + 41:05d}")
    browser.js("document.querySelector('.card a').click()")
    browser.wait("!document.getElementById('unit').hidden")
    assert browser.js(OPENED) == name
    browser.open(page, address("run", name))  # by its address alone
    browser.wait("!document.getElementById('unit').hidden")
    browser.keys(ESCAPE)
    browser.wait("document.getElementById('unit').hidden")
    assert browser.js(FOCUSED) == name
    choose(browser, "#sort", "-activation")
    top = browser.js("entryOf(document.querySelector('.card')).activation")
    assert top == browser.js("Math.max(...entries.map(e => e.activation ?? -Infinity))")


def test_pinned_units_are_compared(images: Path, browser: Browser) -> None:
    browser.open(images)
    bar = "document.getElementById('pins')"
    assert browser.js(f"{bar}.hidden")
    browser.js("document.querySelector('.card:nth-child(1) .pin').click()")
    browser.js("document.querySelector('.card:nth-child(3) a').focus()")
    browser.keys("p")
    assert browser.js("document.getElementById('pin-count').textContent") == "2 pinned"
    browser.js("document.getElementById('compare').click()")
    browser.wait("document.querySelectorAll('#unit .compared figure').length == 2")
    titles = browser.js("[...document.querySelectorAll('#unit h2')].map(h => h.textContent)")
    shown = browser.js("[entries[0].title, entries[2].title]")
    assert titles == shown
    numbers = browser.js(
        "[...document.querySelectorAll('.compared tr')].find(r => /final/.test(r.textContent))"
        ".innerText.split('\\t')"
    )
    assert len(numbers) == 3
    browser.keys(ESCAPE)
    browser.wait("!document.getElementById('gallery').hidden")
    browser.driver.find_element("id", "unpin").click()
    assert browser.js(f"{bar}.hidden")
    assert browser.js("document.querySelectorAll('.pin[aria-pressed=true]').length") == 0


def test_the_slider_makes_cards_larger(images: Path, browser: Browser) -> None:
    browser.open(images)
    width = "document.querySelector('.card').clientWidth"
    before = browser.js(width)
    browser.js("document.getElementById('size').value = 30")
    browser.js("document.getElementById('size').dispatchEvent(new Event('input'))")
    assert browser.js(width) > 2 * before


def test_a_picture_is_enlarged_till_it_is_clicked_again(images: Path, browser: Browser) -> None:
    browser.open(images, address("run", "layer2-00001"))
    browser.wait("document.querySelector('#unit .zoom img').naturalWidth")
    browser.driver.find_element("css selector", "#unit .zoom").click()
    dialog = "document.getElementById('zoomed')"
    browser.wait(f"{dialog}.open")
    assert browser.js(f"{dialog}.querySelector('img').clientHeight") > 800
    browser.driver.find_element("css selector", "#zoomed img").click()
    browser.wait(f"!{dialog}.open")
    assert browser.js(OPENED) == "layer2-00001", "the unit's page stays"


def test_the_patches_of_photographs_have_captions(tmp_path: Path, browser: Browser) -> None:
    strongest = [
        {"file": f"photos/cat_{i}.jpg", "activation": 3.0 - i, "box": [0, 0, 8, 8]}
        for i in range(3)
    ]
    unit = image_unit(1) | {
        "grounding": {"photographs": 9, "below": 1.0, "strongest": strongest},
        "files": ["image.png", "natural.png"],
    }
    run = write_run(tmp_path / "run", [unit])
    (sheet,) = run.glob("units/*/natural.png")
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    drawn = Image.new("RGB", (2 * 100 + 4, 100), (255, 255, 255))
    for place, colour in enumerate(colours):  # as `grounding.beside` lays them out: two in a row
        drawn.paste(
            colour,
            (104 + place % 2 * 51, place // 2 * 51, 153 + place % 2 * 51, 49 + place // 2 * 51),
        )
    drawn.save(sheet)
    page = write_index([run], tmp_path / "index.html")
    browser.open(page)
    browser.wait("document.querySelector('.card .natural img').naturalWidth")
    row = browser.driver.find_element("css selector", ".card .natural").screenshot_as_png
    first = Image.open(io.BytesIO(row)).convert("RGB")
    places = [(first.width * place // 4, first.height // 2) for place in (1, 3)]
    assert [first.getpixel(place) for place in places] == colours[:2], "the card has a row of them"
    assert first.getpixel((1, first.height // 2)) == colours[0], "nothing of the gap is left"
    browser.open(page, address("run", "layer2-00001"))
    browser.wait("document.querySelectorAll('.patches canvas').length == 3")
    said = browser.js("[...document.querySelectorAll('.patches li')].map(l => l.innerText)")
    assert [text.split("\n")[0] for text in said] == [one["file"] for one in strongest]
    assert "{" not in browser.js("document.getElementById('unit').innerText")
    canvases = browser.driver.find_elements("css selector", ".patches canvas")
    for canvas, colour in zip(canvases, colours, strict=True):
        seen = Image.open(io.BytesIO(canvas.screenshot_as_png)).convert("RGB")
        assert seen.getpixel((seen.width // 2, seen.height // 2)) == colour


def test_a_single_file_has_its_pictures_inside(tmp_path: Path, browser: Browser) -> None:
    runs = [write_run(tmp_path / "run", [image_unit(0), clip_unit(1), attack_unit(2)])]
    page = write_single(runs, tmp_path / "page.html")
    sent = tmp_path / "elsewhere" / "page.html"
    sent.parent.mkdir()
    page.rename(sent)
    browser.open(sent)
    browser.wait(
        "[...document.querySelectorAll('.card > .picture > img')].every(i => i.naturalWidth)"
    )
    assert "one file of 0.1 MB" in browser.js("document.querySelector('footer').textContent")
    for name in browser.js("entries.map(e => e.id)"):
        browser.js("location.hash = arguments[0]", "#unit=" + quote(name, safe=""))
        browser.wait(f"opened?.id === {name!r}")
        browser.wait("[...document.querySelectorAll('#unit img')].every(i => i.naturalWidth)")
    links = browser.js("[...document.querySelectorAll('#unit a')].map(a => a.href)")
    assert all(link.startswith(("data:", sent.as_uri() + "#")) for link in links)
