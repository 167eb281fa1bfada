"""The web page in a headless Chromium: uploads, a wrong file, sizes, downloads, many sessions at once."""

import re
import shutil
import socket
import subprocess
import time
import urllib.request

import numpy as np
import pytest
import torch
from astropy.table import QTable

from maury.app.serve import MOST_MB, arguments, environment
from maury.readers import write
from nights import Instrument, observe
from patience import PATIENCE_S

playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra browser")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs an installed Chromium")

SESSIONS = 3
WAIT_MS = 1000 * PATIENCE_S


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The page's address, while it is served."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log"
    with log.open("w") as stream:
        process = subprocess.Popen(
            arguments(port, browser=False), env=environment(), stdout=stream, stderr=subprocess.STDOUT
        )
    try:
        limit = time.monotonic() + PATIENCE_S
        while time.monotonic() < limit:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1)
                break
            except OSError:
                assert process.poll() is None, log.read_text()
                time.sleep(0.25)
        yield f"http://127.0.0.1:{port}"
        assert process.poll() is None, log.read_text()
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


@pytest.fixture(scope="module")
def browser():
    """A window; its tabs are sessions of the page, and share the scripts that one of them has loaded."""
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium.new_context(accept_downloads=True, viewport={"width": 1300, "height": 1000})
        chromium.close()


def opened(browser, server):
    page = browser.new_page()
    page.set_default_timeout(WAIT_MS)
    page.goto(server)
    page.get_by_text("Drop one or many spectra").wait_for()
    return page


def idle(page):
    """Wait until the server has answered: Streamlit may lose a file that is dropped while it still draws."""
    page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]').wait_for()


def choose_resolution(page):
    page.get_by_role("spinbutton", name="Resolution").fill("60000")
    page.keyboard.press("Enter")
    time.sleep(0.5)
    idle(page)


def drop(page, *paths):
    idle(page)
    page.locator(".st-key-spectra input[type=file]").set_input_files([str(path) for path in paths])


def teff(page):
    """The temperature shown, K."""
    page.get_by_test_id("stMetricValue").first.wait_for()
    return float(re.match(r"\d+", page.get_by_test_id("stMetricValue").first.inner_text())[0])


@pytest.fixture(scope="module")
def stars(tmp_path_factory):
    """Simulated stars of different temperatures, by name, in files of three formats."""
    folder, stars = tmp_path_factory.mktemp("stars"), {}
    for k in range(SESSIONS):
        labels = {"teff": 4500.0 + 600 * k, "logg": 4.3, "mh": -0.2, "vmic": 2.0, "vsini": 5.0}
        with torch.no_grad():
            spectrum = observe(labels, Instrument(resolution=60_000.0), velocity_kms=-15.0).single()
        spectrum = spectrum.with_(resolution=60_000.0)
        path = folder / f"star{k}.{('ecsv', 'fits')[k % 2]}"
        write(spectrum, path)
        stars[path] = labels["teff"]
    np.savetxt(folder / "text.txt", np.c_[spectrum.wavelength_aa, spectrum.flux, spectrum.sigma])
    stars[folder / "text.txt"] = labels["teff"]
    return stars


def test_three_formats_a_wrong_file_and_a_download(browser, server, stars, tmp_path):
    page = opened(browser, server)
    choose_resolution(page)
    files = [*list(stars)[:2], list(stars)[-1]]
    drop(page, files[1])
    assert teff(page) == pytest.approx(stars[files[1]], abs=250)
    page.locator(".js-plotly-plot").first.wait_for()
    wrong = tmp_path / "<b>notes<b>.txt"
    wrong.write_text("nothing but words")
    drop(page, files[0], files[2], wrong)
    page.get_by_role("button", name="All stars (ECSV)").wait_for()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="All stars (ECSV)").click()
    table = QTable.read(waiting.value.path(), format="ascii.ecsv")
    assert sorted(table["file"]) == sorted(path.name for path in files)
    for row in table:
        (known,) = (value for path, value in stars.items() if path.name == row["file"])
        assert row["teff"].value == pytest.approx(known, abs=250)
    page.get_by_role("combobox", name="Star").click()
    page.get_by_role("option", name="_b_notes_b_.txt").click()
    page.get_by_text("text without a line of two numbers").wait_for()
    page.close()


def test_a_file_of_2_gb_is_refused_politely(browser, server, tmp_path):
    page = opened(browser, server)
    large = tmp_path / "large.fits"
    with large.open("wb") as stream:
        stream.truncate(2 * 2**30)
    drop(page, large)
    page.get_by_text(re.compile(rf"must be {MOST_MB}(\.0)?MB or smaller")).wait_for()
    assert page.get_by_test_id("stMetricValue").count() == 0
    page.close()


