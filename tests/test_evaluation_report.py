"""`maury evaluate` from a run directory to report.html and report.json, and its errors."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fakes import tiny_emulator
from maury.cli.app import main
from maury.evaluation.html import render_page
from maury.evaluation.network import check_grid, load_model
from maury.files import sha256
from maury.grids import Grid, GridConfig, build_grid, open_grid
from maury.labels import LABELS, LabelSpace
from maury.library import OFF_NODE, SCALE, Library, write_library
from maury.networks import StarNet, load, predict, save
from maury.networks.architectures import StarNetConfig
from maury.plots import save_figure

NAMES = ("teff", "logg", "mh", "vsini")
LOG = "epoch,step,train_loss,train_mae,val_loss,val_mae\n0,0,.8,.6,,\n0,0,,,.5,.4\n1,1,.3,.3,,\n1,1,,,.2,.3\n"


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an emulator, a grid of 180 spectra, a library, a run on all labels and one on temperature."""
    folder = tmp_path_factory.mktemp("work")
    emulator = tiny_emulator()
    emulator.save(folder / "emulator.safetensors")
    config = GridConfig(teff=(5000, 6000), logg=(4, 5), mh=(0, 0.5), vsini=(0, 8))
    build_grid(folder / "grid.h5", emulator, sha256(folder / "emulator.safetensors"), config)
    grid = open_grid(folder / "grid.h5")
    write_run(folder / "founding", grid, NAMES, "starnet-spc")
    write_run(folder / "temperature", grid, ("teff",), "starnet-teff")
    write_fake_library(folder / "library.h5")
    return folder


def write_run(folder: Path, opened: Grid, names: tuple[str, ...], preset: str, **changes: Any) -> None:
    """A run directory with an untrained network that answers near the middle of the ranges."""
    folder.mkdir()
    space = LabelSpace.of(names)
    network = StarNet(StarNetConfig(labels=names, dense=(8, 8)), seed=2)
    with torch.no_grad():
        network.output.bias.fill_(0.5)
    header = {
        "preset": preset,
        "labels": {"names": names, "lower": space.lower, "upper": space.upper},
        "flux": {"mean": 0.9, "std": 0.5},
        "wavelength": [float(opened.wavelength_aa[0]), float(opened.wavelength_aa[-1])],
        "resolution": opened.resolution,
        "grid": opened.digest,
        "split": "random",
        "training": {"grid": str(opened.path)},
        **changes,
    }
    save(folder / "model.safetensors", network, header)
    (folder / "metrics.csv").write_text(LOG)


def write_fake_library(path: Path) -> None:
    wavelength = np.linspace(5045.2, 5354.8, 30_788)
    generator = np.random.default_rng(1)
    labels = np.zeros((12, 10))
    labels[:, :4] = generator.uniform([5000, 4, 0, 1], [6000, 5, 0.5, 2], (12, 4))
    counts = generator.integers(10_000, 20_000, (12, len(wavelength))).astype(np.uint16)
    library = Library(wavelength, labels, counts, SCALE, np.full(12, OFF_NODE, np.uint8), (path.name,))
    write_library(library, path)


def evaluate(work: Path, run: str, *options: str) -> None:
    main(["evaluate", str(work / run), "--emulator", str(work / "emulator.safetensors"), *options])


