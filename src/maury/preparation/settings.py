"""Settings of a preparation that are checked before any spectrum is read."""

from __future__ import annotations

from collections.abc import Sequence

from maury.errors import ConfigError
from maury.preparation.masks import ordered
from maury.preparation.search import FASTEST_KMS
from maury.readers import ReadOptions


def check_settings(
    resolution: float | None = None,
    velocity_kms: float | None = None,
    step_kms: float | None = None,
    mask: Sequence[tuple[float, float]] = (),
    velocity_range_kms: tuple[float, float] | None = None,
) -> None:
    """Check what does not depend on the spectrum.

    Raises:
        ConfigError: a setting is out of its range.
    """
    ReadOptions(resolution=resolution)
    if velocity_kms is not None and not abs(velocity_kms) <= FASTEST_KMS:
        raise ConfigError(f"velocity {velocity_kms:g} km/s: must be between -1500 and 1500", parameter="velocity_kms")
    if velocity_range_kms is not None:
        low, high = velocity_range_kms
        if not -FASTEST_KMS <= low <= high - 2 <= FASTEST_KMS - 2:
            raise ConfigError(
                f"velocity range {low:g} to {high:g} km/s: must be within -1500 to 1500, and 2 wide or more",
                parameter="velocity_range_kms",
            )
    if step_kms is not None and not 0.2 <= step_kms <= 20:
        raise ConfigError(f"pixel of {step_kms:g} km/s: must be between 0.2 and 20")
    ordered(mask)
