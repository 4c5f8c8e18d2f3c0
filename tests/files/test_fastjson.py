"""JSON is parsed alike with and without orjson."""

from __future__ import annotations

import pytest

from milepost.files import fastjson


@pytest.mark.parametrize("has_orjson", [True, False])
@pytest.mark.parametrize("text", ["[" * 200_000 + "]" * 200_000, "NaN", "[Infinity]", "{", ""])
def test_what_is_no_json_is_a_value_error(
    text: str, has_orjson: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_orjson:
        monkeypatch.setattr(fastjson, "_orjson_loads", None)
    with pytest.raises(ValueError, match=r"."):
        fastjson.loads(text)
