"""Line lists as files: nothing lost, numbers replaced in place, damaged files refused."""

import numpy as np
import pytest

from linelists import HEAD, TAIL, row, write_list
from maury.errors import FormatError, OutputError
from maury.lines import read_line_file


@pytest.fixture
def lines(tmp_path):
    rows = [
        row("Fe 1", 5100.1, 0.99, -2.1),
        row("MgH 1", 5100.2, 0.5, -0.882, (0, 0, 0), "M112.00124 CAL"),
        row("Fe 1", 5364.87, 4.446, 0.228, (8.33, -4.66, 1013.281), "VALD+V+G"),
    ]
    return read_line_file(write_list(tmp_path / "a.lin", *rows))


def test_numbers_are_read(lines):
    assert lines.species.tolist() == ["Fe 1", "MgH 1", "Fe 1"]
    assert lines.wavelength_aa.tolist() == [5100.1, 5100.2, 5364.87]
    assert lines.loggf.tolist() == [-2.1, -0.882, 0.228]
    assert lines.waals.tolist() == [-7.5, 0.0, 1013.281]
    assert lines.reference.tolist() == ["1 LM", "1 M112.00124 CAL", "1 VALD+V+G"]


def test_unchanged_values_leave_every_byte(lines):
    assert lines.replaced({"loggf": lines.loggf, "waals": lines.waals}, "CAL") == lines.path.read_bytes()


def test_only_the_changed_field_and_the_mark_change(lines):
    text = lines.replaced({"loggf": lines.loggf + np.array([0.25, -0.1, 0.0])}, "CAL").decode()
    old, new = lines.path.read_text().splitlines(), text.splitlines()
    assert new[2] == old[2].replace("  -2.100", "  -1.850").replace("LM'", "LM CAL'")
    assert new[3] == old[3].replace("  -0.882", "  -0.982")  # marked already
    assert new[4:] == old[4:]
    assert [len(a) for a in new[3:]] == [len(a) for a in old[3:]]


def test_windows_line_ends_stay(tmp_path):
    path = tmp_path / "dos.lin"
    path.write_bytes((HEAD + row("Fe 1", 5100.1) + TAIL).replace("\n", "\r\n").encode())
    lines = read_line_file(path)
    assert lines.replaced({"loggf": lines.loggf}, "CAL") == path.read_bytes()
    assert lines.replaced({"loggf": lines.loggf + 1}, "CAL").endswith(b"\r\n")


def test_a_number_too_long_for_its_field_is_refused(lines):
    with pytest.raises(OutputError, match=r"line 3: loggf = -123456 does not fit into 8 characters"):
        lines.replaced({"loggf": np.array([-123456.0, 0, 0])}, "CAL")


def test_equal_lines_are_told_apart_by_their_number(tmp_path):
    same = row("Fe 1", 5100.1)
    keys = read_line_file(write_list(tmp_path / "a.lin", same, same, row("Fe 1", 5100.2))).keys()
    assert [key[3] for key in keys] == [0, 1, 0]
    assert len(set(keys)) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + TAIL, "no spectral lines"),
        (HEAD + row("Fe 1", 5100.1) + "'Fe 1', 5100.2, 1.0\n" + TAIL, "line 4 is not 'species', 7 numbers"),
        (HEAD + row("Fe 1", 5100.1).replace("-1.000", " 1.0.0") + TAIL, "line 3: loggf is '1.0.0', not a number"),
        (HEAD + row("Fe 1", 5100.1).replace("-1.000", "   nan") + TAIL, "line 3: loggf is nan, not finite"),
        (HEAD + row("Fe 1", 5100.1) + TAIL + row("Fe 1", 5100.2), "after the end of the list"),
        (
            HEAD.replace("WL_air", "WL_vac") + row("Fe 1", 5100.1) + TAIL,
            "wavelengths in A, vacuum: extract the list in",
        ),
        (HEAD.replace("(A)", "(cm^-1)") + row("Fe 1", 19600.1) + TAIL, r"wavelengths in cm\^-1, air: extract the list"),
    ],
)
def test_damaged_lists_are_refused(tmp_path, text, message):
    path = tmp_path / "bad.lin"
    path.write_text(text)
    with pytest.raises(FormatError, match=message):
        read_line_file(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FormatError, match=r"none\.lin: cannot be read: No such file"):
        read_line_file(tmp_path / "none.lin")
