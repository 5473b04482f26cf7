import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from htr_ssl.errors import UserError
from htr_ssl.text.charset import BLANK, Charset, listing, merge, normalise
from htr_ssl.text.direction import has_right_to_left

texts = st.lists(st.text(max_size=12), max_size=8)


@given(st.text())
def test_normalised_text_is_nfc_with_single_spaces_and_stays_so(text):
    result = normalise(text)
    assert unicodedata.is_normalized("NFC", result)
    assert normalise(result) == result
    assert result == result.strip()
    assert not any(character.isspace() and character != " " for character in result)
    assert "  " not in result


def test_normalisation_keeps_case_and_joins_accents():
    assert normalise(" E\u0301té\u00a0 \tde\nMai ") == "Été de Mai"


@given(texts)
@example(["A\U0001ed010"])  # looks as "A0\U0001ed01" does
@example(["\u200f"])
def test_what_is_encoded_is_decoded(values):
    """But for right-to-left texts, of which several may look the same (test_direction.py), and marks without ink."""
    charset = Charset.build(values)
    for text in values:
        indices = charset.encode(text)
        assert charset.decode(indices) == normalise(text) or has_right_to_left([text])
        assert all(0 < index < len(charset) for index in indices)


@given(texts)
def test_charset_is_in_code_point_order_and_counts_the_blank(values):
    charset = Charset.build(values)
    assert list(charset.characters) == sorted({c for text in values for c in normalise(text)})
    assert len(charset) == len(charset.characters) + 1


def test_blank_is_zero_and_left_out():
    charset = Charset.build(["ab"])
    assert BLANK == 0
    assert charset.encode("ba") == [2, 1]
    assert charset.decode([0, 2, 0, 0, 1, 1]) == "baa"


@given(texts)
def test_header_round_trip(values):
    charset = Charset.build(values)
    header = charset.to_header()
    assert Charset.from_header(header) == charset
    assert header.isascii()
    assert "\n" not in header


@pytest.mark.parametrize("header", ["", "{}", "[1]", '"ab"', "["])
def test_damaged_header(header):
    with pytest.raises(UserError, match="header"):
        Charset.from_header(header)


@pytest.mark.parametrize("characters", [("ab",), ("",), ("a", "a")])
def test_impossible_characters(characters):
    with pytest.raises(UserError, match="charset"):
        Charset(characters)


def test_unseen_characters_are_counted_named_and_dropped():
    charset = Charset.build(["ab c"])
    assert charset.unseen(["abba", "caféé"]) == {"f": 1, "é": 2}
    assert charset.keep("a fé c") == "a c"
    with pytest.raises(UserError, match="'é' ×2"):
        charset.encode("caéé")


@given(texts, texts, st.sampled_from(["union", "new"]))
def test_merged_characters_inherit_their_own_index(old_texts, new_texts, policy):
    old, new = Charset.build(old_texts), Charset.build(new_texts)
    merged, mapping, report = merge(old, new, policy)
    wanted = set(new.characters) | (set(old.characters) if policy == "union" else set())
    assert set(merged.characters) == wanted
    assert mapping[0] == BLANK
    assert len(mapping) == len(merged)
    for character, source in zip(merged.characters, mapping[1:], strict=True):
        if source is None:
            assert character not in old.characters
        else:
            assert old.characters[source - 1] == character
    assert policy in report


def test_union_keeps_the_old_indices():
    merged, mapping, report = merge(Charset(("b", "a")), Charset(("a", "c")), "union")
    assert merged.characters == ("b", "a", "c")
    assert mapping == [0, 1, 2, None]
    assert report == "charset (union): 2 kept, 1 added: 'c', 0 dropped: none"


def test_fail_accepts_the_same_characters_only():
    assert merge(Charset(("b", "a")), Charset(("a", "b")), "fail")[1] == [0, 2, 1]
    with pytest.raises(UserError, match="only in the data: 'c'; only in the model: 'a'"):
        merge(Charset(("a",)), Charset(("c",)), "fail")


def test_listing_shows_what_cannot_be_printed_by_number():
    assert listing(["a", "\u0301", "\u200b"]) == "'a' U+0301 U+200B"
    assert listing([]) == "none"
