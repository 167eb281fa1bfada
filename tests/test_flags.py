"""The registry of flags, and that results, documentation and page take flags from it."""

from pathlib import Path

import pytest

from maury.flags import FLAGS, flag_of, limits_trust, meaning_of, of_stage

DOCS = Path(__file__).parents[1] / "docs"


def test_names_with_labels():
    flag, label = flag_of("edge_logg")
    assert (flag.name, label) == ("edge_<label>", "logg")
    assert meaning_of("edge_teff").startswith("effective temperature: more than a tenth")
    assert meaning_of("poor_fit").startswith("residuals are more than twice")
    for unknown in ("edge_", "edge_height", "poor", "poor_fit_teff"):
        with pytest.raises(KeyError):
            flag_of(unknown)


def test_what_limits_trust():
    assert all(map(limits_trust, ("poor_fit", "edge_mh", "outside_teff", "double_lined", "medium_assumed")))
    assert not any(map(limits_trust, ("vsini_upper_limit", "no_information_c")))


def test_every_flag_has_words_for_people():
    for flag in FLAGS.values():
        assert len(meaning_of(flag.name.replace("<label>", "teff")).split()) > 4
        assert "--" not in flag.meaning


@pytest.mark.parametrize(
    ("page", "stages"), [("errors", ("posterior", "refinement")), ("preparation", ("preparation",))]
)
def test_the_documentation_lists_them(page, stages):
    text = (DOCS / f"{page}.md").read_text()
    for flag in of_stage(*stages).values():
        assert f"| `{flag.name}` | {flag.meaning} |" in text
