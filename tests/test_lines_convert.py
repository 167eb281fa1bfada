"""Line lists of other formats: values computed by hand, isotopes, damping, media, round trips, bad input; merging."""

import numpy as np
import pytest
from astropy.table import Table
from typer.testing import CliRunner

from linelists import row, write_list
from maury.cli.app import app, main
from maury.errors import ConfigError, DomainError, FormatError
from maury.lines import read_line_file
from maury.lines.convert import convert, merge
from maury.lines.isotopes import FRACTIONS, read_fractions
from maury.wavelengths import air_to_vacuum, vacuum_to_air


def written(made, path):
    path.write_text(made.text)
    return read_line_file(path)


def kurucz(wave_nm, gf, code, levels, damping=(0, 0, 0), reference="K07", isotopes=(0, 0.0, 0, 0.0)):
    hyperfine, strength, mass, share = isotopes
    first, second = (f"{level:12.3f}  2.0 {'label':<10}" for level in levels)
    gammas = "".join(f"{value:6.2f}" for value in damping)
    text = f"{wave_nm:11.4f}{gf:7.3f}{code:6.2f}{first}{second}{gammas}{reference:<4} 0 0"
    return f"{text}{hyperfine:3d}{strength:6.3f}{mass:3d}{share:6.3f}    0    0 ".ljust(160)


KURUCZ = [
    kurucz(500.0, -1.5, 26.00, (20000.0, 0.0), (8.2, -6.1, -7.8)),
    kurucz(500.1, -0.5, 26.01, (-40000.0, 59999.0)),  # a predicted level
    kurucz(500.2, 0.2, 29.00, (13245.443, 33235.0), isotopes=(63, -0.4, 63, 0.0)),
    kurucz(500.3, 0.2, 29.00, (13245.443, 33235.0), isotopes=(65, -0.4, 65, -0.510)),
]


def test_kurucz_records(tmp_path):
    (tmp_path / "gf.100").write_text("\n".join(KURUCZ) + "\n")
    lines = written(convert(tmp_path / "gf.100", "kurucz"), tmp_path / "out.lin")
    assert lines.species.tolist() == ["Fe 1", "Fe 2", "Cu 1", "Cu 1"]
    np.testing.assert_allclose(lines.wavelength_aa, [5000, 5001, 5002, 5003])
    np.testing.assert_allclose(lines.excitation_ev, [0, 4.9594, 1.6422, 1.6422], atol=1e-4)
    # Cu: log gf + hyperfine component + log of the isotope's fraction, of the table (0.6917) or of the file
    np.testing.assert_allclose(lines.loggf, [-1.5, -0.5, 0.2 - 0.4 - 0.160, 0.2 - 0.4 - 0.510], atol=1e-3)
    assert (lines.radiative[0], lines.stark[0], lines.waals[0]) == (8.2, -6.1, -7.8)
    assert lines.reference.tolist() == ["1 KUR K07", "1 KUR K07", "1 KUR K07 (63)Cu", "1 KUR K07 (65)Cu"]


MOOG = """a title
  5010.000     26.0      4.20    -1.234   -7.50
  5011.000     26.1      2.80    -2.000
  5012.000 607.01314      0.50    -1.500                7.65
  5013.000   63.1151      0.00    -0.100
  5014.000 112.00125      0.30    -0.800                1.34
  5015.000     22.0      0.02     0.100   2.2
"""


def test_moog_lines(tmp_path):
    (tmp_path / "m.moog").write_text(MOOG)
    made = convert(tmp_path / "m.moog", "moog", (5000, 5020))
    lines = written(made, tmp_path / "out.lin")
    assert lines.species.tolist() == ["Fe 1", "Fe 2", "CN 1", "Eu 2", "MgH 1", "Ti 1"]
    # CN: 13C 0.0111 and 14N 0.99771; Eu: 151Eu 0.4781; MgH: 25Mg 0.1
    expected = [-1.234, -2, -1.5 - 1.9547 - 0.0010, -0.1 - 0.3205, -0.8 - 1.0, 0.1]
    np.testing.assert_allclose(lines.loggf, expected, atol=1e-3)
    assert lines.waals.tolist() == [-7.5, 0, 0, 0, 0, 0]
    assert lines.reference.tolist()[2:5] == ["1 MOOG M607.01314", "1 MOOG (151)Eu", "1 MOOG M112.00125"]
    said = "1 lines with a van der Waals damping given as a factor or C6: Unsöld's approximation is used"
    assert made.notes == (said,)


