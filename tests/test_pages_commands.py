"""Every command of the README, the tutorial and the pages beside it runs, in the order in which it stands there.

The commands are found in the pages: a new one is run, or a test fails. Files that a reader has are made when a command
names them first: simulated stars, a line list, settings of few spectra, a grid in PHOENIX's format.
"""

from __future__ import annotations

import shlex
import shutil
import tempfile
from itertools import pairwise
from pathlib import Path

import pytest
import torch

import observatory
import synthetic
import test_readers_choice
import test_readers_pipelines
from maury.cli.app import main
from maury.evaluation import figures
from maury.readers import write
from nights import SUN, Instrument, observe
from pages import ROOT, commands
from synthesis_inputs import atmosphere_folder, vald_short
from test_lines_convert import kurucz

PAGES = (
    ROOT / "README.md",
    *(ROOT / "docs" / f"{name}.md" for name in ("tutorial", "students", "instruments", "lines")),
)

STANDARDS = (
    "needs a network of that window; tests/test_standards.py and test_evaluation_refined.py run it for the packaged one"
)
NOT_RUN = {
    "pip install .": ".ci/installed, a step of .ci/run, does it",
    "make demo": "a step of .ci/run",
    "make test": "a step of .ci/run, runs these tests",
    "maury tune founding --grid spc.h5 --out studies/founding": "minutes; tests/test_search.py runs small ones",
    "maury train --preset default --emulator mine.safetensors --out run": "hours; tests/test_training_posterior.py",
    "maury train --preset default --emulator mine.safetensors --model-error model-error.toml --out run --max-time 60": (
        "an hour; benchmarks/own_window.py trains a small network for another window in its smoke run"
    ),
    "maury model-error standards.csv --emulator mine.safetensors --out model-error.toml": STANDARDS,
    "maury physics-errors run standards.csv --emulator mine.safetensors": STANDARDS,
    "maury systematic-errors run standards.csv --emulator mine.safetensors": STANDARDS,
    "maury predict star.fits --model run --emulator mine.safetensors --labels abundances": STANDARDS,
    "maury validate run --emulator mine.safetensors --out validated": STANDARDS,
    "maury app": ".ci/installed starts it and asks; it serves until it is stopped",
}
"""Commands that do not run here, each with the reason."""

SHORTER = {
    "maury grid build": "--teff 5500 6000 --logg 4 4.5 --mh -0.5 0 --vsini 0 10",
    "maury train": "--epochs 1",
    "maury explain": "--realisations 4",
    "maury evaluate": "--between 0",
    "maury grid import phoenix": f"--window {synthetic.WINDOW[0]} {synthetic.WINDOW[1]}",
}
"""Options that are added so that a command takes seconds; of a report the first two figures are drawn."""


def star(path: Path) -> None:
    with torch.no_grad():
        write(observe({**SUN, "vmic": 1.0}, Instrument(67_000.0), velocity_kms=12.0, snr=150), path)


def night(path: Path) -> None:
    """An exposure of the star of another night."""
    with torch.no_grad():
        write(observe({**SUN, "vmic": 1.0}, Instrument(67_000.0), velocity_kms=-20.0, snr=60, seed=2), path)


def synthesis(path: Path) -> None:
    """Sixteen spectra of 10 Å with a dozen lines, in grey atmospheres."""
    atmosphere_folder(path.parent / "models")
    vald_short(path.parent / "lines.vald")
    ranges = "teff = [5000, 6000], logg = [4.0, 5.0], mh = [-1, -0.3], vmic = [1, 2], alpha = [0, 0.2]"
    path.write_text(
        'line_list = "lines.vald"\natmospheres = "models"\nwindow = [5072, 5082]\nstep = 0.02\n'
        f'[design]\nkind = "sobol"\ncount = 16\nranges = {{ {ranges} }}\n[physics]\nsampling = "uniform"\n'
    )


def standards(path: Path) -> None:
    """One star, about the Sun."""
    synthesis(path.with_name("synthesis.toml"))
    with torch.no_grad():
        sun = observe({**SUN, "vmic": 1.0}, Instrument(67_000.0), snr=300).single()
    write(sun.with_(frame="rest", resolution=67_000.0), path.with_name("sun.fits"))
    path.write_text(
        'list = "lines.vald"\natmospheres = "models"\nobserved = "."\nwindow = [5072, 5082]\niterations = 1\n'
        '[[sources]]\nname = "any"\npattern = "."\nwidth = 0.1\n'
        '[[stars]]\nname = "Sun"\nfile = "sun.fits"\nresolution = 67000\n'
        "teff = 5772\nlogg = 4.44\nmh = -0.2\nvmic = 1.0\n"
    )


def like(make, hint=None):
    """What writes a file of the simulated observatory, or the one beside it, under a name of its own."""

    def write_as(path: Path) -> None:
        with tempfile.TemporaryDirectory() as folder:
            made = make(Path(folder))
            shutil.copy(made.path if hint is None else made.hints[hint], path)

    return write_as


