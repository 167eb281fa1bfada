"""Text as people write it: missing values, decimal commas, delimiters, units in the names of columns."""

import gzip

import astropy.units as u
import numpy as np
import pytest
from astropy.table import Table

import observatory
from maury.errors import FormatError
from maury.readers import read
from maury.wavelengths import air_to_vacuum

WAVE = np.round(observatory.linear(), 4)
FLUX = np.round(observatory.truth(WAVE), 5)


def lines(path, *, joint=",", missing=None, header="wavelength,flux,sigma", comma=False):
    """A text file; the flux of every hundredth pixel is missing."""
    rows = []
    for number, (wave, flux) in enumerate(zip(WAVE, FLUX, strict=True)):
        words = [f"{wave:.4f}", f"{flux:.5f}", "0.01000"]
        if missing is not None and number % 100 == 7:
            words[1] = missing
        rows.append(joint.join(word.replace(".", ",") if comma else word for word in words))
    path.write_text("\n".join([header, *rows, ""]))
    return path


def check(seen, masked):
    order = seen.single()
    assert order.mask.sum() == masked
    np.testing.assert_allclose(order.wavelength_aa, WAVE, atol=1e-4)
    np.testing.assert_allclose(order.flux[~order.mask], FLUX[~order.mask], atol=1e-5)
    assert order.sigma is not None


