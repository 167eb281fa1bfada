"""`maury networks`: the networks that ship with maury, and their layers."""

from __future__ import annotations

from typing import Annotated

import typer

from maury.cli import options

app = typer.Typer(help="The networks: spectrum -> stellar parameters.", no_args_is_help=True)


@app.command("list")
def list_networks() -> None:
    """List presets, which can be trained, and packaged models, which can predict.

    Example: `maury networks list`
    """
    from rich.table import Table

    from maury.cli.console import out
    from maury.networks import layer_table, packaged_networks
    from maury.training.recipes import preset_names, read_preset

    presets = Table("preset", "labels", "pixels", "weights", title="Presets: maury train --preset NAME")
    for name in preset_names():
        network = read_preset(name).network
        weights = sum(layer.weights for layer in layer_table(network))
        presets.add_row(name, ", ".join(network.labels), f"{network.pixels:,}", f"{weights:,}")
    out.print(presets)
    models = Table("model", "labels", "trained on", "MSE", "MAE", "epochs", title="Packaged models")
    for name, header in packaged_networks().items():
        figures = header.get("validation", {})
        cells = [f"{figures[key]:.5f}" if key in figures else "" for key in ("mse", "mae")]
        models.add_row(
            name,
            ", ".join(header["labels"]["names"]),
            header.get("split", "simulated"),
            *cells,
            str(header.get("epochs", "")),
        )
    out.print(models if models.row_count else "No packaged models.")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A preset, a packaged model, a run's folder or a network file.")],
    pixels: Annotated[int | None, options.of("", "Pixels of the input instead of the preset's.", min=4)] = None,
) -> None:
    """Print the layers with the shape of their outputs and their weights.

    Example: `maury networks show starnet-spc`
    """
    from rich.table import Table

    from maury.cli.console import out
    from maury.networks import layer_table, load
    from maury.training.recipes import preset_names, read_preset

    network = read_preset(name).network if name in preset_names() else load(name)[0].config
    if pixels is not None:
        network = network.model_copy(update={"pixels": pixels})
    layers = layer_table(network)
    table = Table(title=f"{name}: {', '.join(network.labels)}", show_footer=True)
    table.add_column("layer", "total")
    table.add_column("output shape", justify="right")
    table.add_column("weights", f"{sum(layer.weights for layer in layers):,}", justify="right")
    for layer in layers:
        table.add_row(layer.name, f"({', '.join(map(str, layer.shape))})", f"{layer.weights:,}")
    out.print(table)
