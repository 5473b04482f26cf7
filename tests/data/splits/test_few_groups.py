"""A source of too few pages or writers is not divided by them in silence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from htr_ssl.check.describe import draw
from htr_ssl.data.samples import Samples
from htr_ssl.errors import UserError


class Unseen(Samples):
    def image(self, index):
        raise NotImplementedError


def lines(pages, count=24, labelled=24):
    texts = [f"text {row}" if row < labelled else None for row in range(count)]
    columns = {"id": [f"{row:03d}" for row in range(count)], "text": texts}
    columns |= {"page": [f"p{row % pages}" for row in range(count)], "writer": [None] * count}
    return Unseen(columns, "line")


@given(pages=st.integers(1, 8), validation=st.sampled_from([0.0, 0.2]), test=st.sampled_from([0.0, 0.2]))
def test_every_part_that_is_asked_for_has_lines_or_it_is_said(pages, validation, test):
    parts = {"train", *(["validation"] if validation else []), *(["test"] if test else [])}
    if pages < len(parts):
        with pytest.raises(UserError, match=rf"{pages} pages? .*cannot be divided into {len(parts)} parts.*--by row"):
            draw(lines(pages), "page", validation, test, 0)
        assert set(draw(lines(pages), "row", validation, test, 0)) == parts
    else:
        assert set(draw(lines(pages), "page", validation, test, 0)) == parts


def test_pages_without_texts_do_not_count():
    with pytest.raises(UserError, match="1 page with texts"):
        draw(lines(pages=24, labelled=1), "page", 0.2, 0.2, 0)
