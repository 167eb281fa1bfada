"""From files of every family of formats to the velocity and the normalised flux of a star that is known."""

from __future__ import annotations

import numpy as np
import pytest

import observatory
from maury.preparation import prepare
from maury.preparation.velocity import LINE_SHIFT_KMS
from maury.readers import read
from maury.wavelengths import C_KMS
from nights import SUN, star_flux

RESOLUTION = 60_000.0
VELOCITY = -43.21


def sun(air_aa: np.ndarray) -> np.ndarray:
    """The Sun at -43.21 km/s, its lines shifted as they are, in place of the observatory's star of Gaussian lines."""
    rest = np.asarray(air_aa, float) / (1 + (VELOCITY + LINE_SHIFT_KMS) / C_KMS)
    return star_flux(SUN, rest.ravel(), RESOLUTION).reshape(rest.shape)


FAMILIES = (
    observatory.linear_fits,
    observatory.vacuum_log10,
    observatory.hermes_ln,
    observatory.uves_popler,
    observatory.sdss_coeff,
    observatory.ispec_fits,
    observatory.galah,
    observatory.harps_s1d,
    observatory.harps_e2ds,
    observatory.makee,
    observatory.eso_phase3,
    observatory.espresso_s1d,
    observatory.espresso_s2d,
    observatory.carmenes,
    observatory.pepsi,
    observatory.lamost_table,
    observatory.specmatch,
    observatory.hires,
    observatory.apf_raw,
    observatory.text_wavelength_file,
    observatory.salt,
    observatory.tres_hdf5,
    observatory.multispec_chebyshev,
    observatory.carpy,
    observatory.espadons_fits,
    observatory.polarbase_text,
    observatory.ceres,
    observatory.chiron,
    observatory.csv_micron,
    observatory.ecsv,
)
"""One of each family; what its variants read as is tested with the readers."""


@pytest.mark.parametrize("write", FAMILIES, ids=lambda write: write.__name__)
def test_velocity_and_flux_come_out_of_every_family(write, tmp_path, monkeypatch):
    """S/N 100: velocity to 0.1 km/s, flux to 1.5 % rms, noise included; sigma as of the file or measured."""
    monkeypatch.setattr(observatory, "truth", sun)
    expected = write(tmp_path)
    seen = read(expected.path, **(expected.hints or {}))
    result = prepare(seen, resolution=RESOLUTION)
    lines = LINE_SHIFT_KMS if seen.frame == "rest" else 0.0  # at rest is where the lines are in the laboratory
    assert result.velocity_kms == pytest.approx(VELOCITY + lines, abs=0.1)
    spectrum = result.spectrum
    good = ~spectrum.mask
    wrong = (spectrum.flux - star_flux(SUN, spectrum.wavelength_aa, RESOLUTION))[good]
    assert np.sqrt(np.mean(wrong**2)) < 0.015
    assert abs(np.mean(wrong)) < 0.003
    assert np.std(wrong / spectrum.sigma[good]) == pytest.approx(1, abs=0.2)
    first, last = np.clip(np.array(seen.span_aa) / (1 + VELOCITY / C_KMS), 5050, 5350)
    assert result.coverage_aa == pytest.approx(last - first, abs=2)
    source = "noise of the file" if expected.sigma else "noise measured"
    assert any(note.startswith(source) for note in result.notes)
    assumed = any("wavelengths assumed" in rule or "CTYPE1 = WAVE" in rule for rule in seen.provenance["rules"])
    wanted = {
        "medium_assumed": assumed,
        "short_coverage": last - first < 0.98 * 300,
    }
    assert set(result.flags) == {name for name, raised in wanted.items() if raised}
