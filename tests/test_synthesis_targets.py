"""Designs of labels: tables, nodes, Sobol points, points around a star; completed, with an atmosphere each."""

from pathlib import Path

import numpy as np
import pytest

from maury.config import load_config
from maury.designs import sobol_labels
from maury.errors import ConfigError, DomainError, FormatError
from maury.labels import INTRINSIC
from maury.library import NODE
from maury.lines.calibration_settings import CalibrateConfig
from maury.synthesis import read_atmospheres
from maury.synthesis.settings import NodesDesign, SobolDesign, StarDesign, SynthesisConfig, TableDesign
from maury.synthesis.targets import complete, make_targets
from maury.training.recipes import EmulatorConfig
from synthesis_inputs import atmosphere_folder

BASE = {"line_list": "a", "atmospheres": "b", "design": {"kind": "table", "file": "c"}}


@pytest.fixture(scope="module")
def atmospheres(tmp_path_factory):
    return read_atmospheres(atmosphere_folder(tmp_path_factory.mktemp("models")))


def test_settings_of_the_worked_example():
    folder = Path(__file__).parents[1] / "benchmarks" / "own_window"
    config = load_config(folder / "synthesis.toml", SynthesisConfig)
    load_config(folder / "emulator.toml", EmulatorConfig)
    calibration = load_config(folder / "standards.toml", CalibrateConfig)
    assert calibration.window == config.window
    for star in calibration.stars:
        for name in ("teff", "logg", "mh"):
            low, high = config.design.ranges[name]
            assert low <= getattr(star, name) <= high


def test_pixels_of_the_founding_library():
    wavelength = SynthesisConfig(**BASE).wavelength_aa
    expected = 5050 + 300 / 29787 * (np.arange(29788 + 1000) - 500)
    np.testing.assert_allclose(wavelength, expected, atol=1e-9)


def test_any_window_shares_its_pixels_and_has_margins():
    wavelength = SynthesisConfig(**BASE, window=(6000.0, 6010.0), step=0.02).wavelength_aa
    np.testing.assert_allclose((wavelength - 5050) / 0.02, np.round((wavelength - 5050) / 0.02), atol=1e-6)
    margin = 6010 * 282 / 299792.458
    assert 6000 - margin - 0.02 < wavelength[0] <= 6000 - margin
    assert 6010 + margin <= wavelength[-1] < 6010 + margin + 0.02
    bare = SynthesisConfig(**BASE, window=(6000.0, 6010.0), step=0.02, margin=0.0).wavelength_aa
    assert bare[[0, -1]] == pytest.approx([6000.0, 6010.0])


def test_labels_are_completed():
    full = complete(("teff", "logg", "mh", "alpha", "ti"), np.array([[5000, 4.0, -1.0, 0.4, 0.1]]))
    assert not full[0, len(INTRINSIC) :].any()
    assert dict(zip(INTRINSIC, full[0], strict=False)) == {
        "teff": 5000, "logg": 4, "mh": -1, "vmic": 2, "c": 0, "mg": 0.4, "ca": 0.4, "ti": 0.1, "cr": 0, "ni": 0
    }  # fmt: skip


def test_table(tmp_path, atmospheres):
    (tmp_path / "l.csv").write_text("# made by hand\nname,mh,teff,logg,vmic\nsun,0,5500,4.5,1\nx,-1,5250,4.25,2\n")
    targets = make_targets(TableDesign(file=str(tmp_path / "l.csv")), atmospheres)
    assert targets.names == INTRINSIC
    np.testing.assert_array_equal(targets.labels[:, :4], [[5500, 4.5, 0, 1], [5250, 4.25, -1, 2]])
    assert "skipped: name" in targets.notes[0]
    (tmp_path / "a.csv").write_text("teff,logg,mh,alpha,ni\n5500,4.5,0,0.2,-0.1\n")
    targets = make_targets(TableDesign(file=str(tmp_path / "a.csv")), atmospheres)
    assert targets.names == ("teff", "logg", "mh", "vmic", "ni", "alpha")
    np.testing.assert_array_equal(targets.labels, [[5500, 4.5, 0, 2, -0.1, 0.2]])
    np.testing.assert_array_equal(targets.complete[0, 4:], [0, 0.2, 0.2, 0.2, 0, -0.1, *[0] * 7])


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("teff,logg\n5500,4.5\n", FormatError, r"l\.csv: missing column mh"),
        ("teff,logg,mh\n5500,4.5,x\n", FormatError, "column mh is not a number"),
        ("teff,logg,mh\n", FormatError, "no rows"),
        ("teff,logg,mh\n5500,4.5,0\n9000,4.5,0\n", DomainError, r"l\.csv: 1 of 2 rows.*row 2 .*extrapolate_logg"),
        ("teff,logg,mh,vmic\n5500,4.5,0,-1\n", DomainError, "row 1: vmic = -1 is not allowed"),
    ],
)
def test_bad_tables(tmp_path, atmospheres, text, kind, message):
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(kind, match=message):
        make_targets(TableDesign(file=str(tmp_path / "l.csv")), atmospheres)


