"""Building a grid: against broadening in velocity space, the same bytes after any interruption, full disks."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline
from scipy.signal import fftconvolve

from fakes import GRID, line_profiles, tiny_emulator
from maury.broadening import FWHM_PER_SIGMA
from maury.designs import VMIC_KMS
from maury.emulator import Emulator
from maury.errors import ConfigError, DomainError, MauryError, OutputError
from maury.grids import GridConfig, build_grid, open_grid, spc
from maury.labels import INTRINSIC, LabelSpace
from maury.wavelengths import C_KMS, founding_wavelengths

DIGEST = "ab" * 32
SMALL = GridConfig(teff=(5000, 5500), logg=(4, 5), mh=(0, 0.5), vsini=(0, 2))


@pytest.fixture(scope="module")
def emulator() -> Emulator:
    return tiny_emulator()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, emulator: Emulator) -> bytes:
    """Bytes of an uninterrupted build of `SMALL`: three shards of 18 spectra."""
    path = tmp_path_factory.mktemp("whole") / "new" / "folder" / "grid.h5"
    build_grid(path, emulator, DIGEST, SMALL)
    assert os.listdir(path.parent) == ["grid.h5"]
    return path.read_bytes()


def _broadened(flux: np.ndarray, step_kms: float, vsini_kms: float, resolution: float, darkening: float) -> np.ndarray:
    """Convolve in velocity space with Gray's rotation profile and a Gaussian, on a fine grid."""
    sigma = C_KMS / resolution / FWHM_PER_SIGMA
    half = int(7 * sigma / step_kms)
    kernels = [np.exp(-0.5 * (np.arange(-half, half + 1) * step_kms / sigma) ** 2)]
    if vsini_kms:
        half = int(vsini_kms / step_kms)
        y = np.clip(1 - (np.arange(-half, half + 1) * step_kms / vsini_kms) ** 2, 0, None)
        kernels.append(2 * (1 - darkening) * np.sqrt(y) + np.pi / 2 * darkening * y)
    depth = 1 - flux
    for kernel in kernels:
        depth = fftconvolve(depth, kernel / kernel.sum(), mode="same")
    return 1 - depth


@pytest.mark.parametrize(
    ("pixels", "resolution", "darkening", "vsini"),
    [(7447, 44_000.0, 0.6, (0, 0)), (7447, 44_000.0, 0.6, (8, 8)), (29_788, 60_000.0, 0.3, (200, 200))],
)
def test_agrees_with_direct_convolution(
    tmp_path: Path,
    emulator: Emulator,
    pixels: int,
    resolution: float,
    darkening: float,
    vsini: tuple[float, float],
) -> None:
    config = GridConfig(
        pixels=pixels,
        resolution=resolution,
        limb_darkening=darkening,
        teff=(5750, 5750),
        logg=(4.5, 4.5),
        mh=(0, 0),
        vsini=vsini,
    )
    build_grid(tmp_path / "grid.h5", emulator, DIGEST, config)
    grid = open_grid(tmp_path / "grid.h5")
    assert grid.labels.tolist() == [[5750, 4.5, 0, vsini[0]]]
    labels = torch.tensor([[5750, 4.5, 0, 2.0, 0, 0, 0, 0, 0, 0]])
    coefficients = emulator.coefficients(labels)[0].numpy()
    assert np.abs(coefficients).max() > 0.05
    step = 0.05
    velocity = np.arange(0, GRID.size, step)
    profiles = line_profiles(velocity)
    flux = _broadened(profiles[0] + coefficients @ profiles[1:], step, vsini[0], resolution, darkening)
    wanted = CubicSpline(velocity, flux)(GRID.position(founding_wavelengths(29_788)[0]) * GRID.step_kms)
    got = grid.read_flux()[0] * grid.scale
    assert np.abs(got - wanted.reshape(pixels, -1).mean(1)).max() < 1e-4
    if vsini[0]:
        assert got.std() < 0.97 * profiles[0].std()


def test_every_spectrum_belongs_to_its_labels(tmp_path: Path, emulator: Emulator, whole: bytes) -> None:
    path = tmp_path / "grid.h5"
    path.write_bytes(whole)
    grid = open_grid(path)
    np.testing.assert_array_equal(grid.labels, spc.labels(SMALL))
    intrinsic = np.zeros((len(grid), len(INTRINSIC)))
    intrinsic[:, :3], intrinsic[:, 3] = grid.labels[:, :3], VMIC_KMS
    sampler = emulator.sampler(founding_wavelengths(29_788)[0], average=4)
    wanted = emulator.flux(
        torch.from_numpy(intrinsic).float(),
        torch.from_numpy(grid.labels[:, 3]).float(),
        torch.full((len(grid),), 44_000.0),
        sampler,
    )
    got = grid.read_flux() * grid.scale
    assert np.abs(got - wanted.numpy()).max() < 6e-5
    assert (np.abs(np.diff(got, axis=0)).max(axis=1) > 1e-3).all()