TURBOSPECTRUM = """' 26.000            '    1         2
'FE I  '
  5010.000  4.200  -1.234  813.238    7.0  1.58E+08 -5.50 's' 'p'   0.0    1.0 'Fe I'
  5010.500  3.000  -2.000    2.500    7.0  0.00E+00 's' 'p'   0.0    1.0 'Fe I'
' 0822.000050       '    1         1
'TiO'
  5012.250  0.100  -0.300   -7.700   41.0  1.00E+07
' 606.012013        '    1         1
'C2'
  5011.000  0.500  -0.900    0.000   41.0  1.0
"""


def test_turbospectrum_blocks(tmp_path):
    (tmp_path / "t.list").write_text(TURBOSPECTRUM)
    made = convert(tmp_path / "t.list", "turbospectrum")
    lines = written(made, tmp_path / "out.lin")
    assert lines.species.tolist() == ["Fe 1", "Fe 1", "C2 1", "TiO 1"]
    np.testing.assert_allclose(lines.waals, [813.238, 0, 0, -7.7])
    np.testing.assert_allclose(lines.radiative, [8.199, 0, 0, 7.0], atol=1e-3)
    np.testing.assert_allclose(lines.stark, [-5.5, 0, 0, 0])
    # C2: 12C 0.9889 and 13C 0.0111; TiO: 50Ti 0.0518, oxygen not stated
    np.testing.assert_allclose(lines.loggf, [-1.234, -2, -0.9 - 0.0048 - 1.9547, -0.3 - 1.2857], atol=1e-3)
    assert lines.reference[2:].tolist() == ["1 TS M606.01213", "1 TS (50)TiO"]
    assert made.notes == ("1 lines with a factor on Unsöld's van der Waals damping: the factor is left out",)


@pytest.mark.parametrize("suffix", ["fits", "ecsv"])
def test_gaia_eso_table(tmp_path, suffix):
    table = Table(
        {
            "Element": ["Fe", "Ba", "Lu"], "Ion": [1, 2, 2], "Isotope": [0, 137, 176],
            "lambda": [600.1, 600.0, 600.2], "loggf": [-1.0, 0.2, 0.1], "gfflag": ["Y", "U", "N"],
            "r_loggf": ["BWL", "DSVD", "X"], "Elow": [2.5, 0.704, 1.0],
            "Rad-damp": [8.1, 0.0, 0.0], "Sta-damp": [-6.0, 0.0, 0.0], "Vdw-damp": [297.273, -7.6, 0.0],
        }
    )  # fmt: skip
    table["lambda"].unit = "nm"
    table.write(tmp_path / f"ges.{suffix}")
    made = convert(tmp_path / f"ges.{suffix}", "gaia-eso")
    lines = written(made, tmp_path / "out.lin")
    assert lines.species.tolist() == ["Ba 2", "Fe 1", "Lu 2"]
    np.testing.assert_allclose(lines.wavelength_aa, [6000, 6001, 6002])
    np.testing.assert_allclose(lines.loggf, [0.2 - 0.9495, -1, 0.1], atol=1e-3)  # 137Ba 0.11232
    np.testing.assert_allclose(lines.waals, [-7.6, 297.273, 0])
    assert lines.reference.tolist() == ["1 GES-U DSVD (137)Ba", "1 GES-Y BWL", "1 GES-N X (176)Lu"]
    assert made.notes == ("1 lines of (176)Lu: no isotopic fraction is known, log gf is not scaled",)


def exomol(folder, name="25Mg-1H"):
    folder.mkdir(exist_ok=True)
    (folder / f"{name}__XAB.states").write_text("1 1000.0 36 1 X\n2 20000.0 60.0 2 A v=1\n7 1.0 12 0 X\n")
    (folder / f"{name}__XAB.trans").write_text("2 1 1.0E+07 19000.0\n2 7 1.0E+06\n")
    return folder / f"{name}__XAB.states"


