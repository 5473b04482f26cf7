"""Points turn with their image."""

from __future__ import annotations

import numpy as np
import pytest

from htr_ssl.layout.document import Found, Line, turned


@pytest.mark.parametrize("orientation", [0, 90, 180, 270])
def test_points_turn_with_the_image(orientation: int) -> None:
    image = np.zeros((30, 50), np.uint8)
    points = np.array([[3, 4], [40, 4], [11, 29], [0, 0]])
    for value, (x, y) in enumerate(points, 1):
        image[y, x] = value
    there = turned(points, orientation, 50, 30)
    upright = np.rot90(image, -orientation // 90)
    assert [upright[y, x] for x, y in there] == [1, 2, 3, 4]
    back = turned(there, (360 - orientation) % 360, upright.shape[1], upright.shape[0])
    assert np.array_equal(back, points)


def test_what_is_found_is_a_list_of_lines_with_notes() -> None:
    found = Found([Line("a", np.zeros((3, 2)))], 90, ["odd"])
    assert [line.id for line in found] == ["a"]
    assert (found.orientation, found.notes) == (90, ["odd"])
