"""The reports, in a real browser: what they show, what they let one do, and that nothing leaves the page."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.browser import Browser
from support.cli import Cli

from zsclip.report import json_in_html, render
from zsclip.report.gallery import Gallery
from zsclip.report.pictures import Pictures, relative_url
from zsclip.scoring.results import ImageResult, Prediction

pytestmark = pytest.mark.slow

SCRIPT = "<script>alert(1)</script>"
LABELS = f"red star,blue star,red heart,green ring,{SCRIPT}"
STRANGE = ("a b#c?d%41&e.png", "50% \"quoted\" 'x'.png", "-=+;,é日本.png", os.fsdecode(b"\xff\xfe.png"), "colon:x.png")


@pytest.fixture(autouse=True)
def demo_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZSCLIP_MODEL", "demo")


@pytest.fixture
def photos(tmp_path: Path, demo_folder: Path) -> Path:
    """Pictures with names that are awkward in an address, one damaged, one in a format browsers do not show."""
    from PIL import Image

    folder = tmp_path / "photos #1"
    folder.mkdir()
    names = ("red star", "blue star", "red heart", "green ring", "red star")
    for file, label in zip(STRANGE, names, strict=True):
        shutil.copy(demo_folder / "scenes" / label / "001.png", folder / file)
    Image.open(folder / STRANGE[0]).save(folder / "z.tiff")
    (folder / "broken.jpg").write_bytes(b"no image")
    return folder


@pytest.fixture
def page(cli: Cli, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A gallery in another folder than its pictures."""
    (tmp_path / "reports").mkdir()
    monkeypatch.chdir(tmp_path)
    run = cli("classify", photos.name, "-l", LABELS, "--report", "reports/gallery.html", "-o", "labels.csv")
    assert run.code == 3
    assert "Wrote reports/gallery.html" in run.err
    return tmp_path / "reports" / "gallery.html"


def quiet_and_at_home(browser: Browser) -> None:
    """Nothing on the console, and nothing asked for but files and what is in the page."""
    messages, asked = browser.logs()
    assert messages == []
    assert asked
    assert all(address.startswith(("file:", "data:", "blob:")) for address in asked), asked


PICTURES_LOADED = "const i = [...document.querySelectorAll('img')]; return i.length && i.every((e) => e.complete && e.naturalWidth > 0)"


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_a_gallery_shows_every_picture_and_label(browser: Browser, page: Path, width: int, dark: bool) -> None:
    browser.open(page, width, 3000, dark=dark)
    browser.wait(PICTURES_LOADED)
    assert browser.run("return document.images.length") == 6
    assert browser.run("return document.documentElement.scrollWidth") <= width
    assert "6 of 6 images" in browser.texts("#shown")[0]
    names = browser.texts(".card .path")
    assert "photos #1/a b#c?d%41&e.png" in names
    assert "photos #1/\\xff\\xfe.png" in names
    assert SCRIPT in "".join(browser.texts("#label option"))
    assert browser.run("return document.scripts.length") == 2
    assert "not an image" in browser.texts(".unread li")[0]
    background = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background)[:3])) < 200) is dark
    quiet_and_at_home(browser)


