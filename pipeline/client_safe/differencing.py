"""What was published stays in somebody's drawer. A figure that has since changed for fewer people than may be told of is not
told again, nor is one of a period that overlaps it: whoever subtracts the two would learn of these few.

`safe_figures` sees to it that what is told of one state of the data is safe together. This compares states.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, select

from pipeline.client_safe.document import Figure, read_figures
from pipeline.client_safe.shown import end_of
from pipeline.store.schema import publications, summaries

K = 5
ADDS_UP = ("count", "cents")  # a median or a rate can't be subtracted


def published_figures(connection: Connection, client_id: str) -> list[Figure]:
    """Every figure that this client was ever shown, revoked and replaced ones too."""
    found = (
        select(summaries.c.figures)
        .join(publications, publications.c.summary_id == summaries.c.summary_id)
        .where(publications.c.client_id == client_id)
        .distinct()
    )
    texts: list[str] = list(connection.execute(found).scalars())
    return [figure for text in texts for figure in read_figures(text)]


def not_again(told: Iterable[Figure], published: Iterable[Figure], today: Mapping[str, Figure]) -> set[str]:
    """Ids of what may not be told. `today` is what would be told now of every week and month."""
    moved = [one for one in published if _has_moved(one, today.get(one.figure_id))]
    return {
        figure.figure_id
        for figure in told
        if figure.value is not None and any(_overlap(figure.figure_id, one.figure_id) for one in moved)
    }


def _has_moved(then: Figure, now: Figure | None) -> bool:
    if then.value is None or then.unit not in ADDS_UP or then.query != "client_safe.safe_figures":
        return False
    if now is not None and now.value == then.value:
        return False
    return now is None or now.k is None or then.k is None or abs(now.k - then.k) < K


def _overlap(one: str, other: str) -> bool:
    """Whether two figures are the same one, of periods with a day in common."""
    (client, kind, start, *of), (other_client, other_kind, other_start, *other_of) = one.split("|"), other.split("|")
    return (
        (client, of) == (other_client, other_of)
        and start < end_of(other_kind, other_start)
        and other_start < end_of(kind, start)
    )