@pytest.mark.parametrize("missing", ["", "null", "NaN", "--", "N/A", "nan", "None", "-", "INDEF", "***", "?"])
@pytest.mark.parametrize("joint", [",", ";", "\t"])
def test_missing_values_are_masked(missing, joint, tmp_path):
    path = lines(tmp_path / "a.txt", joint=joint, missing=missing, header=joint.join(("wavelength", "flux", "sigma")))
    check(read(path), masked=len(WAVE) // 100)
    if missing:
        check(read(lines(path, joint="  ", missing=missing, header="# wavelength flux sigma")), masked=len(WAVE) // 100)


def test_the_first_pixel_may_be_missing(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(
        "wavelength,flux\n"
        + "\n".join(f"{w:.3f},{'' if i < 3 else f}" for i, (w, f) in enumerate(zip(WAVE, FLUX, strict=True)))
    )
    order = read(path).single()
    assert order.mask[:3].all()
    assert order.flux.size == WAVE.size


@pytest.mark.parametrize("joint", [";", "\t", " ", " ; "])
def test_decimal_commas_are_read(joint, tmp_path):
    path = lines(tmp_path / "a.txt", joint=joint, comma=True, header=joint.join(("wavelength", "flux", "sigma")))
    seen = read(path)
    check(seen, masked=0)
    assert any("decimal commas" in rule for rule in seen.provenance["rules"])


@pytest.mark.parametrize("header", ["", "# star\n\n"])
def test_decimal_commas_without_names(header, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text(header + "\n".join(f"{w:.3f} {f:.4f}".replace(".", ",") for w, f in zip(WAVE, FLUX, strict=True)))
    np.testing.assert_allclose(read(path).single().flux, FLUX, atol=1e-4)


def test_a_word_among_numbers_is_still_refused(tmp_path):
    path = lines(tmp_path / "a.txt", missing="bad!")
    with pytest.raises(FormatError, match=r"line 9: .*bad!.* is not all numbers"):
        read(path)


VACUUM = air_to_vacuum(WAVE)


@pytest.mark.parametrize(
    ("name", "values", "medium"),
    [
        ("wave_nm", WAVE / 10, "air"),
        ("lambda[um]", WAVE / 1e4, "air"),
        ("wavelength (nm)", WAVE / 10, "air"),
        ("wavelength/Angstrom", WAVE, "air"),
        ("wavenumber (cm-1)", 1e8 / VACUUM, "vacuum"),
        ("wavenumber", 1e8 / VACUUM, "vacuum"),
        ("wavn [1/cm]", 1e8 / VACUUM, "vacuum"),
        ("frequency (THz)", 2.99792458e6 / VACUUM, "vacuum"),
        ("freq_GHz", 2.99792458e9 / VACUUM, "vacuum"),
        ("energy (eV)", 12398.41984 / VACUUM, "vacuum"),
        ("nu_cm-1", 1e8 / VACUUM, "vacuum"),
        ("k (kayser)", 1e8 / VACUUM, "vacuum"),
        ("sigma(cm^-1)", 1e8 / VACUUM, "vacuum"),
        ("wavenumber_m-1", 1e10 / VACUUM, "vacuum"),
        ("x[nm]", WAVE / 10, "air"),
    ],
)
@pytest.mark.parametrize("form", ["text", "csv"])
def test_units_in_names_of_columns_are_used(name, values, medium, form, tmp_path):
    path, joint = tmp_path / "a", {"text": " ", "csv": ","}[form]
    rows = "\n".join(f"{value:.9g}{joint}{flux:.5f}" for value, flux in zip(values, FLUX, strict=True))
    path.write_text(("# " if form == "text" else "") + f"{name}{joint}flux\n{rows}\n")
    seen = read(path)
    assert seen.provenance["medium"] == medium
    np.testing.assert_allclose(np.sort(seen.single().wavelength_aa), WAVE, atol=2e-4)


@pytest.mark.parametrize("name", ["k (kayser)", "sigma (cm-1)", "k_cm-1", "nu_cm-1"])
def test_infrared_wavenumbers_are_not_angstrom_whatever_the_column_is_called(name, tmp_path):
    rows = "\n".join(f"{value:.5f},{flux:.5f}" for value, flux in zip(WAVE, FLUX, strict=True))
    (tmp_path / "a").write_text(f"{name},flux\n{rows}\n")
    wave = read(tmp_path / "a").single().wavelength_aa
    assert wave.min() == pytest.approx(1e8 / WAVE.max(), rel=1e-3)
    with pytest.raises(FormatError, match="5050 to 5350 Å is needed"):
        read(tmp_path / "a", window_aa=(5050, 5350))


@pytest.mark.parametrize("name", ["v_kms", "RV (km/s)"])
def test_velocities_that_could_be_angstrom_are_refused(name, tmp_path):
    rows = "\n".join(f"{value:.5f},{flux:.5f}" for value, flux in zip(WAVE, FLUX, strict=True))
    (tmp_path / "a").write_text(f"{name},flux\n{rows}\n")
    with pytest.raises(FormatError, match="are a velocity"):
        read(tmp_path / "a")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "latin-1"])
def test_encodings_of_spreadsheets(encoding, tmp_path):
    rows = "\r\n".join(f"{value:.5f}\t{flux:.5f}" for value, flux in zip(WAVE, FLUX, strict=True))
    (tmp_path / "a.txt").write_bytes(f"wavelength (Å)\tflux\r\n{rows}\r\n".encode(encoding))
    np.testing.assert_allclose(read(tmp_path / "a.txt").single().flux, FLUX, atol=1e-5)


@pytest.mark.parametrize("shape", ["rows", "vector", "gzip"])
def test_votables(shape, tmp_path):
    """Units, a content descriptor and several stars, as in FITS tables."""
    columns = {"wave": VACUUM / 10 * u.nm, "flux": FLUX, "note": np.full(WAVE.size, "x")}
    if shape == "vector":
        columns = {name: column[None] for name, column in columns.items() if name != "note"}
    table = Table(columns)
    table["wave"].info.meta = {"ucd": "em.wl"}
    path = tmp_path / "a.vot"
    table.write(path, format="votable")
    if shape == "gzip":
        path.write_bytes(gzip.compress(path.read_bytes()))
    seen = read(path)
    assert seen.provenance["medium"] == "vacuum"
    assert seen.provenance["medium_assumed"]
    np.testing.assert_allclose(seen.single().wavelength_aa, WAVE, atol=2e-4)
    np.testing.assert_allclose(seen.single().flux, FLUX, atol=1e-5)


def test_votables_of_several_stars_and_of_none(tmp_path):
    stars = Table({"star": ["a", "b", "c"], "wave": np.array([WAVE] * 3) * u.AA, "flux": np.array([FLUX] * 3)})
    stars.write(tmp_path / "a.vot", format="votable")
    with pytest.raises(FormatError, match=r"choose one by fibre \(a, b, c\)"):
        read(tmp_path / "a.vot")
    Table({"a": ["x"], "b": [1]}).write(tmp_path / "b.vot", format="votable")
    with pytest.raises(FormatError, match=r"no spectrum \(table with columns a, b"):
        read(tmp_path / "b.vot")
    (tmp_path / "c.vot").write_bytes((tmp_path / "a.vot").read_bytes()[:900])
    with pytest.raises(FormatError, match="damaged or not understood"):
        read(tmp_path / "c.vot")


@pytest.mark.parametrize("name", ["velocity (km/s)", "velocity_kms", "vel[km/s]", "pixel"])
def test_other_axes_are_refused_by_name(name, tmp_path):
    rows = "\n".join(f"{value:.5f} {flux:.5f}" for value, flux in zip(WAVE - 5200, FLUX, strict=True))
    (tmp_path / "a").write_text(f"# {name} flux\n{rows}\n")
    with pytest.raises(FormatError, match=r"not wavelengths|optical wavelengths") as caught:
        read(tmp_path / "a")
    assert "vel" not in name or "velocity" in str(caught.value)


def test_a_velocity_beside_wavelengths_is_no_axis(tmp_path):
    rows = "\n".join(f"{w - 5200:.5f} {w:.4f} {flux:.5f}" for w, flux in zip(WAVE, FLUX, strict=True))
    (tmp_path / "a").write_text(f"# velocity wavelength flux\n{rows}\n")
    np.testing.assert_allclose(read(tmp_path / "a").single().wavelength_aa, WAVE, atol=1e-4)
