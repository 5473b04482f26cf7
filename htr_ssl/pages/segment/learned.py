"""Lines of any page by a small net that ships with the package: upright and turned pages, notes up the margin, tables.

A first look at a reduced page tells how large its writing is and which way up it lies; a second at the right size
finds the lines. `htr-ssl segment train` makes a net for one's own pages.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from htr_ssl.layout.document import Found, Line, turned
from htr_ssl.pages.finder.maps import Maps, maps_of
from htr_ssl.pages.finder.net import HEIGHT, FinderNet
from htr_ssl.pages.finder.outline import Ink, outlines, written
from htr_ssl.pages.finder.page_layout import laid_out, within
from htr_ssl.pages.finder.rules import cells, cut, inside, table_of
from htr_ssl.pages.finder.trace import Trace, trace
from htr_ssl.pages.finder.weights import SHIPPED, load

Array = np.ndarray[Any, np.dtype[Any]]

_FIRST = 896  # longest side of the page in the first look [px]
_AREA = 3_000_000  # most pixels in the second
_LEAST = 24  # images with a shorter side hold no line [px]
_LARGEST = 4.0  # most a page is enlarged
_SAME = 0.72, 1.4  # ratio of the two looks' scales at which the second is spared
_TURNED = 0.6  # share of the text that must lie on its side for the page to be turned
_SURE, _DOUBT = 0.97, 0.1  # share of upright text that spares the look at the page on its head; lead that this needs
_STEEP = 0.6  # share that lies on its side where text runs up or down
_SURE_NOTE = 0.72  # least confidence of a line up or down the page: stamps and ribbons have less
_NOTE = 5.0  # least size of upright notes in the margin [squares of the usual height]


def segment(image: np.ndarray, direction: str = "ltr") -> Found:
    """Text lines of a page image in reading order, each with polygon, baseline, kind and the finder's confidence.

    Args:
        image: uint8, (H, W) gray or (H, W, 3) RGB.
        direction: `rtl` if columns and cells are read from right to left.
    """
    return find(_shipped(), image, direction)


@lru_cache(1)
def _shipped() -> FinderNet:
    return load(SHIPPED).fused()


def find(net: FinderNet, image: np.ndarray, direction: str = "ltr") -> Found:
    """As `segment`, with a net of one's own."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.ndim == 3 else image
    height, width = gray.shape
    if min(height, width) < _LEAST:
        return Found(notes=[f"the image has only {width} x {height} pixels: too small for a line of text"])
    if max(height, width) / min(height, width) > 60:
        return Found(notes=[f"the image has {width} x {height} pixels: a strip, not a page"])
    quarter, maps = _upright(net, gray)
    upright = np.ascontiguousarray(np.rot90(gray, quarter)) if quarter else gray
    orientation = (4 - quarter) % 4 * 90
    if not maps.height:
        return Found(orientation=orientation, notes=["no line of text was found"])
    maps = _closer(net, upright, maps)
    level, left_out = within(_placed(maps, upright), upright.shape[1])
    found = [(line, "main") for line in level]
    found += [(line, "vertical") for line in _notes(net, upright, maps)]
    lines, notes = laid_out(found, direction)
    notes += left_out
    if not lines:
        notes.append("no line of text was found")
    if quarter:
        notes.insert(0, f"the page lies turned to the right by {90 * quarter} degrees; it was read upright")
        for line in lines:
            _turn_back(line, quarter, upright)
    return Found(lines, orientation, notes)


def _turn_back(line: Line, quarter: int, upright: Array, corner: tuple[int, int] = (0, 0)) -> None:
    """Puts a line of an upright image where it lies on the page, turned right by quarters."""
    height, width = upright.shape
    shift = np.array(corner)
    line.orientation = {1: -90.0, 2: 180.0, 3: 90.0}[quarter]
    line.polygon = turned(line.polygon, 90 * quarter, width, height) + shift
    line.baseline = turned(np.asarray(line.baseline), 90 * quarter, width, height) + shift


def _look(net: FinderNet, gray: Array, quarter: int) -> Maps:
    """Maps of the reduced page, turned left by quarters."""
    image = np.ascontiguousarray(np.rot90(gray, quarter)) if quarter else gray
    return maps_of(net, image, min(1.0, _FIRST / max(gray.shape)))


