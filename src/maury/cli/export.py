"""`maury export`: a network's point estimate and embedding for programs without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from maury.cli import options


def export(
    model: options.ModelArgument,
    onnx: Annotated[Path, options.of("FILE", "ONNX file to write.", "--onnx")],
) -> None:
    """Write a network's point estimate and embedding as an ONNX file, checked against torch.

    For a network with a posterior the point estimate is the median of each label, which the network gives without
    sampling, with its 16, 50, 84 and 95 % quantiles; nothing is refined. Labels are in their units. The embedding is
    the output of the embedding network. The file's metadata describe inputs and outputs. The file is run with
    onnxruntime before it is written, and refused if it differs from torch by more than 1e-4 of a label's range. Needs
    the extra onnx: pip install 'maury[onnx]'

    Example: `maury export default --onnx default.onnx`
    """
    from rich.table import Table

    from maury.cli.console import out
    from maury.files import check_writable
    from maury.networks.exported import TOLERANCE, export_onnx

    check_writable(onnx)
    done = export_onnx(model, onnx)
    table = Table("", "name", "shape", "largest difference from torch", title=f"{onnx}  (model {model})")
    table.title_justify = "left"
    for name, shape in done.inputs.items():
        table.add_row("input", name, _shown(shape), "")
    for name, shape in done.outputs.items():
        of = "of the largest" if name == "embedding" else "of the range"
        table.add_row("output", name, _shown(shape), f"{done.difference[name]:.1e} {of}")
    out.print(table)
    largest = max(done.difference.values())
    out.print(f"{onnx}: {onnx.stat().st_size / 1e6:.1f} MB; largest difference {largest:.1e}, allowed {TOLERANCE:.0e}")


def _shown(shape: tuple[str | int, ...]) -> str:
    return f"({', '.join(map(str, shape))})"
