"""Tables of changes: they make the new list from the old one, and find their lines in other lists."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from linelists import row, write_list
from maury.cli.app import app
from maury.errors import FormatError
from maury.lines import (
    apply_changes,
    change_of,
    make_changes,
    read_changes,
    read_line_file,
    without_partner,
    write_changes,
)

COMMITTED = Path(__file__).parents[1] / "docs" / "results" / "lines" / "changes.ecsv"


@pytest.fixture
def lines(tmp_path):
    rows = [
        row("Fe 1", 5100.1, 0.99, -2.1),
        row("Fe 1", 5100.1, 0.99, -2.4),
        row("MgH 1", 5100.2, 0.6, -0.882, (0, 0, 0), "M112.00124"),
        row("C2 1", 5100.3, 0.6, -0.5, (0, 0, 0), "M606.01212"),
    ]
    return read_line_file(write_list(tmp_path / "a.lin", *rows))


@pytest.fixture
def changes(lines):
    source, stars = np.array(["lab", "lab", "molecule", "molecule"]), np.array(["A", "AB", "B", ""])
    terms = {"MgH:offset": 0.1, "MgH:slope": 0.2}
    return make_changes(lines, np.array([0.0, -0.25, 0.05, 0.0]), terms, source, stars, {"stars": {"A": "Sun"}})


def test_changes_survive_the_file_and_make_the_new_list(lines, changes, tmp_path):
    write_changes(changes, tmp_path / "c.ecsv")
    again = read_changes(tmp_path / "c.ecsv")
    assert again.notes == {"stars": {"A": "Sun"}}
    assert again.table["number"].tolist() == [1, 0]
    assert again.table["source"].tolist() == ["lab", "molecule"]
    new = tmp_path / "new.lin"
    new.write_bytes(apply_changes(lines, again))
    found = read_line_file(new)
    np.testing.assert_allclose(found.loggf, [-2.1, -2.65, -0.882 + 0.05 + 0.1 + 0.2 * 0.1, -0.5], atol=1e-9)
    assert [reference.endswith("CAL") for reference in found.reference] == [False, True, True, False]


def test_another_list_is_refused(lines, changes):
    other = read_line_file(write_list(lines.path.parent / "b.lin", row("Fe 1", 5100.1)))
    with pytest.raises(FormatError, match=r"b\.lin: has none of the 2 lines that the changes are for"):
        apply_changes(other, changes)


def test_changes_are_carried_to_another_list_by_species_wavelength_energy_and_log_gf(lines, changes, tmp_path):
    """Wavelengths differ in the third decimal, there are more lines, and MgH has another log gf."""
    rows = [
        row("Ti 1", 5100.1, 0.99, -2.4),
        row("Fe 1", 5100.095, 0.991, -2.1),
        row("Fe 1", 5100.108, 0.991, -2.4),
        row("Fe 1", 5100.15, 0.99, -2.4),
        row("MgH 1", 5100.2, 0.6, -0.7, (0, 0, 0), "M112.00124"),
    ]
    path = write_list(tmp_path / "more.lin", *rows)
    other = read_line_file(path)
    write_changes(changes, tmp_path / "c.ecsv")
    found = change_of(other, read_changes(tmp_path / "c.ecsv"))
    np.testing.assert_allclose(found, [0, 0, -0.25, 0, 0.1 + 0.2 * 0.1], atol=1e-9)
    assert without_partner(other, changes)["species"].tolist() == ["MgH 1"]
    arguments = ["lines", "apply", str(path), str(tmp_path / "c.ecsv"), "--out", str(tmp_path / "new.lin")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "1 of 5 lines changed one by one" in result.output
    assert "1 of 2 changes found no line in this list" in result.output
    assert "MgH 1 5100.200 Å, 0.600 eV: +0.05 dex" in result.output
    np.testing.assert_allclose(read_line_file(tmp_path / "new.lin").loggf - other.loggf, found, atol=1e-9)


def test_tables_without_the_old_log_gf_are_read(lines, changes, tmp_path):
    changes.table.remove_column("loggf")
    write_changes(changes, tmp_path / "c.ecsv")
    path = write_list(tmp_path / "b.lin", row("Fe 1", 5100.1, 0.99, -1.0))
    again = read_changes(tmp_path / "c.ecsv")
    assert change_of(read_line_file(path), again).tolist() == [-0.25]
    assert len(without_partner(lines, again)) == 0


def test_a_line_that_is_not_there_is_named(lines, changes):
    changes.table["wavelength"][0] = 5100.15
    with pytest.raises(FormatError, match=r"has no line Fe 1 at 5100.15 Å with 0.99 eV \(number 1\)"):
        apply_changes(lines, changes)


def test_an_altered_table_is_refused(lines, changes):
    changes.table["change"][0] += 0.01
    with pytest.raises(FormatError, match=r"the changes for a\.lin were altered"):
        apply_changes(lines, changes)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("-0.25", "nan", "column change is not finite in row 1"),
        ("sha256", "digest", "missing sha256, result_sha256"),
        ("%ECSV", "%CSV", "not a table of changes"),
        ("change", "delta", "missing change"),
    ],
)
def test_damaged_tables_are_refused(changes, tmp_path, old, new, message):
    path = tmp_path / "c.ecsv"
    write_changes(changes, path)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(FormatError, match=message):
        read_changes(path)


def test_the_command_writes_the_list(lines, changes, tmp_path):
    write_changes(changes, tmp_path / "c.ecsv")
    arguments = ["lines", "apply", str(lines.path), str(tmp_path / "c.ecsv"), "--out", str(tmp_path / "new.lin")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "new.lin").read_bytes() == apply_changes(lines, changes)


@pytest.mark.shared
def test_the_committed_changes_make_the_list_of_the_results(shared):
    lines = read_line_file(shared / "data" / "linelists" / "mgb_5035_5365_air.lin")
    changes = read_changes(COMMITTED)
    assert hashlib.sha256(apply_changes(lines, changes)).hexdigest() == changes.result_digest