FILES = {
    "star.fits": star,
    "night1.fits": night,
    "night2.fits": star,
    "harps_s1d_A.fits": like(observatory.harps_s1d),
    "harps_e2ds_A.fits": like(observatory.harps_e2ds),
    "FIEg310102_step010_wave.fits": like(observatory.multispec_linear_cube),
    "tres.hdf5": like(observatory.tres_hdf5),
    "1234567i.fits": like(observatory.espadons_fits),
    "ADP.2020-06-19T10_12_40.152.fits": like(observatory.eso_phase3),
    "pepsib.nor": like(observatory.pepsi),
    "rj76.279.fits": like(observatory.hires),
    "rabh.225.fits": like(observatory.apf_raw),
    "apf_wave.fits": like(observatory.apf_raw, "wavelength_file"),
    "stars.fits": test_readers_choice.multispec,
    "kpf_L2.fits": test_readers_pipelines.eprv,
    "list.csv": lambda path: path.write_text("file,resolution\nstar.fits,67000\n"),
    "lines.vald": vald_short,
    "gf.100": lambda path: path.write_text(
        "\n".join(kurucz(507 + 0.1 * k, -1.0, 26.0, (9000, 29000)) for k in range(16))
    ),
    "standards.toml": standards,
    "synthesis.toml": synthesis,
    "PHOENIX_DIR": synthetic.phoenix,
    "emulator.toml": lambda path: path.write_text(
        "components = 4\nmembers = 1\nwidth = 8\ndepth = 1\nepochs = 2\n"
        "validation_fraction = 0.2\ntest_fraction = 0.2\n"
    ),
}
"""Files that a reader has, and what makes one."""


PLAN = figures.plan_figures


def key_of(words: list[str], table: dict[str, str]) -> str | None:
    """The key of a table that the words begin with."""
    return next((key for key in table if words[: len(key.split())] == key.split()), None)


def run(words: list[str]) -> int:
    """Exit code of a command, run in this process."""
    extra = SHORTER.get(key_of(words, SHORTER) or "", "")
    with pytest.raises(SystemExit) as stop:
        main([*words[1:], *shlex.split(extra)])
    return int(stop.value.code or 0)


def output_of(words: list[str]) -> str | None:
    """The file or folder that a command writes."""
    return next((value for option, value in pairwise(words) if option in ("--out", "-o")), None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("reader")


@pytest.fixture(scope="module")
def ran() -> dict[str, str]:
    """By output the command that wrote it last; those without output by themselves."""
    return {}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_runs(page, folder, ran, monkeypatch, capsys):
    """In one folder; a command that stands in two pages runs once, unless another has written its output since."""
    for extra in ("pysme", "pyarrow"):
        pytest.importorskip(extra, reason="needs the extras synthesis and catalogue")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(figures, "plan_figures", lambda *given: PLAN(*given)[:2])
    found = commands(page)
    assert len(found) >= 5
    for words in found:
        line, output = shlex.join(words), output_of(words)
        if line in NOT_RUN or ran.get(output or line) == line:
            continue
        assert words[0] == "maury", f"{page.name}: {line}: run it here, or give a reason in NOT_RUN"
        for word in words[1:]:
            if word in FILES and not Path(word).exists():
                FILES[word](folder / word)
        code = run(words)
        assert code == 0, f"{page.name}: {line}: exit code {code}\n{capsys.readouterr().err}"
        ran[output or line] = line


def test_a_page_makes_what_it_uses():
    """What another page has written is there as well when the commands run: each page must write its own."""
    outputs = {output for page in PAGES for words in commands(page) if (output := output_of(words))}
    for page in PAGES:
        written: list[str] = []
        for words in commands(page):
            output = output_of(words)
            for word in words:
                of = [name for name in outputs if Path(word).is_relative_to(name)]
                if of and word not in (*FILES, output) and {".", "/"} & set(word):
                    assert {*of} & {*written}, f"{page.name}: {shlex.join(words)}: nothing has written {word}"
            written += [output] if output else []


def test_what_is_not_run_or_shortened_stands_in_a_page():
    found = [words for page in PAGES for words in commands(page)]
    assert set(NOT_RUN) <= {shlex.join(words) for words in found}
    assert set(SHORTER) == {key for words in found if (key := key_of(words, SHORTER))}
    assert set(FILES) <= {word for words in found for word in words}


def test_commands_are_found_where_they_stand(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "```console\n$ maury a --b 'c d'   # why\nits output\n$ maury e \\\n    f\n```\n\n"
        "```bash\nmaury g\n```\n\n```python\nmaury.h\n```\n"
    )
    assert commands(page) == [["maury", "a", "--b", "c d"], ["maury", "e", "f"], ["maury", "g"]]
