"""Small charts as SVG, drawn on the server. Each stands beside a table of the same numbers, so the picture itself is hidden from
who listens to the page. Colours come from the style sheet: no style is written into the page."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

WIDTH = 640
BAR, GAP, LABEL, VALUE = 22, 10, 200, 190
COLUMNS_WIDTH, CROWDED = 340, 8


def bars(rows: Sequence[tuple[str, float, float, str]]) -> Markup:
    """One bar a row: (label, from, to, said). A bar from low to high shows a range, one from 0 an amount."""
    most = max((high for _, _, high, _ in rows), default=0) or 1
    room = WIDTH - LABEL - VALUE
    parts = []
    for number, (label, low, high, said) in enumerate(rows):
        y = number * (BAR + GAP)
        start, length = room * low / most, room * (high - low) / most
        parts.append(
            Markup(
                '<text class="label" x="{}" y="{}">{}</text><rect class="track" x="{}" y="{}" width="{}" height="{}" rx="3"/>'
                '<rect class="bar" x="{:.1f}" y="{}" width="{:.1f}" height="{}" rx="3"/>'
                '<text class="value" x="{}" y="{}">{}</text>'
            ).format(
                LABEL - 12,
                y + 16,
                _short(label),
                LABEL,
                y,
                room,
                BAR,
                LABEL + start,
                y,
                max(length, 3),
                BAR,
                WIDTH,
                y + 16,
                said,
            )
        )
    return _drawn(Markup("").join(parts), len(rows) * (BAR + GAP) - GAP, "chart bars")


def columns(points: Sequence[tuple[str, float | None, str]], *, marked_from: int | None = None) -> Markup:
    """One column a month: (label, value, said); None is a gap. `marked_from`: the first column after joining."""
    height, foot, head = 130, 24, 22
    most = max((value for _, value, _ in points if value), default=0) or 1
    step = COLUMNS_WIDTH / max(len(points), 1)
    parts = []
    for number, (label, value, said) in enumerate(points):
        x, middle = number * step, number * step + step / 2
        if value is not None:
            tall = (height - head) * value / most
            kind = "bar" if marked_from is None or number >= marked_from else "bar before"
            parts.append(
                Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="3"/>').format(
                    kind, x + step * 0.18, height - max(tall, 2), step * 0.64, max(tall, 2)
                )
            )
            if len(points) <= CROWDED or number % 2 == (len(points) - 1) % 2:
                parts.append(
                    Markup('<text class="value middle" x="{:.1f}" y="{:.1f}">{}</text>').format(
                        middle, height - tall - 6, said
                    )
                )
        parts.append(
            Markup('<text class="label middle" x="{:.1f}" y="{}">{}</text>').format(middle, height + 18, label)
        )
    if marked_from is not None and 0 < marked_from < len(points):
        at = marked_from * step
        parts.append(Markup('<line class="mark" x1="{:.1f}" x2="{:.1f}" y1="0" y2="{}"/>').format(at, at, height))
    return _drawn(Markup("").join(parts), height + foot, "chart", COLUMNS_WIDTH)


def _drawn(inside: Markup, height: float, kind: str, width: int = WIDTH) -> Markup:
    return Markup(
        '<svg class="{}" viewBox="0 0 {} {}" role="presentation" aria-hidden="true" focusable="false">{}</svg>'
    ).format(kind, width, max(int(height), 1), inside)


def _short(label: str) -> Markup:
    return escape(label if len(label) <= 22 else label[:21] + "…")
