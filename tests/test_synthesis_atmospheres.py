"""Model atmospheres: headers, layers, interpolation, the edges of the grid."""

import tarfile

import numpy as np
import pytest

from maury.errors import DomainError, FormatError
from maury.labels import INTRINSIC
from maury.synthesis import read_atmospheres
from maury.synthesis.atmospheres import MASS_PER_ATOM
from maury.synthesis.modelfiles import BOLTZMANN, read_model
from synthesis_inputs import atlas, atmosphere_folder, grey, marcs


def row(teff, logg, mh):
    return np.array([teff, logg, mh, 1.0] + [0.0] * (len(INTRINSIC) - 4))


@pytest.mark.parametrize("write", [atlas, marcs])
def test_header_and_layers_are_read(write):
    model = read_model(write(5750.0, 4.5, -0.5, 1.5), "m")
    assert (model.node, model.vturb) == ((5750.0, 4.5, -0.5), 1.5)
    expected = grey(5750.0, 4.5, -0.5)
    layers = model.layers()
    np.testing.assert_allclose(np.exp(layers[:, [0, 2, 3]]), expected[:, [0, 2, 3]], rtol=1e-3)
    assert layers.shape[1] == (5 if write is marcs else 4)
    np.testing.assert_allclose(layers[:, 1], expected[:, 1], atol=0.06)


def test_metallicity_is_that_of_the_abundances():
    text = atlas(5000.0, 4.0, -1.0).replace("[-1.0]", "[-1.5A")
    assert read_model(text, "m").mh == -1.0


def test_a_node_is_its_own_model(tmp_path):
    grid = read_atmospheres(atmosphere_folder(tmp_path))
    made = grid(5500.0, 4.5, -1.0)
    expected = grey(5500.0, 4.5, -1.0)
    np.testing.assert_allclose(made.column_mass, expected[:, 0], rtol=1e-6)
    np.testing.assert_allclose(
        made.atoms, expected[:, 2] / (BOLTZMANN * expected[:, 1]) - expected[:, 3], rtol=2e-3, atol=1e8
    )
    assert not made.extrapolated


def test_mass_density_is_that_of_marcs_or_of_the_atoms(tmp_path):
    made = read_atmospheres(atmosphere_folder(tmp_path / "atlas"))(5500.0, 4.5, -1.0)
    np.testing.assert_allclose(made.density, made.atoms * MASS_PER_ATOM)
    (tmp_path / "marcs").mkdir()
    (tmp_path / "marcs" / "x.mod").write_text(marcs(5500.0, 4.5, -1.0))
    np.testing.assert_allclose(read_atmospheres(tmp_path / "marcs")(5500.0, 4.5, -1.0).density, 1e-9)


def test_between_nodes_each_layer_is_linear(tmp_path):
    grid = read_atmospheres(atmosphere_folder(tmp_path))
    made = grid(5125.0, 4.25, -0.25)
    corners = [
        wt * wg * wm * grey(t, g, m)[:, 1]
        for t, wt in ((5000.0, 0.75), (5500.0, 0.25))
        for g, wg in ((4.0, 0.5), (4.5, 0.5))
        for m, wm in ((-1.0, 0.25), (0.0, 0.75))
    ]
    np.testing.assert_allclose(made.temperature, sum(corners), atol=0.06)
    pressure = (made.atoms + made.electrons) * BOLTZMANN * made.temperature
    np.testing.assert_allclose(np.log(pressure / made.column_mass) / np.log(10), 4.25, atol=1e-3)


def test_a_hole_is_bridged_by_its_neighbours_in_gravity(tmp_path):
    folder = atmosphere_folder(tmp_path)
    (folder / "t5500g4.5m-1.0.krz").unlink()
    grid = read_atmospheres(folder)
    made = grid(5500.0, 4.5, -1.0)
    assert [model.logg for _, model in grid.corners(5500.0, 4.5, -1.0)[0]] == [4.0, 5.0]
    pressure = (made.atoms + made.electrons) * BOLTZMANN * made.temperature
    np.testing.assert_allclose(np.log10(pressure / made.column_mass), 4.5, atol=1e-3)


def test_labels_outside_are_listed_by_row(tmp_path):
    grid = read_atmospheres(atmosphere_folder(tmp_path))
    table = np.array([row(5200, 4.2, -0.5), row(4900, 4.2, -0.5), row(5200, 3.9, -0.5), row(5200, 4.2, 0.1)])
    with pytest.raises(DomainError, match=r"3 of 4 rows.*row 2.*teff = 4900.*row 3.*logg = 3.9.*row 4.*mh = 0.1"):
        grid.check(table)
    assert not grid.check(table[:1]).any()


def test_below_the_lowest_metallicity_the_lowest_models_are_taken_only_when_asked(tmp_path):
    folder = atmosphere_folder(tmp_path)
    with pytest.raises(DomainError, match=r"mh = -2\.6 is outside"):
        read_atmospheres(folder)(5800.0, 4.2, -2.6)
    grid = read_atmospheres(folder, extrapolate_mh=True)
    lowest = min(m for *_, m in grid.models)
    made, expected = grid(5800.0, 4.2, lowest - 0.6), grid(5800.0, 4.2, lowest)
    np.testing.assert_array_equal(made.temperature, expected.temperature)
    assert made.mh == lowest - 0.6
    with pytest.raises(DomainError, match=r"mh = 0\.9 is outside"):
        grid(5800.0, 4.2, 0.9)