def test_nodes(atmospheres):
    spc = make_targets(NodesDesign(teff=(5000, 5500), logg=(4, 5), mh=(-1, 0)), atmospheres)
    assert len(spc) == 3 * 3 * 3
    assert (spc.kind == NODE).all()
    drawn = make_targets(NodesDesign(teff=(5000, 5500), logg=(4, 5), mh=(-1, 0), count=5), atmospheres)
    assert {tuple(row) for row in drawn.labels.tolist()} < {tuple(row) for row in spc.labels.tolist()}
    assert len(drawn) == 5
    own = make_targets(
        NodesDesign(values={"teff": [5100, 5200], "logg": [4.5], "mh": [0, -0.5], "alpha": [0, 0.3]}), atmospheres
    )
    assert own.names == ("teff", "logg", "mh", "vmic", "alpha")
    assert len(own) == 8
    assert not (own.kind == NODE).any()
    with pytest.raises(ConfigError, match="no node"):
        make_targets(NodesDesign(teff=(5010, 5020)), atmospheres)


def test_sobol_in_a_box_keeps_out_of_holes(tmp_path):
    folder = atmosphere_folder(tmp_path)
    for mh in (-2.0, -1.0, 0.0):
        (folder / f"t6000g4.0m{mh}.krz").unlink()
    atmospheres = read_atmospheres(folder)
    ranges = {"teff": (5000.0, 6000.0), "logg": (4.0, 5.0), "mh": (-2.0, 0.0), "ti": (-0.2, 0.4)}
    targets = make_targets(SobolDesign(count=64, ranges=ranges), atmospheres)
    assert len(targets) == 64
    assert targets.domain == ranges
    assert not ((targets.labels[:, 0] > 5500) & (targets.labels[:, 1] < 4.5)).any()
    assert "points of the design are left out" in targets.notes[0]
    more = make_targets(SobolDesign(count=100, ranges=ranges), atmospheres)
    np.testing.assert_array_equal(more.labels[:64], targets.labels)
    with pytest.raises(DomainError, match="only 0 of"):
        make_targets(SobolDesign(count=4, ranges=ranges | {"teff": (9000.0, 9100.0)}), atmospheres)


@pytest.mark.shared
def test_sobol_over_the_packaged_domain(shared):
    models = shared / "data/atmospheres/ck04_odfnew.tar.xz"
    grid = read_atmospheres(models, extrapolate_logg=True, extrapolate_mh=True)
    targets = make_targets(SobolDesign(count=200, seed=3), grid)
    np.testing.assert_array_equal(targets.labels, sobol_labels(200, 3))
    assert targets.extrapolated.any()


def test_around_a_star(atmospheres):
    centre = {"teff": 5500.0, "logg": 4.5, "mh": -0.5, "vmic": 1.2}
    widths = {"teff": 50.0, "logg": 0.05, "mh": 0.05}
    gauss = make_targets(StarDesign(centre=centre, widths=widths, count=400), atmospheres)
    offset = (gauss.labels[:, :3].mean(0) - [5500, 4.5, -0.5]) / [50, 0.05, 0.05]
    assert np.abs(offset).max() < 0.2
    np.testing.assert_allclose(gauss.labels[:, :3].std(0), [50, 0.05, 0.05], rtol=0.15)
    assert (gauss.labels[:, 3] == 1.2).all()
    box = make_targets(StarDesign(centre=centre, widths=widths, shape="box", count=64), atmospheres)
    assert np.abs(box.labels[:, 0] - 5500).max() <= 50
    assert box.domain["teff"] == (5450.0, 5550.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: StarDesign(centre={"teff": 5500.0}, widths={"teff": 1.0}, count=1), "logg, mh must be given"),
        (lambda: SobolDesign(count=1, ranges={"teff": (1.0, 0.0)}), "is empty"),
        (lambda: NodesDesign(values={"vsini": [1.0]}), "unknown label vsini"),
        (lambda: SynthesisConfig(**BASE, window=(5100.0, 5000.0)), "two increasing wavelengths"),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises(ValueError, match=message):
        make()
