"""Write the model card of a network that gives a posterior, from its header."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maury.config import to_toml
from maury.labels import LABELS


def model_card(header: Mapping[str, Any]) -> str:
    """Model card of a network as Markdown: domain, training data, figures, limits."""
    first, last = header["wavelength"]
    figures, training = header["validation"], header["training"]
    stars = header["epochs"] * training["steps"] * training["batch_size"] * training["devices"]
    return "\n".join(
        [
            f"# {header['preset']}",
            "",
            f"Infers the posterior of {', '.join(header['labels']['names'])} from a prepared spectrum. "
            f"maury {header['maury']}.",
            "",
            "## Domain",
            "",
            f"{first:.1f} to {last:.1f} Å (air), rest frame, normalised; {header['pixels']['count']:,} pixels of "
            f"{header['pixels']['grid']['step_kms']:.3g} km/s; R up to {header['resolution']:,.0f}, to which spectra "
            "of higher R are degraded. The posterior lies within these ranges:",
            "",
            *_ranges(header),
            "",
            "## Data",
            "",
            f"{stars:,} observations, simulated during training, each used once; SHA-256 of the emulator: "
            f"{header['emulator'] or 'unknown'}.",
            "",
            f"{header['epochs']} epochs (stopped by {header['stopped']}), weights of epoch {header['best_epoch']}. "
            "Settings:",
            "",
            "```toml",
            to_toml(training).strip(),
            "```",
            "",
            "## Figures",
            "",
            f"On {figures['spectra']:,} simulated observations not used in training, with the stored, rounded weights: "
            f"negative log density {figures['nll']:.3f} nats, mean absolute error of normalised labels "
            f"{figures['mae']:.4f}.",
            "",
            "| label | 68 % of stars within | unit | inside the central 68.3 % |",
            "|---|---|---|---|",
            *(
                f"| {name} | {value:.3g} | {LABELS[name].unit} | {header['validation']['coverage'][name]:.3f} |"
                for name, value in header["typical_errors"].items()
            ),
            "",
            "## Limits",
            "",
            "These errors are valid for spectra like the simulated ones. The simulation does not include errors of the "
            "physics beyond its model errors, binaries, emission and peculiar stars; the network itself does not "
            "recognise such spectra. Rotation and macroturbulence are degenerate below about one resolution element.",
            "",
        ]
    )


def _ranges(header: Mapping[str, Any]) -> list[str]:
    labels = header["labels"]
    rows = [
        f"| {name} | {low:g} | {high:g} | {LABELS[name].unit} |"
        for name, low, high in zip(labels["names"], labels["lower"], labels["upper"], strict=True)
    ]
    note = ["", "The lowest and the highest log g depend on Teff."] if header["prior"]["edges"] else []
    return ["| label | from | to | unit |", "|---|---|---|---|", *rows, *note]
