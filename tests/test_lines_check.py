"""Checks of a line list: each finds what it is for, and nothing else."""

import json

import pytest
from typer.testing import CliRunner

from linelists import row, write_list
from maury.cli.app import app, main
from maury.errors import DomainError
from maury.lines import check_lines, read_line_file

WINDOW = (5100.0, 5110.0)


def good_rows():
    return [row("Ni 1", 5095 + 0.5 * k, 4.0, -2.0) for k in range(41)]


def findings(tmp_path, rows, window=WINDOW):
    lines = read_line_file(write_list(tmp_path / "a.lin", *rows))
    return {finding.name: finding for finding in check_lines(lines, window)}


def test_a_good_list_has_no_findings(tmp_path):
    assert not any(finding.count for finding in findings(tmp_path, good_rows()).values())


@pytest.mark.parametrize(
    ("name", "change", "example"),
    [
        ("coverage", lambda rows: rows[12:], "starts at 5101.00, needed 5095.75"),
        ("coverage", lambda rows: rows[:-12], "ends at 5109.00, needed 5114.26"),
        ("gaps", lambda rows: rows[:15] + rows[20:], "5102.00 to 5105.00 Å"),
        ("order", lambda rows: [*rows[:10], rows[11], rows[10], *rows[12:]], "Ni 1 5100.000"),
        ("duplicates", lambda rows: [*rows[:10], rows[9], *rows[10:]], "Ni 1 5099.500"),
        (
            "near duplicates",
            lambda rows: [*rows[:11], row("Ni 1", 5100.004, 4.001, -2.2, reference="KUR"), *rows[11:]],
            "Ni 1 5100.004",
        ),
        ("log gf", lambda rows: [row("Ni 1", 5094.9, 4.0, 3.1), *rows], "3.100"),
        ("energy", lambda rows: [row("Ni 1", 5094.9, -0.1), *rows], "-0.100 eV"),
        ("radiative damping", lambda rows: [row("Fe 1", 5094.9, 1.0, -1.0, (0, -6, -7.5)), *rows], "Fe 1 5094.900"),
        ("Stark damping", lambda rows: [row("Fe 1", 5094.9, 1.0, -1.0, (8, 0, -7.5)), *rows], "Fe 1 5094.900"),
        ("van der Waals damping", lambda rows: [row("Mg 1", 5094.9, 2.7, -0.4, (8, -6, 0)), *rows], "Mg 1"),
    ],
)
def test_each_fault_is_found_and_shown(tmp_path, name, change, example):
    found = findings(tmp_path, change(good_rows()))
    assert found[name].count == 1
    assert example in found[name].examples[0]
    assert [other for other, finding in found.items() if finding.count] == [name]


def test_isotopes_that_are_not_scaled_are_found(tmp_path):
    rows = [*good_rows(), row("Cu 1", 5115.2, 1.4, 0.1, reference="KUR (63)Cu")]
    assert not findings(tmp_path, rows)["isotopes"].count
    path = tmp_path / "a.lin"
    path.write_text(path.read_text().replace("were scaled by", "were NOT scaled by"))
    (found,) = (one for one in check_lines(read_line_file(path), WINDOW) if one.name == "isotopes")
    assert (found.count, found.serious) == (1, True)
    assert "Cu 1 5115.200" in found.examples[0]


def test_a_weak_line_without_damping_is_no_finding(tmp_path):
    rows = [row("Fe 1", 5094.9, 5.0, -3.0, (0, 0, 0)), *good_rows()]
    assert not findings(tmp_path, rows)["van der Waals damping"].count


@pytest.mark.parametrize(("window", "message"), [((5200, 5100), "is empty"), ((6000, 6100), "no line between")])
def test_impossible_windows_are_refused(tmp_path, window, message):
    with pytest.raises(DomainError, match=message):
        findings(tmp_path, good_rows(), window)


def test_the_command_shows_a_table_and_json(tmp_path):
    path = write_list(tmp_path / "a.lin", *good_rows()[3:], row("Fe 1", 5115.2, 1.0, -1.0, (0, 0, 0)))
    shown = CliRunner().invoke(app, ["lines", "check", str(path), "--window", "5100", "5110"])
    assert shown.exit_code == 0
    assert "39 lines" in shown.output
    assert "starts at 5096.50" not in shown.output
    result = CliRunner().invoke(app, ["lines", "check", str(path), "--window", "5100", "5110", "--json"])
    report = json.loads(result.output)
    assert report["lines"] == 39
    assert {f["name"]: f["count"] for f in report["findings"]}["radiative damping"] == 1
    assert report["species"][0] == {
        "species": "Ni 1", "lines": 38, "radiative": 38, "stark": 38, "waals": 38, "anstee_barklem": 0,
        "loggf": [-2.0, -2.0],
    }  # fmt: skip


def test_without_the_window_the_command_names_the_option(tmp_path, capsys):
    path = write_list(tmp_path / "a.lin", *(row("Ni 1", 6000 + k, 4.0, -2.0) for k in range(30)))
    with pytest.raises(SystemExit) as left:
        main(["lines", "check", str(path)])
    assert left.value.code == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert "no line between 5050 and 5350 Å; it covers 6000.0 to 6029.0 Å (--window)" in shown