def test_sessions_beside_each_other_get_their_own_stars(browser, server, stars):
    files = list(stars)[:SESSIONS]
    pages = [opened(browser, server) for _ in files]
    for page, path in zip(pages, files, strict=True):
        drop(page, path)
    for page, path in zip(pages, files, strict=True):
        assert teff(page) == pytest.approx(stars[path], abs=250), path
        assert page.get_by_text(path.name).count() >= 1
        page.close()


def test_a_prior_moves_the_numbers_and_a_parallax_gives_radius_luminosity_and_mass(browser, server, stars):
    page = opened(browser, server)
    path = next(iter(stars))
    drop(page, path)
    before = teff(page)
    page.get_by_text("Priors", exact=True).click()
    page.get_by_role("spinbutton", name="Teff (K)").first.fill(str(before + 150))
    page.keyboard.press("Enter")
    page.get_by_text("effective after weighting by priors").wait_for()
    changed = re.compile(rf"^(?!{before:.0f} )")  # this text may stand there before the number has changed
    page.get_by_test_id("stMetricValue").first.filter(has_text=changed).wait_for()
    assert before + 20 < teff(page) < before + 150
    for field, value in (("Parallax (mas)", "50"), ("G (mag)", "7.6")):
        page.get_by_role("spinbutton", name=field).fill(value)
        page.keyboard.press("Enter")
    page.get_by_text("luminosity (Lsun)").wait_for()
    values = page.get_by_test_id("stMetric").all_inner_texts()
    assert sum(text.startswith(("luminosity", "radius", "mass")) for text in values) == 3
    page.close()


def test_exposures_together_and_each_alone(browser, server, stars, tmp_path):
    """One star with the table of its exposures; the switch off, a row for each file."""
    paths = []
    for seed, name in enumerate(("first.ecsv", "second.ecsv")):
        star = observe(dict.fromkeys(("mh", "vsini"), 0.0) | {"teff": 5500.0, "logg": 4.4, "vmic": 1.0}, seed=seed)
        write(star.single().with_(resolution=60_000.0), tmp_path / name)
        paths.append(tmp_path / name)
    page = opened(browser, server)
    drop(page, *paths)
    page.get_by_role("combobox", name="Star").wait_for()
    page.get_by_text("The files are exposures of one star").click()
    page.get_by_text("2 exposures").wait_for()
    assert teff(page) == pytest.approx(5500, abs=150)
    assert page.get_by_role("combobox", name="Star").count() == 0
    page.get_by_role("tab", name="Exposures").click()
    page.get_by_test_id("stDataFrame").wait_for()
    page.get_by_role("tab", name="Download").click()
    page.get_by_text("--together").first.wait_for()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Exposures (ECSV)").click()
    table = QTable.read(waiting.value.path(), format="ascii.ecsv")
    assert list(table["file"]) == ["first.ecsv", "second.ecsv"]
    page.close()


def test_two_stars_in_one_spectrum(browser, server, tmp_path):
    """The switch shows the parameters of both stars and their light ratio; the command has the option."""
    sun = {"teff": 5800.0, "logg": 4.4, "mh": 0.0, "vmic": 1.0, "vsini": 4.0}
    cool = sun | {"teff": 5300.0, "logg": 4.5}
    pair = observe(sun, Instrument(resolution=60_000.0), second=(cool, 60.0, 0.35)).single()
    write(pair.with_(resolution=60_000.0), tmp_path / "pair.ecsv")
    page = opened(browser, server)
    page.get_by_text("Fit two stars").click()
    drop(page, tmp_path / "pair.ecsv")
    teff(page)
    page.get_by_role("tab", name="Two stars").click()
    page.get_by_text("Two stars are clearly more probable than one").wait_for()
    page.get_by_test_id("stDataFrame").wait_for()
    page.get_by_role("tab", name="Download").click()
    page.get_by_text("--components 2").first.wait_for()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Table (ECSV)").click()
    (row,) = QTable.read(waiting.value.path(), format="ascii.ecsv")
    assert row["rv_2_kms"].value - row["rv_1_kms"].value == pytest.approx(60, abs=1)
    assert 0.3 < row["light_ratio"] < 0.7
    assert row["teff_2"].unit == "K"
    page.close()


def test_the_sandbox_moves(browser, server):
    page = opened(browser, server)
    page.get_by_role("tab", name="Sandbox").click()
    page.locator(".js-plotly-plot").first.wait_for()
    slider = page.get_by_role("slider", name="v sin i")
    slider.focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    page.get_by_text("7", exact=True).first.wait_for()
    page.close()
