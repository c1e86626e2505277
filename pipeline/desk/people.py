"""The desk and the portal of a home, put together: one process, two ports, two origins."""

from __future__ import annotations

from starlette.types import ASGIApp

from pipeline.desk.desk import derived, desk_app
from pipeline.desk.portal.app import portal_app
from pipeline.desk.portal.mail_links import link_mailer
from pipeline.desk.serving import serve_both
from pipeline.office import Office
from pipeline.store.login_attempts import Throttle
from pipeline.store.sealed import load_key
from pipeline.store.sessions import PORTAL

DESK_PORT, PORTAL_PORT = 8920, 8930


def serve(office: Office, *, host: str, port: int, portal_port: int) -> None:
    """Until a signal ends it."""
    portal_url = office.settings.portal_url or f"http://{host}:{portal_port}"
    serve_both(desk_app(office), portal_of(office, portal_url), host=host, port=port, portal_port=portal_port)


def portal_of(office: Office, portal_url: str) -> ASGIApp:
    settings = office.settings
    key = derived(load_key(settings.key, settings.home), b"leadtrail login attempts")
    names = {one.client_id: one.name for one in office.clients()}
    return portal_app(
        office.engine,
        throttle=Throttle(key, PORTAL.name),
        client_name=lambda client_id: names.get(client_id, client_id),
        send_link=link_mailer(settings, portal_url),
        public_url=settings.portal_url,
    )