def test_low_gravity_is_extrapolated_only_when_asked(tmp_path):
    folder = atmosphere_folder(tmp_path)
    (folder / "t6000g4.0m0.0.krz").unlink()
    with pytest.raises(DomainError, match=r"logg = 4.2 is outside 4.5 to 5 at teff = 6000, mh = 0"):
        read_atmospheres(folder)(5800.0, 4.2, 0.0)
    grid = read_atmospheres(folder, extrapolate_logg=True)
    made = grid(6000.0, 4.2, 0.0)
    assert made.extrapolated
    pressure = (made.atoms + made.electrons) * BOLTZMANN * made.temperature
    np.testing.assert_allclose(np.log10(pressure / made.column_mass), 4.2, atol=1e-3)
    assert grid.check(np.array([row(5800, 4.2, 0), row(5400, 4.2, 0)])).tolist() == [True, False]
    with pytest.raises(DomainError, match=r"logg = 5\.2"):
        grid(6000.0, 5.2, 0.0)


def test_a_model_without_its_top_layer_gets_one(tmp_path):
    folder = atmosphere_folder(tmp_path)
    (folder / "t5000g4.0m0.0.krz").write_text(atlas(5000.0, 4.0, 0.0, layers=grey(5000.0, 4.0)[1:]))
    made = read_atmospheres(folder)(5100.0, 4.1, -0.1)
    assert len(made.temperature) == len(grey(5000.0, 4.0))
    np.testing.assert_allclose(made.column_mass, grey(5000.0, 4.0)[:, 0], rtol=1e-4)
    (folder / "t5000g4.0m0.0.krz").write_text(atlas(5000.0, 4.0, 0.0, layers=grey(5000.0, 4.0)[2:]))
    with pytest.raises(FormatError, match=r"t5000g4.0m0.0.krz: 22 layers, but its neighbours have 24"):
        read_atmospheres(folder)(5100.0, 4.1, -0.1)


def test_models_of_another_microturbulence_are_left_out(tmp_path):
    folder = atmosphere_folder(tmp_path)
    (folder / "k0.krz").write_text(atlas(5000.0, 4.0, 0.5, vturb=0.0))
    grid = read_atmospheres(folder)
    assert len(grid.models) == 27
    assert grid.notes == ["1 of 28 models left out: vturb 0 instead of 2 km/s"]
    with pytest.raises(FormatError, match="no model atmosphere has vturb = 1 km/s; found: 0, 2"):
        read_atmospheres(folder, vturb=1.0)


def test_archive_gives_what_its_folder_gives(tmp_path):
    folder = atmosphere_folder(tmp_path / "models")
    (folder / "README").write_text("not a model")
    with tarfile.open(tmp_path / "models.tar.xz", "w:xz") as archive:
        archive.add(folder, "models")
    a, b = read_atmospheres(folder), read_atmospheres(tmp_path / "models.tar.xz")
    np.testing.assert_array_equal(a(5200.0, 4.3, -0.3).temperature, b(5200.0, 4.3, -0.3).temperature)
    assert a.digest == read_atmospheres(folder).digest
    (folder / "t5000g4.0m0.0.krz").write_text(atlas(5000.0, 4.0, 0.0).replace("PRADK 1.0", "PRADK 2.0"))
    assert a.digest != read_atmospheres(folder).digest


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.krz", "hello", "x.krz: not a model atmosphere"),
        ("x.krz", atlas(5000, 4).replace("GRAVITY", "G"), "x.krz: the header of the model lacks TEFF and GRAVITY"),
        (
            "x.mod",
            marcs(5000, 4).replace("+0.00 +0.00 Metal", "???? Metal"),
            "line 7 of a MARCS model must give the metal",
        ),
        ("x.krz", atlas(5000, 4, 0.0), "two models of teff 5000, logg 4, mh 0"),
        ("x.mod", marcs(5000, 3), "models of ATLAS9 and MARCS in one grid"),
    ],
)
def test_bad_files_are_named(tmp_path, name, text, message):
    folder = atmosphere_folder(tmp_path)
    (folder / name).write_text(text)
    with pytest.raises(FormatError, match=message):
        read_atmospheres(folder)


@pytest.mark.parametrize("damage", ["truncated", "nan", "order"])
def test_damaged_layers_are_refused_when_needed(tmp_path, damage):
    folder = atmosphere_folder(tmp_path)
    text = atlas(5000.0, 4.0)
    if damage == "truncated":
        text = text[: text.index("READ DECK") + 300]
    elif damage == "nan":
        text = text.replace(text.splitlines()[10].split()[1], "nan")
    else:
        text = atlas(5000.0, 4.0, layers=grey(5000.0, 4.0)[::-1])
    (folder / "t5000g4.0m0.0.krz").write_text(text)
    with pytest.raises(FormatError, match=r"t5000g4\.0m0\.0\.krz"):
        read_atmospheres(folder)(5000.0, 4.0, 0.0)


def test_nothing_to_read_is_an_error(tmp_path):
    with pytest.raises(FormatError, match="no such folder or archive"):
        read_atmospheres(tmp_path / "absent")
    with pytest.raises(FormatError, match="no model atmosphere in it"):
        read_atmospheres(tmp_path)
    (tmp_path / "x.tar").write_bytes(b"not a tar")
    with pytest.raises(FormatError, match=r"x\.tar: not a readable tar archive"):
        read_atmospheres(tmp_path / "x.tar")


@pytest.mark.shared
def test_the_grid_of_the_shared_library(shared):
    grid = read_atmospheres(shared / "data/atmospheres/ck04_odfnew.tar.xz")
    assert len(grid.models) == 3332
    assert grid.notes == ["476 of 3808 models left out: vturb 0 instead of 2 km/s"]
    assert sorted({m for *_, m in grid.models}) == [-2.5, -2.0, -1.5, -1.0, -0.5, 0.2, 0.5]
    assert len(grid(5250.0, 0.0, 0.5).temperature) == 71
    assert len(grid(5300.0, 0.1, 0.4).temperature) == 72