def test_provenance_is_in_the_file(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / "grid.h5"
    path.write_bytes(whole)
    grid = open_grid(path)
    assert grid.attributes["emulator_digest"] == DIGEST
    assert GridConfig.model_validate_json(grid.attributes["settings"]) == SMALL
    assert (grid.resolution, grid.attributes["limb_darkening"], grid.attributes["preset"]) == (44_000, 0.6, "spc")


def test_bytes_do_not_depend_on_cores(
    tmp_path: Path, emulator: Emulator, whole: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = torch.get_num_threads()
    for cores in (1, 3):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        build_grid(tmp_path / "grid.h5", emulator, DIGEST, SMALL)
        assert (tmp_path / "grid.h5").read_bytes() == whole
    assert torch.get_num_threads() == threads


_KILLED = """
import os, signal, sys
from fakes import tiny_emulator
from maury.grids import build, build_grid, GridConfig


done = 0
def advance(count):
    global done
    done += count
    if done > int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

write_grid = build.write_grid
def write(path, wavelength, labels, chunks, *rest):
    def some():
        for row, chunk in enumerate(chunks):
            if row == 20:
                os.kill(os.getpid(), signal.SIGKILL)
            yield chunk
    write_grid(path, wavelength, labels, some(), *rest)
build.write_grid = write

build_grid(sys.argv[1], tiny_emulator(), "ab" * 32, GridConfig.model_validate_json(sys.argv[3]), advance)
"""


@pytest.mark.parametrize(("spectra", "shards"), [(24, 1), (1000, 3)])
def test_same_bytes_after_a_kill(tmp_path: Path, emulator: Emulator, whole: bytes, spectra: int, shards: int) -> None:
    """Killed in the second shard, or (1000) while the shards are joined."""
    path = tmp_path / "grid.h5"
    command = [sys.executable, "-c", _KILLED, str(path), str(spectra), SMALL.model_dump_json()]
    killed = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)}, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert os.listdir(tmp_path) == [".grid.h5.shards"]
    assert len(list((tmp_path / ".grid.h5.shards").glob("*.npz"))) == shards
    messages: list[str] = []
    seen: list[int] = []
    build_grid(path, emulator, DIGEST, SMALL, seen.append, messages.append)
    assert path.read_bytes() == whole
    assert sum(seen) == 54
    assert messages == [f"resuming an interrupted build: {shards} of 3 parts are there"]
    assert os.listdir(tmp_path) == ["grid.h5"]


class StopError(Exception):
    """Ends a build after its first shard."""


def _interrupt(path: Path, emulator: Emulator, config: GridConfig) -> None:
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if done > 18:
            raise StopError

    with pytest.raises(StopError):
        build_grid(path, emulator, DIGEST, config, advance)
    assert (path.parent / f".{path.name}.shards" / "00000.npz").is_file()


def test_shards_of_other_settings_are_not_used(tmp_path: Path, emulator: Emulator, whole: bytes) -> None:
    path = tmp_path / "grid.h5"
    _interrupt(path, emulator, SMALL.model_copy(update={"resolution": 20_000.0}))
    messages: list[str] = []
    build_grid(path, emulator, DIGEST, SMALL, notify=messages.append)
    assert messages == ["an interrupted build with other settings or inputs was found: starting anew"]
    assert path.read_bytes() == whole


def test_a_damaged_shard_is_made_again(tmp_path: Path, emulator: Emulator, whole: bytes) -> None:
    path = tmp_path / "grid.h5"
    _interrupt(path, emulator, SMALL)
    shard = tmp_path / ".grid.h5.shards" / "00000.npz"
    shard.write_bytes(shard.read_bytes()[:5000])
    build_grid(path, emulator, DIGEST, SMALL)
    assert path.read_bytes() == whole


@pytest.mark.parametrize(("limit", "left"), [(20_000, []), (300_000, [".grid.h5.shards"])])
def test_a_full_disk_is_one_line_and_can_be_resumed(
    tmp_path: Path, emulator: Emulator, whole: bytes, limit: int, left: list[str]
) -> None:
    """A limit on the size of files stands in for the disk: too small for a shard, or for the joined grid alone."""
    path = tmp_path / "grid.h5"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(OutputError, match=r"grid\.h5: cannot be written: File too large") as caught:
            build_grid(path, emulator, DIGEST, SMALL)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(caught.value) == f"{path}: cannot be written: File too large"
    assert os.listdir(tmp_path) == left
    build_grid(path, emulator, DIGEST, SMALL)
    assert path.read_bytes() == whole
    assert os.listdir(tmp_path) == ["grid.h5"]


def test_unwritable_outputs_fail_before_the_work(tmp_path: Path, emulator: Emulator) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "grid.h5", tmp_path):
        with pytest.raises(OutputError, match="cannot be written"):
            build_grid(path, emulator, DIGEST, SMALL, lambda count: pytest.fail("worked"))
    assert os.listdir(tmp_path) == ["file"]


def test_nodes_outside_the_emulator_are_refused(tmp_path: Path) -> None:
    emulator = tiny_emulator()
    whole = emulator.space
    emulator.space = LabelSpace(whole.names, (4000.0, *whole.lower[1:]), (5300.0, *whole.upper[1:]))
    with pytest.raises(DomainError, match="teff = 5500 K is outside the allowed range 4000 to 5300"):
        build_grid(tmp_path / "grid.h5", emulator, DIGEST, SMALL)
    assert not (tmp_path / "grid.h5").exists()


def test_an_emulator_of_nonsense_is_named(tmp_path: Path) -> None:
    emulator = tiny_emulator()
    emulator.mean *= torch.nan
    with pytest.raises(DomainError, match=r"node teff 5000, logg 4, mh 0: .*nan"):
        build_grid(tmp_path / "grid.h5", emulator, DIGEST, SMALL)
    assert os.listdir(tmp_path) == []


def test_empty_ranges_are_refused(tmp_path: Path, emulator: Emulator) -> None:
    with pytest.raises(ConfigError) as caught:
        build_grid(tmp_path / "grid.h5", emulator, DIGEST, GridConfig(teff=(9500, 9750), logg=(0, 1)))
    assert isinstance(caught.value, MauryError)
