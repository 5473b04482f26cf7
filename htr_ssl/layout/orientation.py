"""How far a line has to be turned to be level, as PAGE and ALTO state it.

PAGE: `orientation` of the nearest region (or of the page) plus `readingOrientation`, in degrees clockwise that correct
the turn; without it `readingDirection`. ALTO: `ROTATION`, by how much the text is turned counterclockwise, which is the
same number; without it `BASEDIRECTION`. Source: the schemas' own documentation, PAGE 2019-07-15 and ALTO 4.4.
"""

from __future__ import annotations

import math

import numpy as np
from lxml import etree

_VERTICAL = {"bottom-to-top": 90.0, "btt": 90.0, "top-to-bottom": -90.0, "ttb": -90.0}
_STEEP = 45.0


def stated(line: etree._Element, polygon: np.ndarray) -> float | None:
    """Turn to the right that levels the line [degrees, -180 to 180]; None if its file states none.

    Args:
        line: the element.
        polygon: its outline (K, 2) [px]; a vertical direction alone does not turn a line that is wider than high.
    """
    angles = [_nearest(line, names) for names in (("orientation", "ROTATION"), ("readingOrientation",))]
    angle = _wrapped(sum(value for value in angles if value is not None))
    way = _VERTICAL.get((_attribute(line, ("readingDirection", "BASEDIRECTION")) or "").strip().lower())
    upright = len(polygon) > 0 and float(np.ptp(polygon[:, 0])) >= float(np.ptp(polygon[:, 1]))
    if way is not None and abs(angle) < _STEEP and not upright:
        angle = _wrapped(angle + way)
    return angle or None


def along(baseline: np.ndarray | None) -> float | None:
    """The same for a line with a steep baseline, from its first to its last point; None if it is not steep."""
    if baseline is None or len(baseline) < 2:
        return None
    across, down = baseline[-1] - baseline[0]
    return math.degrees(math.atan2(-down, across)) if abs(down) > abs(across) else None


def _attribute(line: etree._Element, names: tuple[str, ...]) -> str | None:
    """Attribute of the line or of the nearest element around it that has one of the names."""
    for element in (line, *line.iterancestors()):
        for name in names:
            value = element.get(name)
            if value is not None:
                return value
    return None


def _nearest(line: etree._Element, names: tuple[str, ...]) -> float | None:
    """The attribute as an angle; None if there is none or it is no number."""
    try:
        value = float(_attribute(line, names) or "nan")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _wrapped(angle: float) -> float:
    return 180.0 - (180.0 - angle) % 360.0