def test_filters_and_orders(browser: Browser, page: Path) -> None:
    browser.open(page)
    with (page.parents[1] / "labels.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = [row for row in csv.DictReader(file) if not row["error"]]
    shown = "return document.querySelector('#shown').textContent"
    red = sum(row["label"] == "red star" for row in rows)
    value = browser.run(
        "return [...document.querySelectorAll('#label option')].find((o) => o.textContent.startsWith('red star')).value"
    )
    browser.choose("label", value)
    assert browser.run(shown) == f"{red} of 6 images"
    browser.choose("label", "")
    browser.choose("text", "日本")
    assert browser.run(shown) == "1 of 6 images"
    browser.choose("text", "no such thing")
    assert browser.run(shown) == "0 of 6 images"
    assert browser.run("return !document.getElementById('nothing').hidden")
    browser.choose("text", "")
    for least, most in ((0, 98), (99, 100), (50, 60)):
        browser.choose("least", str(least))
        browser.choose("most", str(most))
        count = sum(least / 100 <= float(row["probability"]) <= most / 100 for row in rows)
        assert browser.run(shown) == f"{count} of 6 images"
    browser.choose("least", "0")
    browser.choose("most", "100")
    browser.choose("order", "margin")
    by_margin = sorted(rows, key=lambda row: float(row["probability"]) - float(row["probability_2"]))
    browser.run("scrollTo(0, 0)")
    first = browser.run("return document.querySelector('.card[aria-posinset=\"1\"] .path').textContent")
    assert first == "/".join(by_margin[0]["path"].split("/")[-2:]).replace("\udcff\udcfe", "\\xff\\xfe")
    quiet_and_at_home(browser)


def downloaded(browser: Browser) -> Path:
    for old in browser.downloads.glob("labels*.csv"):
        old.unlink()
    browser.click("#download")
    found = browser.downloads / "labels.csv"
    browser.wait_for(lambda: found.exists() and found.stat().st_size, "the download")
    return found


def test_relabelling_by_keyboard_and_the_way_back_to_evaluate(
    browser: Browser, page: Path, cli: Cli, tmp_path: Path
) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.open(page)
    browser.run("localStorage.clear(); document.querySelector('.card[aria-posinset=\"1\"]').focus()")
    chosen = browser.run("return document.querySelector('.card[aria-posinset=\"1\"] .path').textContent")
    browser.keys("2")  # the second prediction
    assert browser.texts("#page .counts .soft") == ["1 checked, 1 corrected"]
    browser.keys(Keys.ARROW_RIGHT, "c")  # the next one is right
    assert browser.texts("#page .counts .soft") == ["2 checked, 1 corrected"]
    browser.keys(Keys.ARROW_RIGHT, "e")
    browser.wait("return document.activeElement.id === 'other'")
    browser.keys("something else", Keys.ENTER)
    assert browser.run("return document.querySelector('dialog h2').textContent").startswith("something else")
    browser.keys(Keys.ESCAPE)
    browser.wait("return !document.querySelector('dialog').open && document.activeElement.matches('.card')")
    assert browser.texts("#page .counts .soft") == ["3 checked, 2 corrected"]
    browser.keys("u")
    assert browser.texts("#page .counts .soft") == ["2 checked, 1 corrected"]
    assert "Undone" in browser.texts("#status")[0]
    browser.keys(Keys.CONTROL + "z" + Keys.NULL, "u", "u")
    assert browser.texts("#page .counts .soft") == ["0 checked, 0 corrected"]
    browser.run("document.querySelector('.card[aria-posinset=\"1\"]').focus()")
    browser.keys(Keys.HOME, Keys.ENTER, "2", Keys.ARROW_RIGHT)
    assert browser.run("return document.querySelector('dialog .full-path').textContent") != chosen
    browser.click("#close")
    file = downloaded(browser)
    raw = file.read_bytes()
    assert b"photos #1/\xff\xfe.png" in raw  # the bytes of the name, as they are on the disk
    rows = list(csv.DictReader(raw.decode("utf-8", "surrogateescape").splitlines()))
    assert [row["checked"] for row in rows].count("yes") == 1
    (changed,) = [row for row in rows if row["label"] != row["predicted"]]
    assert changed["path"].endswith(chosen.split("/")[-1].replace("\\xff\\xfe", "\udcff\udcfe"))
    judge = ("evaluate", "--manifest", file, "-l", LABELS, "-p", "openai-simple", "-f", "json")
    run = cli(*judge)
    assert run.code == 0, run.err
    assert "5 rows not checked" in run.err
    document = json.loads(run.out)
    assert (document["images"], document["prompts"][0]["top1"]) == (1, 0)  # the one that was corrected
    document = json.loads(cli(*judge, "--allow-predictions").out)
    assert document["images"] == 6
    assert document["prompts"][0]["top1"] == pytest.approx(5 / 6)
    browser.choose("scope", "checked")
    assert len(downloaded(browser).read_text().splitlines()) == 2
    quiet_and_at_home(browser)
    browser.open(page)  # what was said is still there
    browser.wait("return document.querySelector('#page .counts .soft').textContent === '1 checked, 1 corrected'")


def test_ten_thousand_pictures_are_not_all_in_the_page_at_once(
    browser: Browser, demo_folder: Path, tmp_path: Path
) -> None:
    gallery = Gallery(["cat", "dog"], "unknown", "demo")
    for number in range(10_000):
        chance = (number + 1) / 10_001
        said = (Prediction("cat", chance, 0.3), Prediction("dog", 1 - chance, 0.2))
        path = str(demo_folder / "scenes" / "red star" / f"{number}.png")
        gallery.add([ImageResult(path, said, labels=("cat",))])
    page = tmp_path / "many.html"
    page.write_text(gallery.html("Many", Pictures(tmp_path)), encoding="utf-8")
    browser.open(page)
    assert "10,000 of 10,000 images" in browser.texts("#shown")[0]
    assert 0 < browser.run("return document.querySelectorAll('.card').length") < 100
    assert browser.run("return document.images.length") < 100
    browser.choose("order", "sure")
    browser.run("document.querySelector('.card[aria-posinset=\"1\"]').focus()")
    from selenium.webdriver.common.keys import Keys

    browser.keys(Keys.END)
    browser.wait("return document.activeElement.getAttribute('aria-posinset') === '10000'")
    assert "0.png" in browser.run("return document.activeElement.querySelector('.path').textContent")
    box = browser.run("const b = document.activeElement.getBoundingClientRect(); return [b.top, b.bottom, innerHeight]")
    assert 0 <= box[0] < box[1] <= box[2] + 1
    assert browser.run("return document.querySelectorAll('.card').length") < 100


def test_thumbnails_travel_with_the_page(browser: Browser, cli: Cli, photos: Path, tmp_path: Path) -> None:
    page = tmp_path / "sent.html"
    cli("classify", photos, "-l", LABELS, "--report", page, "--embed-thumbnails", "-q", "-o", tmp_path / "x.csv")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    page.rename(elsewhere / "page.html")
    shutil.rmtree(photos)
    browser.open(elsewhere / "page.html", 1280, 3000)
    browser.wait(PICTURES_LOADED)
    _, asked = browser.logs()
    assert [address for address in asked if address.startswith("file:")] == [(elsewhere / "page.html").as_uri()]


@pytest.fixture
def judged(cli: Cli, noisy_folder: Path, one_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An evaluation's report, with a label and a template that would be script."""
    monkeypatch.setenv("ZSCLIP_CACHE_DIR", str(one_store))
    labels = ",".join([*sorted(path.name for path in noisy_folder.iterdir()), SCRIPT])
    page = tmp_path / "evaluation.html"
    run = cli(
        *("evaluate", noisy_folder, "-l", labels, "-p", "plain", "-p", "photo", "--template", f"{SCRIPT} <label>"),
        *(
            "--per-template",
            "--min-probability",
            "0.5",
            "--report",
            page,
            "-q",
            "-f",
            "json",
            "-o",
            tmp_path / "e.json",
        ),
    )
    assert run.code == 0, run.err
    return page


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_an_evaluation_tells_what_the_json_tells(browser: Browser, judged: Path, width: int, dark: bool) -> None:
    document = json.loads(judged.with_name("e.json").read_text())
    browser.open(judged, width, 6000, dark=dark)
    browser.wait(PICTURES_LOADED)
    assert browser.run("return document.documentElement.scrollWidth") <= width
    first = browser.run(
        "return [...document.querySelectorAll('table')[0].tBodies[0].rows].map((r) => [...r.cells].map((c) => c.innerText))"
    )
    for row, one in zip(first, document["prompts"], strict=True):
        assert row[0].startswith(one["prompts"])
        assert row[2] == f"{100 * one['top1']:.1f} %"
        assert row[3] == f"{100 * one['top1_low']:.1f} to {100 * one['top1_high']:.1f}"
        assert row[9] == f"{one['nll']:.3f}"
    assert browser.texts(".verdict") == [one["verdict"] for one in document["prompts"][1:]]
    assert browser.run("return document.scripts.length") == 2
    assert any(SCRIPT in text for text in browser.texts("#details th"))
    assert browser.texts("h2")[-5:] == [
        "What does abstaining buy?", "What is taken for what?", "Each label", "Each template by itself", "Worst mistakes",
    ]  # fmt: skip
    wrong = round(192 * (1 - document["prompts"][0]["top1"]))
    assert len(browser.texts(".mistakes li")) == min(60, wrong)
    assert (
        browser.run(
            "const c = document.querySelector('canvas'); return c.getContext('2d').getImageData(c.width - 3, c.height - 3, 1, 1).data[3]"
        )
        == 255
    )
    before = browser.texts(".mistakes .path")
    browser.click(".chooser button:nth-child(3)")
    assert browser.texts(".chooser [aria-pressed=true]") == [f"{SCRIPT} <label>"]
    assert browser.texts(".mistakes .path") != before
    quiet_and_at_home(browser)


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_a_comparison_of_models_draws_accuracy_against_speed(
    browser: Browser,
    cli: Cli,
    noisy_folder: Path,
    rough_demo: str,
    sharp_demo: Path,
    tmp_path: Path,
    width: int,
    dark: bool,
) -> None:
    page, sharp = tmp_path / "models.html", f"local-dir:{sharp_demo}"
    assert cli("evaluate", noisy_folder, "-m", sharp, "-p", "plain", "-q").code == 0
    run = cli(
        *("evaluate", noisy_folder, "-m", "demo", "-m", rough_demo, "-m", sharp, "-p", "plain", "-p", "photo"),
        *("--report", page, "-q", "-o", tmp_path / "m.json"),
    )
    assert run.code == 0, run.err
    document = json.loads((tmp_path / "m.json").read_text())
    browser.open(page, width, 6000, dark=dark)
    assert browser.run("return document.documentElement.scrollWidth") <= width
    assert browser.texts("h2")[:2] == ["Which model and prompts are better?", "What does accuracy cost?"]
    rows = browser.run(
        "return [...document.querySelectorAll('.trade ~ .scroll tbody tr')].map((r) => [...r.cells].map((c) => c.textContent))"
    )
    assert [row[0] for row in rows] == ["1: demo", f"2: {rough_demo}", f"3: {sharp}"]
    assert [float(row[1].replace(",", "")) for row in rows[:2]] == [
        pytest.approx(one["images_per_second"], abs=0.051) for one in document["models"][:2]
    ]
    assert rows[2][1] == "not measured: all images known"
    drawn = browser.run("return [...document.querySelectorAll('.trade circle title')].map((t) => t.textContent)")
    pairs = [one for one in document["prompts"] if one["images_per_second"]]
    assert len(pairs) == 4
    for said, one in zip(drawn, pairs, strict=True):
        assert said.startswith(f"{one['model']}/{one['prompts']}: {100 * one['top1']:.1f} %")
    # A faster model is further to the right, a better pair higher up.
    places = browser.run(
        "return [...document.querySelectorAll('.trade circle')].map((c) => [+c.getAttribute('cx'), +c.getAttribute('cy')])"
    )
    box = browser.run("const b = document.querySelector('.trade').viewBox.baseVal; return [b.width, b.height]")
    assert all(0 < x < box[0] and 0 < y < box[1] for x, y in places)
    by_height = sorted(range(4), key=lambda n: places[n][1])
    assert [pairs[n]["top1"] for n in by_height] == sorted((one["top1"] for one in pairs), reverse=True)
    middle = [sum(x for x, _ in places[n : n + 2]) / 2 for n in (0, 2)]
    speeds = [pairs[n]["images_per_second"] for n in (0, 2)]
    assert (middle[0] < middle[1]) is (speeds[0] < speeds[1])
    assert browser.texts(".chooser [aria-pressed=true]") == ["demo/plain"]
    colour = browser.run("return getComputedStyle(document.querySelector('.trade .name')).fill")
    assert (sum(map(int, re.findall(r"\d+", colour)[:3])) > 500) is dark
    quiet_and_at_home(browser)


def test_a_set_that_is_better_and_no_better_than_guessing_says_both(
    browser: Browser, cli: Cli, demo_folder: Path, tmp_path: Path
) -> None:
    for folder, label in (("star", "ring"), ("ring", "star")):
        (tmp_path / "wrong" / folder).mkdir(parents=True)
        for scene in (demo_folder / "scenes").glob(f"* {label}"):
            shutil.copy(scene / "001.png", tmp_path / "wrong" / folder / f"{scene.name}.png")
    (tmp_path / "constant.yaml").write_text("labels: {star: [a circle], ring: [a circle]}\n")
    page = tmp_path / "wrong.html"
    cli("evaluate", tmp_path / "wrong", "-p", "plain", "-p", tmp_path / "constant.yaml", "--report", page, "-q")
    browser.open(page)
    assert browser.texts(".verdict") == ["better, not above chance"]
    assert browser.run("return document.querySelector('.verdict').classList.contains('good')") is False
    assert any("Chance is 50.0 % (one of 2 labels)" in text for text in browser.texts("main p"))
    notes = " ".join(browser.texts(".note"))
    assert "plain is worse than guessing" in notes
    assert "constant is no better than guessing" in notes
    quiet_and_at_home(browser)


@pytest.mark.parametrize("width", [1280, 390])
def test_long_labels_cut_no_figure_off(
    browser: Browser, cli: Cli, noisy_folder: Path, tmp_path: Path, width: int
) -> None:
    names = [path.name for path in noisy_folder.iterdir()]
    (tmp_path / "n.csv").write_text("".join(f"{name},{name} {'unbroken' * 6}\n" for name in names))
    page = tmp_path / "long.html"
    run = cli(
        *("evaluate", noisy_folder, "-p", "plain", "--class-names", tmp_path / "n.csv", "--min-margin", "0.1"),
        *("--report", page, "-q", "-o", tmp_path / "x.csv"),
    )
    assert run.code == 0, run.err
    browser.open(page, width, 6000)
    browser.wait("return document.querySelector('.mistakes li')")
    assert browser.run("return document.documentElement.scrollWidth") <= width
    assert (
        browser.run("const p = document.querySelector('.pairs').parentElement; return p.scrollWidth - p.clientWidth")
        <= 0
    )
    outside = (
        "return [...document.querySelectorAll('.mistakes .wrong')].filter((p) =>"
        " p.querySelector('.small').getBoundingClientRect().right > p.getBoundingClientRect().right + 1).length"
    )
    assert browser.texts(".mistakes .wrong .small")[0].endswith("%")
    assert browser.run(outside) == 0
    ticks = browser.run("return [...document.querySelectorAll('.chart')[1].querySelectorAll('text[text-anchor=end]')]"
                        ".map((t) => t.textContent).slice(0, 5)")  # fmt: skip
    assert ticks in [[str(step * n) for n in range(5)] for step in (5, 10, 15, 20, 25)]
    # 64 labels: some are written in the margin, and a tap tells the pair
    inked = (
        "const c = document.querySelector('canvas');"
        "const d = c.getContext('2d').getImageData(0, Math.round(c.height / 2), Math.round(c.width * .29), 60).data;"
        "return d.some((v, n) => n % 4 === 3 && v > 0)"
    )
    assert browser.run(inked)
    browser.run(
        "const c = document.querySelector('canvas'), b = c.getBoundingClientRect();"
        "c.dispatchEvent(new PointerEvent('pointerdown', { clientX: b.right - 2, clientY: b.bottom - 2, bubbles: true }))"
    )
    assert "taken for" in browser.texts(".told")[0]
    quiet_and_at_home(browser)


def test_every_control_has_a_name(browser: Browser, page: Path, judged: Path) -> None:
    for report in (page, judged):
        browser.open(report)
        nameless = browser.run(
            "return [...document.querySelectorAll('button, select, input, a')].filter((e) => !(e.getAttribute('aria-label')"
            " || e.textContent.trim() || e.title || (e.labels && e.labels.length) || e.querySelector('img[alt]')))"
            ".map((e) => e.outerHTML)"
        )
        assert nameless == []


def test_even_a_script_in_it_could_send_nothing(browser: Browser, page: Path) -> None:
    """The policy holds: a server that the page is told to call is never called."""
    called = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            called.append(self.path)
            self.send_response(200)
            self.end_headers()

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        browser.open(page)
        address = f"http://127.0.0.1:{server.server_port}/"
        outcome = browser.driver.execute_async_script(
            "const [address, done] = arguments; const image = new Image(); const script = document.createElement('script');"
            "script.src = address; document.body.append(script); image.onerror = () => fetch(address)"
            ".then(() => done('sent'), () => done('refused')); image.onload = () => done('loaded'); image.src = address;",
            address,
        )
    finally:
        server.shutdown()
    assert outcome == "refused"
    assert called == []
    browser.logs()


def test_a_gallery_of_nothing(browser: Browser, cli: Cli, red_star: Path, tmp_path: Path) -> None:
    page = tmp_path / "none.html"
    base = ("classify", red_star, "-l", "red star,blue ring", "-k", "1", "--report", page, "-q")
    assert cli(*base, "--only", "blue ring").code == 0
    browser.open(page)
    assert browser.texts("#shown") == ["0 of 0 images"]
    browser.choose("order", "margin")
    browser.keys("j", "u", "1")
    quiet_and_at_home(browser)
    assert cli(*base).code == 0
    browser.open(page)
    browser.wait(PICTURES_LOADED)
    assert browser.texts("#shown") == ["1 of 1 image"]
    quiet_and_at_home(browser)


@given(st.recursive(st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_data_cannot_end_its_script(value: object) -> None:
    text = json_in_html(value)
    assert not set(text) & set("<>&\u2028\u2029")
    assert text.isascii()
    assert json.loads(text) == value


def test_what_looks_like_a_place_in_the_page_is_data() -> None:
    html = render("gallery", "{{script}} </title>", {"x": "{{style}} </script>"})
    assert "<title>{{script}} &lt;/title&gt;</title>" in html
    assert '{"x":"{{style}} \\u003c/script\\u003e"}' in html
    assert html.count("</script>") == 2


@pytest.mark.parametrize(
    ("path", "folder", "url"),
    [
        ("/a/b/c d.jpg", "/a/b", "c%20d.jpg"),
        ("/a/x#?%.jpg", "/a/b/c", "../../x%23%3F%25.jpg"),
        ("/a/b/c:d.jpg", "/a/b", "c%3Ad.jpg"),
        ("/a/\udcff.jpg", "/a", "%FF.jpg"),
        ("/a/é.jpg", "/a", "%C3%A9.jpg"),
    ],
)
@pytest.mark.skipif(os.name != "posix", reason="POSIX paths")
def test_addresses_of_pictures(path: str, folder: str, url: str) -> None:
    assert relative_url(path, Path(folder)) == url


def test_reports_that_cannot_be_written(cli: Cli, red_star: Path, tmp_path: Path) -> None:
    base = ("classify", red_star, "-l", "red star,blue ring")
    assert "must end in .html or .htm" in cli(*base, "--report", tmp_path / "x.txt").err
    run = cli(*base, "--report", tmp_path / "nowhere" / "x.html")
    assert (run.code, run.out) == (1, "")
    assert "Make it first" in run.err
    assert cli(*base, "--embed-thumbnails").code == 2


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_a_learning_curve_is_drawn_as_it_is_told(
    browser: Browser,
    cli: Cli,
    noisy_folder: Path,
    tmp_path: Path,
    width: int,
    dark: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ZSCLIP_MODEL", "demo")
    page, told = tmp_path / "curve.html", tmp_path / "curve.json"
    asked = ("evaluate", noisy_folder, "-p", "plain", "-p", "photo", "--shots", "1,2", "--seeds", "3", "-q")
    assert cli(*asked, "--report", page, "-o", told).code == 0
    rows = json.loads(told.read_text())["learning"]
    browser.open(page, width, 6000, dark=dark)
    assert browser.run("return document.documentElement.scrollWidth") <= width
    assert "What do examples bring?" in browser.texts("h2")
    drawn = browser.run("return [...document.querySelectorAll('.learning circle title')].map((t) => t.textContent)")
    assert drawn == [
        f"{row['shots']}: {100 * row['taught']:.1f} % ({100 * row['taught_low']:.1f} to {100 * row['taught_high']:.1f})"
        for row in rows
    ]
    heights = browser.run("return [...document.querySelectorAll('.learning circle')].map((c) => +c.getAttribute('cy'))")
    zero = browser.run("return [...document.querySelectorAll('.learning .diagonal')].map((l) => +l.getAttribute('y1'))")
    assert [high < zero[n // 2] for n, high in enumerate(heights)] == [row["difference"] > 0 for row in rows]
