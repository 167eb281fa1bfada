"""Training in two processes on two nodes of a Ray cluster: one dies, both go on from the last epoch."""

from __future__ import annotations

import csv
import os

import pytest
from lightning.pytorch.callbacks import Callback

from maury.cli.app import main
from maury.cluster import RayWorkers, VersionMismatchError
from maury.config import save_config
from maury.errors import ConfigError
from maury.grids import open_grid
from maury.networks.architectures import StarNetConfig
from maury.training import distributed, loop
from maury.training.recipes import TrainConfig
from maury.training.run_folder import open_run
from tinygrids import PIXELS, write_tiny_grid

pytest.importorskip("ray.train")


class Die(Callback):
    """Ends the second process when its second epoch begins, once."""

    def __init__(self, mark):
        self.mark = mark

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.global_rank == 1 and trainer.current_epoch == 1 and not self.mark.exists():
            self.mark.touch()
            os._exit(1)


def train_and_die(run, source, half):
    """Stands in for `maury.training.distributed.train_here`."""
    loop.train(run, distributed.source_of(run.config, source), [Die(run.folder.parent / "died")])


@pytest.fixture
def settings(tmp_path):
    grid = write_tiny_grid(tmp_path / "tiny.h5")
    return TrainConfig(
        network=StarNetConfig(pixels=PIXELS, dense=(32, 16)),
        batch_size=32,
        epochs=3,
        devices=2,
        accelerator="cpu",
        grid=str(grid),
        grid_digest=open_grid(grid).digest,
    )


def train(settings, folder, *options):
    save_config(folder / "a.toml", settings)
    with pytest.raises(SystemExit) as stop:
        main(["train", "--config", str(folder / "a.toml"), "--out", str(folder / "run"), *options])
    return stop.value.code


def test_a_process_dies_and_both_go_on_from_the_last_epoch(ray_cluster, settings, tmp_path, monkeypatch, capsys):
    ray_cluster.add_node(num_cpus=1)
    monkeypatch.setattr(distributed, "train_here", train_and_die)
    assert train(settings, tmp_path, "--ray", ray_cluster.address) == 0
    printed = capsys.readouterr()
    assert "epoch 3: validation" in printed.err
    assert "stopped by epochs after 3 epochs" in printed.out
    assert (tmp_path / "died").exists()
    with open(tmp_path / "run" / "metrics.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    training = int((~open_grid(settings.grid).split("random")).sum())
    steps = -(-(training // 2) // 32)  # each of two processes has half of an epoch
    assert sum(bool(row["val_loss"]) for row in rows) == 3  # the first epoch was not made again
    assert max(int(row["step"]) for row in rows) == 3 * steps - 1


def test_what_cannot_be_trained_is_told(ray_cluster, settings, tmp_path, monkeypatch):
    run = open_run(tmp_path / "run", settings)
    with RayWorkers(ray_cluster.address) as cluster:
        with pytest.raises(ConfigError, match="has room for 1 of 2 processes that train together"):
            distributed.train_on_cluster(run, cluster)
        monkeypatch.setattr(distributed, "grid_of", lambda grid: {"grid": str(os.getpid())})
        with pytest.raises(VersionMismatchError, match="has grid "):
            distributed.train_on_cluster(run, cluster)


def test_no_cluster(settings, tmp_path, capsys):
    assert train(settings, tmp_path, "--ray", "127.0.0.1:9") == 2
    assert "error: Ray cluster 127.0.0.1:9: no connection" in capsys.readouterr().err
