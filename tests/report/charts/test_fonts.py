"""Characters that no font draws are spelt out, not drawn as boxes."""

from __future__ import annotations

from milepost.report.charts.fonts import missing_glyphs, spell_missing

PRIVATE = "\ue123"


def test_latin_letters_and_the_marks_of_our_tables_have_glyphs() -> None:
    assert missing_glyphs(["mmlu_Übersicht 0.25 ± 0.01 ↑ ↓ ·"]) == set()


def test_a_character_that_no_font_has_is_found() -> None:
    assert missing_glyphs([f"task{PRIVATE}"]) == {PRIVATE}


def test_it_is_spelt_out_everywhere_in_the_spec_alike() -> None:
    spec = {
        "title": f"a{PRIVATE}",
        "datasets": {"d": [{"series": f"{PRIVATE}b", "step": 3}]},
        "n": [PRIVATE, None],
    }
    assert spell_missing(spec) == (
        {
            "title": "a[U+E123]",
            "datasets": {"d": [{"series": "[U+E123]b", "step": 3}]},
            "n": ["[U+E123]", None],
        },
        {PRIVATE},
    )
