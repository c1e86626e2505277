"""`leadtrail portal export`: what a client's portal shows now, as files that any web server or mail can carry.

One folder for each client. A folder is written anew beside the old one and put in its place at once, so that what was withdrawn
is gone with the next export.
"""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy import Engine

from pipeline.desk.portal.reading import Shown, day, read
from pipeline.store import summaries

HERE = Path(__file__).parent
MOST = 10_000


def export(engine: Engine, folder: Path, client_id: str, name: str) -> int:
    """Write the pages of one client to `folder`/<client>. Returns how many summaries."""
    with engine.connect() as connection:
        listed = [read(row) for row in summaries.shown_to(connection, client_id, limit=MOST)]
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / f".{client_id}.{secrets.token_hex(4)}"
    made.mkdir()
    try:
        _write(made, listed, name)
        _put_in_place(made, folder / client_id)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return len(listed)


def _write(folder: Path, listed: list[Shown], name: str) -> None:
    templates = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.globals |= {"asset": lambda file: file, "day": day, "visit": None}
    templates.globals["link_to"] = lambda shown: f"{shown.publication_id}.html"
    overview = templates.get_template("overview.html").render(name=name, listed=listed, page=1, more=False)
    (folder / "index.html").write_text(overview)
    for shown in listed:
        page = templates.get_template("summary.html").render(name=name, shown=shown, back="index.html")
        (folder / f"{shown.publication_id}.html").write_text(page)
    for file in (HERE / "static").iterdir():
        shutil.copy(file, folder)


def _put_in_place(made: Path, place: Path) -> None:
    if place.exists():
        old = made.with_name(f"{made.name}.old")
        os.replace(place, old)
        os.replace(made, place)
        shutil.rmtree(old)
    else:
        os.replace(made, place)
