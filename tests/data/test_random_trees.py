"""Every label stands on its own image or is named, whatever the names; see `benchmarks/reliability/trees.py`."""

from hypothesis import given, settings
from hypothesis import strategies as st
from random_trees import wrong


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9))
def test_labels_stay_with_their_images(tmp_path_factory, seed):
    assert wrong(tmp_path_factory.mktemp("tree"), seed) == []
