import pytest
from hypothesis import given
from hypothesis import strategies as st

from htr_ssl.text.charset import NORMALISATION
from htr_ssl.text.tokens import APART, FACT, JOINED, detokenise, rule


@pytest.mark.parametrize(
    ("apart", "joined"),
    [
        ("A MOVE to stop Mr. Gaitskell from", "A MOVE to stop Mr. Gaitskell from"),
        ("tomorrow .", "tomorrow."),
        ("Peers , and so on ; he said : no !", "Peers, and so on; he said: no!"),
        ('He said , " No . " Then', 'He said, "No." Then'),
        ("( in brackets ) and [ these ]", "(in brackets) and [these]"),
        ("he does n't , and she 's here", "he doesn't, and she's here"),
        ("well . . .", "well..."),
        ('" one " and " two "', '"one" and "two"'),
        ("", ""),
        ("rock 'n roll", "rock 'n roll"),
    ],
)
def test_tokens_are_joined(apart, joined):
    assert detokenise(apart) == joined


@given(st.text('ab .,"()', max_size=30))
def test_only_blanks_change(text):
    assert detokenise(text).replace(" ", "") == text.replace(" ", "")
    assert detokenise(detokenise(text)) == detokenise(text)


def test_the_rule_has_its_name():
    assert rule({}) == NORMALISATION
    assert rule({FACT: APART}) == f"{NORMALISATION}, tokens apart (as IAM's |)"
    assert rule({FACT: JOINED}) == f"{NORMALISATION}, tokens joined"
