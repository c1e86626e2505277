"""The process that serves people: the desk and the portal, on two ports, so that they are two origins."""

from __future__ import annotations

import asyncio

import uvicorn
from starlette.types import ASGIApp


def serve_both(desk: ASGIApp, portal: ASGIApp, *, host: str, port: int, portal_port: int) -> None:
    """Until a signal ends both. Of where a visitor comes from, a proxy on this machine is believed and nobody else."""
    servers = [_server(desk, host, port), _server(portal, host, portal_port)]

    async def both() -> None:
        await asyncio.gather(*(server.serve() for server in servers))

    asyncio.run(both())


def _server(application: ASGIApp, host: str, port: int) -> uvicorn.Server:
    config = uvicorn.Config(
        application,
        host=host,
        port=port,
        server_header=False,
        access_log=False,
        log_level="warning",
        limit_concurrency=200,
        timeout_keep_alive=15,
        h11_max_incomplete_event_size=32_768,
        http="h11",
        lifespan="off",
    )
    return uvicorn.Server(config)
