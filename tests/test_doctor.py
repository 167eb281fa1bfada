"""`maury doctor`: passes on a sound installation, and names what is broken."""

import importlib.metadata
import json
import tempfile

import pytest

from maury import doctor
from maury.checkpoints import MODELS
from maury.errors import FormatError
from maury.files import sha256
from verbs import run


def by_name(checks):
    return {check.name: check for check in checks}


@pytest.fixture
def models(tmp_path):
    """A folder with the smallest packaged model and its checksum."""
    name = min(MODELS.glob("*.safetensors"), key=lambda path: path.stat().st_size).name
    copy = tmp_path / "models" / name
    copy.parent.mkdir()
    copy.write_bytes((MODELS / name).read_bytes())
    (copy.parent / doctor.SUMS).write_text(f"{sha256(copy)}  {name}\n")
    return copy


def test_this_installation_is_sound(capsys):
    """Every part is looked at; the self-test finds its star, and says how long it took."""
    assert run("doctor", "--json") == 0
    checks = json.loads(capsys.readouterr().out)
    assert {check["group"] for check in checks} == {
        "versions", "backends", "weights", "folders", "extras", "self-test",
    }  # fmt: skip
    assert {check["status"] for check in checks} <= {"ok", "note"}
    (star,) = (check for check in checks if check["group"] == "self-test")
    assert "teff 5" in star["text"]
    assert star["text"].endswith(" s")


def test_every_packaged_model_is_listed():
    """After packaging a model: `cd src/maury/models && sha256sum *.safetensors > SHA256SUMS`."""
    assert doctor.read_sums(MODELS / doctor.SUMS) == {path.name: sha256(path) for path in MODELS.glob("*.safetensors")}


def test_damaged_weights_are_named(models):
    assert by_name(doctor.weights(models.parent))[models.name].status == "ok"
    whole = models.read_bytes()
    models.write_bytes(whole[: len(whole) // 2])
    check = by_name(doctor.weights(models.parent))[models.name]
    assert check.status == "broken"
    assert "truncated" in check.text
    assert str(models) in check.text
    models.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    check = by_name(doctor.weights(models.parent))[models.name]
    assert check.status == "broken"
    assert "checksum differs from that of the packaged file" in check.text
    models.unlink()
    assert "missing" in by_name(doctor.weights(models.parent))[models.name].text


@pytest.mark.parametrize("text", ["", "0123 short\n", "x" * 64 + "  a.safetensors\n", "0" * 64 + "  ../a\n"])
def test_a_list_of_checksums_that_is_none(tmp_path, text):
    path = tmp_path / doctor.SUMS
    if text:
        path.write_text(text)
    with pytest.raises(FormatError, match=r"SHA256SUMS: (missing|line 1)"):
        doctor.read_sums(path)


def test_the_command_names_what_is_broken(models, monkeypatch, capsys):
    models.write_bytes(models.read_bytes()[:1000])
    monkeypatch.setattr("maury.checkpoints.MODELS", models.parent)
    monkeypatch.setattr(doctor, "self_test", lambda: iter(()))
    assert run("doctor") == 2
    shown = capsys.readouterr()
    assert f"error: weights: {models.name}: {models}" in shown.err
    assert "broken" in shown.out


def test_wrong_answers_break_the_self_test(monkeypatch):
    monkeypatch.setitem(doctor.STAR, "teff", 5772.0)
    star = doctor.simulated_star()
    monkeypatch.setattr(doctor, "simulated_star", lambda: star)
    monkeypatch.setitem(doctor.STAR, "teff", 6500.0)
    monkeypatch.setattr(doctor, "_VELOCITY_KMS", 40.0)
    (check,) = doctor.self_test()
    assert check.status == "broken"
    assert "instead of 6500 within 200" in check.text
    assert "instead of 40.0 km/s" in check.text


def test_what_raises_is_a_broken_check(monkeypatch):
    """A library that cannot even be imported is named; the other checks go on."""

    def broken():
        raise ImportError("libcudart.so: no such file")
        yield

    monkeypatch.setattr(doctor, "backends", broken)
    monkeypatch.setattr(doctor, "self_test", lambda: iter(()))
    checks = list(doctor.examine())
    assert by_name(checks)["backends"].text == "ImportError: libcudart.so: no such file"
    assert checks[-1].group == "extras"


def test_dependencies_that_are_old_or_missing(monkeypatch):
    genuine = importlib.metadata.version

    def version(name):
        if name == "torch":
            return "1.0"
        if name in ("scipy", "zarr"):
            raise importlib.metadata.PackageNotFoundError(name)
        return genuine(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    found = by_name(doctor.versions())
    assert (found["torch"].status, found["scipy"].status, found["numpy"].status) == ("broken", "broken", "ok")
    assert "1.0: maury needs" in found["torch"].text
    assert 'pip install "scipy>=' in found["scipy"].text
    extra = by_name(doctor.extras())["zarr"]
    assert extra.status == "note"
    assert 'pip install "maury[zarr]"' in extra.text


def test_a_temporary_folder_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    found = by_name(doctor.folders())
    assert found["temporary files"].status == "broken"
    assert found["cache"].status == "note"
