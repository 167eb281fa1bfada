"""The web page in a headless Chromium: seconds from the drop of a spectrum to the first numbers, and to the chart.

    python benchmarks/app_first_result.py --runs 5

Serves the page as ``maury app`` does, opens it, and drops simulated stars of different temperatures, each in a
session of its own: one as soon as the page is there, the others once everything is loaded. Needs the extras app and
browser, and an installed Chromium.
"""

import argparse
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from playwright.sync_api import Browser, sync_playwright
from smoke import parse

from maury.app.serve import arguments, environment
from maury.emulator import load_cached
from maury.readers import write
from maury.spectra import Spectrum
from maury.wavelengths import C_KMS

RESOLUTION, VELOCITY_KMS, SNR = 60_000.0, 20.0, 100.0
WAIT_MS = 120_000


def write_star(path: Path, teff: float) -> None:
    """A star as an observer has it: moving, in counts on a slope, with noise, every 0.02 Å."""
    emulator = load_cached()
    low, high = emulator.window_aa
    wavelength = np.arange(low, high, 0.02)
    known = {"teff": teff, "logg": 4.4, "vmic": 1.0}
    labels = torch.tensor([[known.get(name, 0.0) for name in emulator.space.names]])
    sampler = emulator.sampler(wavelength / (1 + VELOCITY_KMS / C_KMS), RESOLUTION)
    with torch.no_grad():
        flux = emulator.flux(labels, torch.tensor([3.0]), torch.tensor([RESOLUTION]), sampler)[0].double().numpy()
    continuum = 1000 * (1 + (wavelength - low) / (high - low))
    noise = continuum / SNR
    counts = continuum * flux + noise * np.random.default_rng(round(teff)).standard_normal(flux.shape)
    write(Spectrum(wavelength, counts, sigma=noise, frame="barycentric", resolution=RESOLUTION), path)


@contextmanager
def served(log: Path) -> Iterator[str]:
    """The page's address while it is served."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    with log.open("w") as stream:
        process = subprocess.Popen(arguments(port, False), env=environment(), stdout=stream, stderr=subprocess.STDOUT)
    try:
        while True:
            try:
                urllib.request.urlopen(f"{address}/_stcore/health", timeout=1)
                break
            except OSError:
                if process.poll() is not None:
                    raise SystemExit(log.read_text()) from None
                time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait(20)


def measure(browser: Browser, address: str, star: Path, wait_s: float) -> dict[str, float]:
    """Seconds until the page, the first numbers and the chart are there, in a session of its own."""
    page = browser.new_context(viewport={"width": 1300, "height": 1000}).new_page()
    page.set_default_timeout(WAIT_MS)
    start = time.perf_counter()
    page.goto(address)
    page.get_by_text("Drop one or many spectra").wait_for()
    idle: Any = page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]')
    idle.wait_for()
    times = {"page": time.perf_counter() - start}
    time.sleep(wait_s)
    start = time.perf_counter()
    page.locator(".st-key-spectra input[type=file]").set_input_files(star)
    page.get_by_test_id("stMetricValue").first.wait_for()
    times["numbers"] = time.perf_counter() - start
    page.locator(".js-plotly-plot .main-svg").first.wait_for()
    times["chart"] = time.perf_counter() - start
    page.context.close()
    return times


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="sessions once everything is loaded")
    parser.add_argument("--warm", type=float, default=8.0, help="seconds given to loading")
    options = parse(parser, lambda folder: ["--runs", 1, "--warm", 0])
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as driver:
        folder = Path(name)
        stars = [folder / f"star{k}.fits" for k in range(options.runs + 1)]
        for k, star in enumerate(stars):
            write_star(star, 5000.0 + 250 * k)
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        start, found = time.perf_counter(), []
        with served(folder / "log") as address:
            print(f"served after {time.perf_counter() - start:.2f} s")
            print(f"{'session':<28}{'page':>8}{'numbers':>9}{'chart':>8}   (s; the last two from the drop)")
            for k, star in enumerate(stars):
                times = measure(browser, address, star, 0.0 if k == 0 else options.warm if k == 1 else 1.0)
                title = "dropped at once" if k == 0 else f"everything loaded, {k}"
                print(f"{title:<28}{times['page']:8.2f}{times['numbers']:9.2f}{times['chart']:8.2f}")
                found.append(times["numbers"])
        browser.close()
    loaded = np.array(found[1:])
    print(f"first numbers, everything loaded: median {np.median(loaded):.2f} s, longest {loaded.max():.2f} s")


if __name__ == "__main__":
    main()