def test_exomol_states_and_transitions(tmp_path):
    """Nuclear spins of 25Mg (6) and 1H (2) are taken out of the weights; the fraction of 25Mg is 0.1."""
    path = exomol(tmp_path / "MgH")
    made = convert(path, "exomol", (5200, 5300))
    lines = written(made, tmp_path / "out.lin")
    vacuum = 1e8 / 19000
    np.testing.assert_allclose(lines.wavelength_aa, vacuum_to_air([vacuum]), atol=1e-5)
    gf = 1.4992e-16 * vacuum**2 * (60 / 12) * 1e7
    np.testing.assert_allclose(lines.loggf, [np.log10(gf) - 1], atol=1e-3)
    np.testing.assert_allclose(lines.excitation_ev, [1000 / 8065.544], atol=1e-4)
    assert lines.reference.tolist() == ["1 EXOMOL XAB M112.00125"]


def test_vacuum_and_wavenumbers_become_air(tmp_path):
    (tmp_path / "v.moog").write_text("title\n 5001.0 26.0 1.0 -1.0\n")
    vacuum = written(convert(tmp_path / "v.moog", "moog", medium="vacuum"), tmp_path / "v.lin")
    np.testing.assert_allclose(air_to_vacuum(vacuum.wavelength_aa), 5001.0, atol=2e-5)
    (tmp_path / "k.moog").write_text("title\n 20000.0 26.0 1.0 -1.0\n")
    numbers = written(convert(tmp_path / "k.moog", "moog", unit="1/cm"), tmp_path / "k.lin")
    np.testing.assert_allclose(air_to_vacuum(numbers.wavelength_aa), 5000.0, atol=2e-5)
    with pytest.raises(DomainError, match=r"no line between 4900 and 5100 Å; it covers 20000\.0 to 20000\.0, read as"):
        convert(tmp_path / "k.moog", "moog", (4900, 5100))


def test_isotopes_of_a_file_or_scaled_already(tmp_path):
    (tmp_path / "m.moog").write_text("title\n 5014.0 112.00125 0.3 -0.8\n")
    (tmp_path / "iso.csv").write_text("element,mass,fraction\nMg,25,0.01\n")
    fractions = read_fractions(tmp_path / "iso.csv")
    assert fractions["Mg"][24] == FRACTIONS["Mg"][24]
    assert "-2.800" in convert(tmp_path / "m.moog", "moog", fractions=fractions).text
    assert "-0.800" in convert(tmp_path / "m.moog", "moog", fractions=None).text
    (tmp_path / "iso.csv").write_text("element,mass,fraction\nMg,25,1.5\n")
    with pytest.raises(FormatError, match=r"Mg 25: fraction 1\.5: must be above 0 and at most 1"):
        read_fractions(tmp_path / "iso.csv")


def test_fractions_of_an_element_add_up_to_one():
    for element, shares in FRACTIONS.items():
        assert sum(shares.values()) == pytest.approx(1, abs=2e-3), element


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("kurucz", "   500.0000 -1.500", "line 1: not a line of this format"),
        ("kurucz", KURUCZ[0].replace("20000.000", "20000.0.0"), "line 1: not a line of this format"),
        ("moog", "title\n 5001.0 10108.0 1.0 -1.0", "species 10108 is not an atom or a molecule of two atoms"),
        ("moog", "title\n 5001.0 26.0 1.0 nan", r"spectral line 1 \(Fe 1\) has a value that is not finite"),
        ("turbospectrum", TURBOSPECTRUM.replace("1         2", "1         3"), "3 lines of Fe 1 announced, fewer"),
        ("turbospectrum", "5001.0 1.0 -1.0", "line 1: not a heading"),
        ("gaia-eso", "Element,Ion\nFe,1\n", "no column isotope, lambda"),
        ("exomol", "", "not the name of an isotopologue"),
    ],
)
def test_damaged_lists_are_refused(tmp_path, kind, text, message):
    path = tmp_path / ("list.csv" if kind == "gaia-eso" else "list")
    path.write_text(text + "\n")
    with pytest.raises(FormatError, match=message):
        convert(path, kind)


