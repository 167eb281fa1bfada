"""Cache of each star's derivatives in the folder of the results, from which an interrupted calibration resumes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import zipfile
from pathlib import Path

import numpy as np
from scipy import sparse

from maury import __version__
from maury.files import atomic_path, sha256
from maury.lines.calibrate import Calibration
from maury.lines.response import Response, count_jobs

FOLDER = "derivatives"

_OF_THE_PIXELS = {"role", "file", "reading", "resolution", "velocity_kms", "vsini", "vmac", "sigma", "widths"}
"""Settings of a star that do not change its intrinsic spectrum."""


def all_responses(run: Calibration, folder: str | os.PathLike[str]) -> dict[str, Response]:
    """Derivatives of all stars by name: read from the cache if inputs are the same, else computed and written.

    The subfolder ``derivatives`` of ``folder`` has a file for each star.

    Raises:
        OutputError: a file cannot be written.
        SynthesisError: a spectrum failed twice.
    """
    inputs = _inputs(run)
    responses = {}
    for star in run.config.stars:
        digest = hashlib.sha256((inputs + star.model_dump_json(exclude=_OF_THE_PIXELS)).encode()).hexdigest()
        path = Path(folder) / FOLDER / f"{re.sub(r'[^A-Za-z0-9]+', '_', star.name)}-{digest[:16]}.npz"
        found = _read(path)
        if found is None:
            found = run.respond(star)
            _write(found, path)
        else:
            run.advance(count_jobs(run.table))
        responses[star.name] = found
    return responses


def _inputs(run: Calibration) -> str:
    """Inputs that all stars share, with the hash of each file, as JSON."""
    config = run.config
    digests = [sha256(path) for path in config.physics.files()]
    lists = [sha256(run.lines.path), run.cool.digest if run.cool else "", run.atmospheres.digest]
    physics = config.physics.placed(os.path.basename).model_dump(mode="json")
    return json.dumps([__version__, lists, digests, physics, config.window], sort_keys=True)


def _write(response: Response, path: Path) -> None:
    lines = response.lines
    arrays = {"flux": response.flux, "strength": response.strength, "shape": np.array(lines.shape)}
    arrays |= {"data": lines.data, "indices": lines.indices, "indptr": lines.indptr}
    arrays |= {f"label {name}": values for name, values in response.labels.items()}
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]


def _read(path: Path) -> Response | None:
    """Derivatives from a file; None where there is none, or a damaged one."""
    try:
        with np.load(path) as stored:
            arrays = dict(stored)
        parts = (arrays["data"], arrays["indices"], arrays["indptr"])
        lines = sparse.csc_array(parts, shape=tuple(arrays["shape"]))
        labels = {name.removeprefix("label "): arrays[name] for name in arrays if name.startswith("label ")}
        return Response(arrays["flux"], lines, labels, arrays["strength"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
