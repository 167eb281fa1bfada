"""Settings: TOML in and out, and what a mistake in them says."""

from pathlib import Path

import pytest

from maury.config import load_config, make_config, save_config, to_toml
from maury.errors import ConfigError, OutputError
from maury.networks.architectures import StarNetConfig
from maury.training.recipes import EmulatorConfig, TrainConfig, load_training


def test_settings_survive_toml(tmp_path: Path) -> None:
    network = StarNetConfig(pixels=29788, labels=("mh", "teff"), dense=(8, 4))
    config = TrainConfig(
        preset='a "b" \\ ü\n', network=network, learning_rate=1e-5, split="block", max_time=0.25, grid="x y.h5"
    )
    save_config(tmp_path / "c.toml", config)
    assert load_config(tmp_path / "c.toml", TrainConfig) == config
    emulator = EmulatorConfig(libraries=["a.h5", "b*.h5"], training_limit=None, weight_decay=0.0)
    save_config(tmp_path / "e.toml", emulator)
    assert load_config(tmp_path / "e.toml", EmulatorConfig) == emulator


def test_toml_of_nested_tables() -> None:
    text = to_toml({"a": None, "b": True, "t": {"x": [1, 2.5], "u": {"s": "q"}}, "c": 3})
    assert text == 'b = true\nc = 3\n\n[t]\nx = [1, 2.5]\n\n[t.u]\ns = "q"\n'


def test_the_defaults_are_the_founding_recipe() -> None:
    config = TrainConfig()
    assert (config.learning_rate, config.batch_size, config.network.pixels) == (0.0007, 64, 7447)
    assert (config.network.filters, config.network.kernel, config.network.dense) == ((4, 16), 32, (256, 128))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("learning = 1", ["unknown setting learning", "learning_rate", "network.kernel"]),
        ("[network]\nkernels = 3", ["unknown setting network.kernels"]),
        ("epochs = 0", ["epochs = 0", "greater than 0"]),
        ("epochs = 'ten'", ["epochs = 'ten'", "integer"]),
        ("split = 'blocks'", ["split = 'blocks'", "'random' or 'block'"]),
        ("learning_rate = nan", ["learning_rate = nan"]),
        ("[network]\nlabels = ['teff', 'logg', 'age']", ["network.labels", "'age'", "vsini"]),
        ("[network]\nlabels = ['teff', 'teff']", ["network.labels", "distinct"]),
        ("[network]\nlabels = []", ["network.labels"]),
        ("epochs = ", ["not TOML"]),
    ],
)
def test_mistakes_name_file_setting_and_what_is_allowed(tmp_path: Path, text: str, parts: list[str]) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_config(path, TrainConfig)
    for part in ["settings.toml", *parts]:
        assert part in str(error.value)
    assert "\n" not in str(error.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: .*No such file"):
        load_config(tmp_path / "none.toml", TrainConfig)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"binary\.toml"):
        load_config(tmp_path / "binary.toml", TrainConfig)


def test_a_missing_setting_and_an_unwritable_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"options: unknown setting x"):
        make_config({"x": 1}, TrainConfig, "options")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="folder"):
        save_config(tmp_path / "folder", TrainConfig())


def test_names_of_earlier_versions_are_read_as_those_of_today(tmp_path: Path) -> None:
    old = tmp_path / "old.toml"
    network = '[network]\nlabels = ["teff", "zeta"]\ntrunk = "attention"\n'
    old.write_text(f'kind = "posterior"\n{network}[observations.prior]\nzeta_kms = [0.0, 3.0]\n')
    config = load_training(old)
    assert config.network.labels == ("teff", "vmac")
    assert config.network.embedding == "attention"
    assert config.simulation == {"prior": {"vmac_kms": [0.0, 3.0]}}