def test_exomol_files_that_do_not_fit_are_refused(tmp_path):
    path = exomol(tmp_path / "MgH")
    trans = path.with_suffix(".trans")
    trans.write_text("2 3 1.0\n")
    with pytest.raises(FormatError, match=r"transitions between states that .*states does not have"):
        convert(path, "exomol")
    trans.unlink()
    with pytest.raises(FormatError, match=r"needs both 25Mg-1H__XAB\.states and 25Mg-1H__XAB\.trans"):
        convert(path, "exomol")
    with pytest.raises(FormatError, match="13C2: weight of its nuclear spins is not known"):
        convert(exomol(tmp_path / "C2", "13C2"), "exomol")


def test_unknown_formats_and_units_are_refused(tmp_path):
    (tmp_path / "m").write_text(MOOG)
    with pytest.raises(ConfigError, match="format 'vald': must be one of gaia-eso, turbospectrum"):
        convert(tmp_path / "m", "vald")
    with pytest.raises(ConfigError, match="wavelength unit 'eggs'"):
        convert(tmp_path / "m", "moog", unit="eggs")
    with pytest.raises(ConfigError, match="medium 'water'"):
        convert(tmp_path / "m", "moog", medium="water")


def test_the_same_lines_in_all_formats_give_the_same_list(tmp_path):
    """Round trip: a list of VALD, written in three other formats, comes back."""
    rows = [row("Fe 1", 5010.0, 4.2, -1.234, (0, 0, -7.5), "x"), row("Ti 2", 5011.5, 1.1, -2.0, (0, 0, 0), "x")]
    lines = read_line_file(write_list(tmp_path / "vald.lin", *rows))
    each = list(zip((26.00, 22.01), lines.wavelength_aa, lines.excitation_ev, lines.loggf, lines.waals, strict=True))
    moog = [f"{w:10.3f}{'26.0' if c == 26 else '22.1':>10}{e:10.4f}{gf:10.3f}{v:10.3f}" for c, w, e, gf, v in each]
    (tmp_path / "a.moog").write_text("\n".join(["title", *moog]) + "\n")
    block = "' {:.3f} ' {} 1\n'x'\n {:.3f} {:.4f} {:.3f} {:.3f} 1.0 0.0\n"
    turbo = [block.format(int(c), 1 if c == 26 else 2, w, e, gf, v) for c, w, e, gf, v in each]
    (tmp_path / "a.turbospectrum").write_text("".join(turbo))
    records = [
        kurucz(w / 10, gf, c, (e / 1.239841984e-4, 1e8 / w + e / 1.239841984e-4), (0, 0, v)) for c, w, e, gf, v in each
    ]
    (tmp_path / "a.kurucz").write_text("\n".join(records) + "\n")
    for kind in ("moog", "turbospectrum", "kurucz"):
        found = written(convert(tmp_path / f"a.{kind}", kind), tmp_path / "out.lin")
        assert found.species.tolist() == lines.species.tolist()
        for name in ("wavelength_aa", "excitation_ev", "loggf", "waals"):
            np.testing.assert_allclose(getattr(found, name), getattr(lines, name), atol=1e-3, err_msg=f"{kind} {name}")


@pytest.fixture
def two(tmp_path):
    """Fe has another log gf and no damping in a; Co has two components in a; Ni contradicts; Ti and Cr are in one."""
    a = [
        row("Fe 1", 5100.000, 2.0, -1.00, (0, 0, 0), "LM"),
        row("Co 1", 5101.000, 1.0, -1.301, (8, 0, 0), "LM"),
        row("Co 1", 5101.020, 1.0, -1.301, (8, 0, 0), "LM"),
        row("Ni 1", 5102.000, 3.0, -0.50, (8, -6, -7.5), "LM"),
        row("Ti 1", 5103.000, 3.0, -0.50, (8, -6, -7.5), "LM"),
    ]
    b = [
        row("Fe 1", 5100.004, 2.001, -1.40, (8.1, -6.1, 300.25), "KUR"),
        row("Co 1", 5101.010, 1.0, -1.00, (7.9, -5.9, -7.7), "KUR"),
        row("Ni 1", 5102.002, 3.001, -1.60, (8.2, -6.2, -7.6), "KUR"),
        row("Cr 1", 5102.500, 3.0, -0.50, (8, -6, -7.5), "KUR"),
        row("Ti 1", 5103.000, 3.2, -0.50, (8, -6, -7.5), "KUR"),
    ]
    return read_line_file(write_list(tmp_path / "a.lin", *a)), read_line_file(write_list(tmp_path / "b.lin", *b))