def _upright(net: FinderNet, gray: Array) -> tuple[int, Maps]:
    """Quarter turns to the left that set the page upright, and its maps then.

    Whether text runs across or down is plain. Which way up it stands is told by two looks, the second on its head.
    """
    maps = _look(net, gray, 0)
    shares = maps.turns()
    if not shares.any():
        return 0, maps
    quarter = 1 if shares[1] + shares[3] > _TURNED else 0
    first = _look(net, gray, quarter) if quarter else maps
    if not quarter and shares[0] > _SURE:
        return 0, maps
    other = _look(net, gray, quarter + 2)
    one, two = first.turns(), other.turns()
    if one[0] - one[2] - (two[0] - two[2]) < (0 if quarter else -_DOUBT):
        return quarter + 2, other
    return quarter, first


def _closer(net: FinderNet, gray: Array, maps: Maps) -> Maps:
    """Maps of the page at the size at which its writing has the usual height."""
    for _ in range(2):
        scale = float(2 * maps.scale.mean())
        goal = float(np.clip(scale * HEIGHT / (2 * maps.height), 0.02, _LARGEST))
        goal = min(goal, (_AREA / gray.size) ** 0.5)
        if _SAME[0] < goal / scale < _SAME[1]:
            break
        closer = maps_of(net, gray, goal)
        if not closer.height:
            break
        maps = closer
    return maps


def _placed(maps: Maps, gray: Array, corner: tuple[float, float] = (0.0, 0.0)) -> list[Line]:
    """Lines of maps, in pixels of the page; `corner` is where the maps begin."""
    traces: list[Trace] = trace(maps)
    rules = table_of(gray, maps, traces)
    if rules:
        traces = cut(traces + cells(maps, traces, rules), rules)
    ink = Ink.of(gray, maps)
    kept = zip(traces, written(traces, ink), strict=True)
    traces = [line for line, sure in kept if sure or inside(line, rules)]
    lines = []
    for line, polygon in zip(traces, outlines(traces, maps, gray.shape, ink, rules), strict=True):
        knots = np.linspace(0, len(line.x) - 1, max(2, min(24, round(np.ptp(line.x) / line.height) + 1)))
        place = knots.round().astype(int)
        base = np.stack((line.x[place] + 0.5, line.y[place] + 0.5), 1) / maps.scale + corner
        lines.append(Line("", polygon + corner, base, found=round(line.chance, 3)))
    return lines


def _notes(net: FinderNet, gray: Array, maps: Maps) -> list[Line]:
    """Lines written up or down the page, found in the parts that the orientation map shows.

    Across or down is plain, up or down is not: each part is looked at both ways.
    """
    height, width = maps.turn.shape[1:]
    text = cv2.resize(maps.text, (width, height), interpolation=cv2.INTER_AREA)
    steep = maps.turn[1] + maps.turn[3]
    part = ((steep > _STEEP) & (text > 0.4)).astype(np.uint8)
    count, _, stats, _ = cv2.connectedComponentsWithStats(cv2.dilate(part, np.ones((3, 3), np.uint8)))
    cell = np.array(gray.shape[::-1]) / (width, height)
    size = maps.height / float(maps.scale.mean())
    lines: list[Line] = []
    for k in range(1, count):
        x, y, w, h = (int(v) for v in stats[k, :4])
        if w * h * cell.prod() < _NOTE * size**2 or h * cell[1] < 1.5 * size:
            continue
        left, top = (max(0, int((v - 2) * c)) for v, c in zip((x, y), cell, strict=True))
        right, bottom = (int((v + 2) * c) for v, c in zip((x + w, y + h), cell, strict=True))
        piece = gray[top:bottom, left:right]
        if min(piece.shape) < _LEAST // 2:
            continue
        looks = []
        for quarter in (1, 3):
            turned_piece = np.ascontiguousarray(np.rot90(piece, quarter))
            look = maps_of(net, turned_piece, float(2 * maps.scale.mean()))
            shares = look.turns()
            looks.append((shares[0] - shares[2], quarter, turned_piece, look))
        _, quarter, turned_piece, look = max(looks, key=lambda item: item[0])
        for line in _placed(look, turned_piece):
            _turn_back(line, quarter, turned_piece, (left, top))
            middle = ((line.polygon.min(0) + line.polygon.max(0)) / 2 / cell).astype(int)
            level = steep[min(middle[1], height - 1), min(middle[0], width - 1)] <= _STEEP
            if not level and (line.found or 0) >= _SURE_NOTE:
                lines.append(line)
    return lines
