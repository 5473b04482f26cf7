"""Labels from left to right as the image shows them, and back to the order of reading."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from htr_ssl.errors import UserError
from htr_ssl.text.charset import Charset, merge, normalise
from htr_ssl.text.direction import logical, of_text, visual, visual_order

SHALOM, OLAM = "\u05e9\u05dc\u05d5\u05dd", "\u05e2\u05d5\u05dc\u05dd"  # Hebrew
SALAM = "\u0633\u0644\u0627\u0645"  # Arabic
SHLAMA = "\u072b\u0720\u0721\u0710"  # Syriac
BEGINNING = "\u05d1\u05b0\u05bc\u05e8\u05b5\u05d0\u05e9\u05b4\u05c1\u05d9\u05ea"  # with points
DIGITS = "\u0661\u0669\u0669\u0666"


@pytest.mark.parametrize(
    ("text", "direction", "shown"),
    [
        (SHALOM, "rtl", SHALOM[::-1]),
        (SHALOM, "ltr", SHALOM[::-1]),  # a line of one direction only is laid out in it
        (SALAM, "rtl", SALAM[::-1]),
        (SHLAMA, "rtl", SHLAMA[::-1]),
        (f"{SHALOM} 1858 {OLAM}", "rtl", f"{OLAM[::-1]} 1858 {SHALOM[::-1]}"),
        (f"{SALAM} {DIGITS} {SALAM}", "rtl", f"{SALAM[::-1]} {DIGITS} {SALAM[::-1]}"),
        (f"{SHLAMA} 12 {SHLAMA}", "rtl", f"{SHLAMA[::-1]} 12 {SHLAMA[::-1]}"),
        (f"{SHALOM} ({OLAM})", "rtl", f"({OLAM[::-1]}) {SHALOM[::-1]}"),
        (f"{SHALOM} [abc (x)] {OLAM}", "rtl", f"{OLAM[::-1]} [abc (x)] {SHALOM[::-1]}"),
        (f"{SHALOM} 12-34", "rtl", f"12-34 {SHALOM[::-1]}"),
        (f"{SALAM} 12-34", "rtl", f"34-12 {SALAM[::-1]}"),
        (f"{SHALOM} 12.50%", "rtl", f"12.50% {SHALOM[::-1]}"),
        (f"abc {SHALOM}", "ltr", f"abc {SHALOM[::-1]}"),
        (f"abc {SHALOM}", "rtl", f"{SHALOM[::-1]} abc"),
        (f"abc {SHALOM} 12 {OLAM} de", "ltr", f"abc {OLAM[::-1]} 12 {SHALOM[::-1]} de"),
        ("Page 12 (b).", "rtl", "Page 12 (b)."),
        ("abc (12)", "reversed", "(21) cba"),
        ("12345", "reversed", "54321"),
        ("12345", "rtl", "12345"),
        ("", "rtl", ""),
    ],
)
def test_what_stands_from_left_to_right(text, direction, shown):
    assert visual(text, direction) == shown
    assert logical(shown, direction) == text


def test_marks_follow_their_letters():
    shown = visual(BEGINNING, "rtl")
    assert shown == "\u05ea\u05d9\u05e9\u05b4\u05c1\u05d0\u05e8\u05b5\u05d1\u05b0\u05bc"
    assert logical(shown, "rtl") == BEGINNING


MIXED = st.text(
    "\u05d0\u05d1\u05d2\u05d3\u0627\u0628\u062a\u0710\u05b0\u0661abcXY0123456789 .,:-/%()[]", max_size=14
).map(normalise)
WORDS = st.lists(
    st.one_of(
        st.sampled_from([SHALOM, OLAM, BEGINNING, f"({SHALOM})", f"{OLAM},", f'"{SHALOM}"', f"{OLAM}."]),
        st.integers(0, 9999).map(str),
    ),
    min_size=1,
    max_size=6,
).map(" ".join)


@settings(max_examples=150, deadline=None)
@given(MIXED, st.sampled_from(["ltr", "rtl", "reversed"]))
@example("(", "rtl")
def test_layout_only_moves_and_mirrors(text, direction):
    order = visual_order(text, direction)
    assert sorted(order) == list(range(len(text)))
    shown = visual(text, direction)
    pairs = [{a, text[place]} for a, place in zip(shown, order, strict=True)]
    assert all(len(pair) == 1 or pair in ({"(", ")"}, {"[", "]"}) for pair in pairs)
    assert [c for c in sorted(logical(shown, direction)) if c not in "()[]"] == [
        c for c in sorted(text) if c not in "()[]"
    ]


@settings(max_examples=150, deadline=None)
@given(WORDS)
def test_lines_of_one_script_with_numbers_come_back(text):
    if any(not part.isdigit() for part in text.split()):
        back = logical(visual(text, "rtl"), "rtl")
        assert visual(back, "rtl") == visual(text, "rtl")
        assert back == text


@settings(max_examples=150, deadline=None)
@given(st.text("abcdé (),.12\u4e00\u0434", max_size=12))
def test_left_to_right_text_is_left_alone(text):
    assert visual(text, "ltr") == text == logical(text, "ltr")


def test_direction_is_that_of_most_letters():
    assert of_text(["abc", SHALOM]) == "rtl"
    assert of_text(["abcdef", SHALOM]) == "ltr"
    assert of_text([f"12 {DIGITS}"]) == "rtl"
    assert of_text(["12", "", "(-)"]) is None


@pytest.mark.parametrize("text", [f"{SHALOM} ({OLAM}) 1858", f"{SALAM} {DIGITS}", SHLAMA, BEGINNING, "abc (1)"])
def test_charset_goes_both_ways(text):
    charset = Charset.build([text], "rtl")
    assert charset.decode(charset.encode(text)) == text
    assert not charset.unseen([text])
    assert charset.keep(text) == text
    assert len(charset.encode(text)) == len(charset.visual_order(text)) == len(text)
    again = Charset.of_model({"charset": charset.to_header(), "direction": charset.direction})
    assert again == charset


def test_old_models_are_left_to_right():
    assert Charset.of_model({"charset": json.dumps(["a", "b"])}).direction == "ltr"
    with pytest.raises(UserError, match="direction 'up' is unknown"):
        Charset.of_model({"charset": "[]", "direction": "up"})


def test_the_direction_of_the_data_wins_over_that_of_the_start():
    old, new = Charset(("a",)), Charset(("a",), "rtl")
    for policy in ("union", "new", "fail"):
        merged, _, report = merge(old, new, policy)
        assert merged.direction == "rtl"
        assert "direction rtl, the model's was ltr" in report