def test_merged_lists_have_gf_of_one_and_damping_of_the_other(two, tmp_path):
    made = merge(*two, gf="a", damping="b")
    lines = written(made, tmp_path / "out.lin")
    assert lines.species.tolist() == ["Fe 1", "Co 1", "Co 1", "Ni 1", "Cr 1", "Ti 1", "Ti 1"]
    np.testing.assert_allclose(lines.loggf[:4], [-1, -1.301, -1.301, -0.5])
    np.testing.assert_allclose(lines.waals[:4], [300.25, -7.7, -7.7, -7.6])
    np.testing.assert_allclose(lines.radiative[:4], [8.1, 7.9, 7.9, 8.2])
    assert lines.reference[:5].tolist() == ["1 LM", "1 LM", "1 LM", "1 LM", "1 KUR"]
    assert made.notes[0] == "4 lines of a.lin are also in b.lin, which adds 2 lines"
    assert len(made.notes) == 2
    said = "Ni 1 5102.000 Å (3.000 eV): log gf -0.50 in a.lin, -1.60 in b.lin: they contradict each other by over 1 dex"
    assert made.notes[1] == said


def test_damping_that_its_list_lacks_is_of_the_other_one(two, tmp_path):
    lines = written(merge(*two), tmp_path / "out.lin")
    np.testing.assert_allclose(lines.waals[:4], [300.25, -7.7, -7.7, -7.5])
    np.testing.assert_allclose(lines.radiative[:4], [8.1, 8, 8, 8])
    other = written(merge(*two, gf="b", damping="a"), tmp_path / "b2.lin")
    assert other.species.tolist() == ["Fe 1", "Co 1", "Ni 1", "Cr 1", "Ti 1", "Ti 1"]
    np.testing.assert_allclose(other.loggf[:3], [-1.4, -1.0, -1.6])
    np.testing.assert_allclose(other.radiative[:3], [8.1, 8, 8])
    np.testing.assert_allclose(other.waals[:3], [300.25, -7.7, -7.5])


def test_the_commands_write_lists_that_lines_check_reads(two, tmp_path, capsys):
    (tmp_path / "m.moog").write_text(MOOG)
    out = tmp_path / "out.lin"
    made = CliRunner().invoke(
        app,
        [
            "lines",
            "convert",
            str(tmp_path / "m.moog"),
            "--format",
            "moog",
            "--window",
            "5009",
            "5013.5",
            "--out",
            str(out),
        ],
    )
    assert made.exit_code == 0, made.output
    assert "4 lines, 5010.00 to 5013.00 Å (air)" in made.output
    checked = CliRunner().invoke(app, ["lines", "check", str(out), "--window", "5009", "5014"])
    assert checked.exit_code == 0, checked.output
    merged = tmp_path / "merged.lin"
    a, b = (str(lines.path) for lines in two)
    arguments = ["lines", "merge", a, b, "--gf", "b", "--damping", "a", "--out", str(merged)]
    made = CliRunner().invoke(app, arguments)
    assert made.exit_code == 0, made.output
    assert "contradict each other by over 1 dex" in " ".join(made.output.split())
    assert read_line_file(merged).loggf[0] == -1.4
    with pytest.raises(SystemExit):
        main(["lines", "merge", a, b, "--gf", "c", "--out", str(merged)])
    assert "gf 'c': must be a or b (--gf)" in " ".join(capsys.readouterr().err.split())
