"""What ``htr-ssl evaluate --pages`` prints."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from htr_ssl.cli.show import fail, named, note, say
from htr_ssl.errors import UserError

if TYPE_CHECKING:
    from htr_ssl.pages.page_evaluation import PageScore
    from htr_ssl.text.metrics import Scores


def whole_pages(
    model: Path, source: str | None, segmenter: str, out: Path | None, device: str, threads: int, language_model: str
) -> None:
    """Scores a model on whole pages: a table of rates, what lines and order cost, and the worst pages."""
    if source is None:
        raise UserError("--pages: name the PAGE or ALTO files, or their folder, after the model")
    from htr_ssl.models import shelf
    from htr_ssl.pages import segmenters
    from htr_ssl.pages.page_evaluation import WAYS, evaluate_pages
    from htr_ssl.recognizers.aligned import read_aligned
    from htr_ssl.recognizers.reader import Reader

    reader = Reader.load(shelf.find(model), device, threads, lm=language_model)
    find = segmenters.segmenter(segmenter, reader.charset.direction)
    result = evaluate_pages([Path(source)], find, partial(read_aligned, reader), _told)
    if out is not None:
        result.write(out)
    scores = {way: result.scores(way) for way in WAYS}
    say(f"| {len(result.pages)} page(s) | CER [%] | WER [%] | WAcc [%] |\n| --- | --- | --- | --- |")
    many = len(result.pages) > 1
    for way, title in WAYS.items():
        say(f"| {title} | {' | '.join(_rate(scores[way], name, many) for name in ('cer', 'wer', 'wacc'))} |")
    lines = result.lines
    given, marked, found, ordered = (100 * scores[way].cer for way in WAYS)
    say(
        f"finding lines costs {found - given:+.1f} points of CER, without what is found beside the given lines "
        f"{marked - given:+.1f}; their order costs {ordered - found:+.1f}"
    )
    say(
        f"lines: {lines.true} given, {lines.found} found, {lines.missed} missed, {lines.spurious} on none; "
        f"{lines.ordered} of {lines.half} in order"
    )
    fail([named(path, text) for path, text in result.failed], len(result.pages) + len(result.failed))


def _rate(scores: Scores, name: str, many: bool) -> str:
    """A rate with its interval, which one page does not have."""
    low, high = getattr(scores, f"{name}_ci")
    rate = f"{100 * getattr(scores, name):.1f}"
    return rate if not many else f"{rate} [{100 * low:.1f}, {100 * high:.1f}]"


def _told(page: PageScore) -> None:
    shown = ", ".join(f"{way.replace('_', ' ')} {100 * page.cer(way):.1f} %" for way in page.counts)
    note(f"{page.name}: CER {shown}; {page.seconds:.1f} s")
