"""Models on disk: what is written is read, and nothing else is."""

import json
import os

import pytest
import torch
from safetensors.torch import save_file

from maury import checkpoints
from maury.errors import FormatError, OutputError, SchemaError

TENSORS = {
    "weight": torch.arange(6, dtype=torch.float32).reshape(2, 3).T,
    "half": torch.tensor([0.1, 3.0]).half(),
    "count": torch.tensor(7),
}
HEADER = {"labels": {"names": ["teff"], "lower": [3500.0]}, "figures": {"mse": 0.0014}, "schema": "overwritten"}


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.safetensors"
    checkpoints.save(path, "network", TENSORS, HEADER)
    return path


def with_header(path, text):
    save_file({"x": torch.zeros(1)}, path, {"maury": text})
    return path


def test_what_is_written_is_read(model):
    read = checkpoints.load(model, "network")
    assert read.kind == "network"
    assert read.tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert read.tensors[name].dtype == tensor.dtype
        assert torch.equal(read.tensors[name], tensor)
    assert read.header == HEADER | {"schema": checkpoints.SCHEMA, "kind": "network"}
    assert checkpoints.read_header(model) == read.header


def test_the_same_model_is_the_same_bytes(model, tmp_path):
    checkpoints.save(tmp_path / "again", "network", TENSORS, dict(reversed(HEADER.items())))
    assert (tmp_path / "again").read_bytes() == model.read_bytes()


def test_a_model_has_the_permissions_of_any_new_file(model, tmp_path):
    (tmp_path / "any").touch()
    assert model.stat().st_mode == (tmp_path / "any").stat().st_mode


def test_another_kind_is_refused(model):
    with pytest.raises(SchemaError, match=r"model\.safetensors: holds a 'network', not a 'emulator'"):
        checkpoints.load(model, "emulator")


@pytest.mark.parametrize("schema", [0, 2, "1", None])
def test_another_schema_is_refused(tmp_path, schema):
    path = with_header(tmp_path / "m", json.dumps({"schema": schema, "kind": "network"}))
    with pytest.raises(SchemaError, match=f"m: checkpoint schema {schema!r}; this version of maury reads schema 1"):
        checkpoints.load(path, "network")


def foreign(path, model):
    save_file({"x": torch.zeros(1)}, path)


def truncated(path, model):
    path.write_bytes(model.read_bytes()[:-5])


def headless(path, model):
    path.write_bytes(model.read_bytes()[:6])


def pickled(path, model):
    torch.save(TENSORS, path)


def empty(path, model):
    path.touch()


def a_directory(path, model):
    path.mkdir()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (foreign, "not one of maury's"),
        (truncated, "not a readable safetensors file"),
        (headless, "not a readable safetensors file"),
        (pickled, "not a readable safetensors file"),
        (empty, "not a readable safetensors file"),
        (a_directory, "not a file"),
        (lambda path, model: None, "no such file"),
        (lambda path, model: with_header(path, "{"), "its header is not JSON"),
        (lambda path, model: with_header(path, "[1]"), "its header is not a JSON object but list"),
    ],
)
def test_what_is_no_model_is_refused_in_one_line(make, message, model, tmp_path):
    path = tmp_path / "bad"
    make(path, model)
    with pytest.raises(FormatError, match=message) as error:
        checkpoints.load(path, "network")
    assert str(error.value).startswith(f"{path}: ")


def test_a_figure_that_is_not_a_number_is_refused(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        checkpoints.save(tmp_path / "m", "network", TENSORS, {"mse": float("nan")})
    assert os.listdir(tmp_path) == []


def test_a_full_disk_leaves_nothing(tmp_path):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(OutputError, match="big: cannot be written"):
            checkpoints.save(tmp_path / "big", "network", {"x": torch.zeros(100_000)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(tmp_path) == []
