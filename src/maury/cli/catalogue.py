"""`maury predict --catalog`: stellar parameters of any number of spectra, with progress on the screen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maury.catalogue import CatalogueConfig

_REASONS = 5


def predict_catalogue(
    source: str,
    output: Path,
    config: CatalogueConfig,
    workers: int = 1,
    ray: str | None = None,
    fresh: bool = False,
    retry: bool = False,
) -> None:
    """Run a catalogue with throughput and time left on the screen, and say what came out."""
    from maury.catalogue import run_catalogue
    from maury.cli.console import err, out, progress

    with progress() as bar:
        task = bar.add_task("checking the catalogue", total=None)
        rejected = 0

        def start(total: int, results: int, rejects: int) -> None:
            nonlocal rejected
            rejected = rejects
            bar.remove_task(task)
            shown.append(bar.add_task("spectra", total=total, completed=results + rejects))

        def advance(results: int, rejects: int) -> None:
            nonlocal rejected
            rejected += rejects
            bar.advance(shown[0], results + rejects)
            speed = bar.tasks[-1].finished_speed or bar.tasks[-1].speed
            rate = f", {speed:,.1f}/s" if speed is not None else ""
            bar.update(shown[0], description=f"spectra{rate}, {rejected:,} rejected")

        shown: list[Any] = []
        summary = run_catalogue(
            source,
            output,
            config,
            workers=workers,
            ray=ray,
            fresh=fresh,
            retry=retry,
            start=start,
            advance=advance,
            notify=lambda message: err.print(message, markup=False),
        )
    rate = f"; {summary.made:,} in {summary.seconds:.1f} s, {summary.made / summary.seconds:,.0f}/s"
    out.print(f"{output}: {summary.results:,} spectra{rate if summary.made else ', all of them there already'}")
    if summary.rejects:
        _show_rejects(output, summary.rejects)


def _show_rejects(output: Path, count: int) -> None:
    from itertools import islice

    from maury.catalogue.parts import REJECTS, each_reject
    from maury.cli.console import err

    err.print(f"{count:,} rejected; {output / REJECTS} lists them:", markup=False)
    for reject in islice(each_reject(output), _REASONS):
        err.print(f"  {reject['id']}: {reject['reason']}", markup=False)
    if count > _REASONS:
        err.print(f"  and {count - _REASONS:,} more", markup=False)