@pytest.fixture(scope="module")
def report(work: Path) -> dict[str, Any]:
    """The report on the run that predicts all labels, with every kind of test set; its PNG and PDF files are empty."""

    def touch(figure: Any, stem: Path) -> None:
        stem.parent.mkdir(parents=True, exist_ok=True)
        for kind in ("png", "pdf"):
            stem.with_suffix(f".{kind}").touch()

    options = ("--out", str(work / "all"), "--between", "40", "--library", str(work / "library.h5"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("maury.evaluation.report.save_figure", touch)
        patch.setattr("matplotlib.layout_engine.ConstrainedLayoutEngine.execute", lambda engine, figure: None)
        with pytest.raises(SystemExit) as code:
            evaluate(work, "founding", *options)
    assert code.value.code == 0
    return json.loads((work / "all" / "report.json").read_text())


class TestNumbers:
    @pytest.mark.parametrize("split", ["random", "block"])
    def test_mse_and_mae_are_those_of_the_unseen_validation_rows(
        self, work: Path, report: dict[str, Any], split: str
    ) -> None:
        grid = open_grid(work / "grid.h5")
        network, header = load(work / "founding")
        rows = grid.split(split) & grid.split("random")
        error = predict(network, header, grid.read_flux(rows) * np.float32(grid.scale)) - grid.labels[rows]
        unit = error / np.array([LABELS[name].upper - LABELS[name].lower for name in NAMES])
        figures = report["splits"][split]
        assert figures["n"] == rows.sum()
        assert figures["mse"] == pytest.approx((unit**2).mean())
        assert figures["mae"] == pytest.approx(np.abs(unit).mean())
        for k, name in enumerate(NAMES):
            assert figures["labels"][name]["bias"] == pytest.approx(error[:, k].mean())
            assert figures["labels"][name]["scatter"] == pytest.approx(error[:, k].std())
        assert figures["labels"]["logg"]["unit"] == "dex"

    def test_bins_hold_all_spectra(self, report: dict[str, Any]) -> None:
        by = report["splits"]["random"]["labels"]["teff"]["by"]
        assert list(by) == list(NAMES)
        assert sum(by["mh"]["n"]) == report["splits"]["random"]["n"]
        assert by["mh"]["centre"] == [0.0, 0.5]

    def test_test_sets_and_their_sizes(self, report: dict[str, Any]) -> None:
        sizes = {name: split["n"] for name, split in report["splits"].items()}
        assert list(sizes) == ["random", "block", "offnode", "library_offnode"]
        assert (sizes["offnode"], sizes["library_offnode"]) == (40, 12)
        assert report["splits"]["random"]["trained_on_this_split"]
        assert not report["splits"]["block"]["trained_on_this_split"]
        assert "the emulator that made the grid" in report["splits"]["offnode"]["description"]

    def test_provenance(self, work: Path, report: dict[str, Any]) -> None:
        assert report["grid"]["digest"] == sha256(work / "grid.h5")
        assert report["model"] == "founding"
        assert report["reference"]["loss"] == 0.0014
        assert report["notes"] == []


class Links(HTMLParser):
    """Collects what a page refers to, its identifiers and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href"):
                self.links.append(value or "")
            if name == "id":
                self.ids.append(value or "")


class TestPage:
    @pytest.fixture
    def text(self, work: Path, report: dict[str, Any]) -> str:
        return (work / "all" / "report.html").read_text(encoding="utf-8")

    def test_it_loads_nothing(self, text: str) -> None:
        page = Links(text)
        assert all(link.startswith(("data:image/png;base64,", "#", "figures/")) for link in page.links)
        assert not {"script", "link", "iframe", "img"} & set(page.tags)
        assert not re.search(r"@import|url\((?!#)", text)

    def test_identifiers_are_unique_and_figures_exist(self, work: Path, text: str) -> None:
        page = Links(text)
        assert len(page.ids) == len(set(page.ids))
        files = [link for link in page.links if link.startswith("figures/")]
        assert len(files) == 2 * page.tags.count("figure")
        assert all((work / "all" / name).is_file() for name in files)

    def test_figures_of_all_kinds(self, work: Path, text: str) -> None:
        names = {path.stem for path in (work / "all" / "figures").iterdir()}
        splits = ("random", "block", "offnode", "library_offnode")
        kinds = ("predicted_teff", "predicted_all", "residuals")
        expected = {f"{kind}_{split}" for kind in kinds for split in splits}
        assert names == expected | {"errors", "bias", "learning_curve", "grid_coverage"}

    def test_it_shows_the_figures_of_the_report(self, text: str, report: dict[str, Any]) -> None:
        for split in report["splits"].values():
            assert f"<dd>{split['mse']:.5f}</dd>" in text
            assert f"{split['labels']['teff']['robust_scatter']:.1f} K" in text
        assert "founding project: 0.0014 and 0.0245" in text
        assert "prefers-color-scheme: dark" in text

    def test_text_from_outside_is_escaped(self, report: dict[str, Any]) -> None:
        text = render_page({**report, "model": "<b>a&b", "notes": ["c < d"]}, [("name", "e > f", "<svg></svg>")])
        assert "&lt;b&gt;a&amp;b" in text
        assert "<b>a&b" not in text
        assert "c &lt; d" in text
        assert "e &gt; f" in text


def test_temperature_alone(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def first_alone(figure: Any, stem: Path) -> None:
        """Write one of the figures; the others are drawn for the page."""
        if stem.name == "predicted_teff_random":
            save_figure(figure, stem)
        else:
            stem.with_suffix(".png").touch()

    monkeypatch.setattr("maury.evaluation.report.save_figure", first_alone)
    with pytest.raises(SystemExit) as code:
        evaluate(work, "temperature", "--out", str(tmp_path), "--between", "0")
    assert code.value.code == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert list(report["splits"]["random"]["labels"]) == ["teff"]
    assert list(report["splits"]["random"]["labels"]["teff"]["by"]) == list(NAMES)
    assert report["reference"] is None
    files = {path.name: path for path in (tmp_path / "figures").iterdir()}
    assert files["predicted_teff_random.png"].read_bytes().startswith(b"\x89PNG")
    assert files["predicted_teff_random.pdf"].read_bytes().startswith(b"%PDF")
    assert not any(name.startswith("predicted_all") for name in files)
    printed = capsys.readouterr().out
    assert f"MSE {report['splits']['random']['mse']:.5f}" in printed
    assert "report.html" in printed


def test_another_grid_is_noted(work: Path, tmp_path: Path) -> None:
    grid = open_grid(work / "grid.h5")
    assert check_grid(load_model(str(work / "temperature")), grid) == []
    write_run(tmp_path / "run", grid, ("teff",), "starnet-teff", grid="0" * 64)
    (note,) = check_grid(load_model(str(tmp_path / "run")), grid)
    assert "not the grid that the network was trained on" in note


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resolution": 60_000.0}, "resolution 44000; run takes 60000"),
        ({"wavelength": [5060.0, 5350.0]}, "5349.985 Å; run takes 5060.000 to 5350.000"),
        ({"training": {"grid": "gone.h5"}}, "name the grid to test it on; gone.h5.* is not there"),
        ({"split": "third"}, "split 'third' is unknown"),
    ],
)
def test_a_network_that_does_not_suit_the_grid(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], message: str
) -> None:
    write_run(tmp_path / "run", open_grid(work / "grid.h5"), ("teff",), "starnet-teff", **changes)
    assert_one_line(work, capsys, message, str(tmp_path / "run"), "--out", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())


def test_broken_inputs(work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ("--out", str(tmp_path / "out"))
    (tmp_path / "empty").mkdir()
    assert_one_line(work, capsys, "empty: there is no model.safetensors", str(tmp_path / "empty"), *out)
    assert_one_line(work, capsys, "not a packaged network", str(tmp_path / "nowhere"), *out)
    model = str(work / "founding" / "model.safetensors")
    assert_one_line(work, capsys, r"model: name the grid to test it on \(--grid\)", model, *out)
    assert_one_line(work, capsys, "absent.h5: no such file", model, "--grid", str(tmp_path / "absent.h5"), *out)
    broken = Path(shutil.copytree(work / "founding", tmp_path / "broken"))
    (broken / "metrics.csv").write_text("epoch,step\n")
    assert_one_line(work, capsys, "metrics.csv: missing column train_loss", str(broken), *out)
    (tmp_path / "file").write_text("")
    assert_one_line(work, capsys, "file/report", str(work / "founding"), "--out", str(tmp_path / "file" / "report"))
    assert_one_line(work, capsys, "absent.h5: no such file", str(work / "founding"), "--library", "absent.h5", *out)


def assert_one_line(work: Path, capsys: pytest.CaptureFixture[str], message: str, run: str, *options: str) -> None:
    """`maury evaluate` ends with exit code 2 and one line that holds ``message``."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as code:
        evaluate(work, run, "--between", "0", *options)
    assert code.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert re.search(message, line), line
