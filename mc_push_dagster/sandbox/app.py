"""The ASGI application: every answer says that it does not come from Monte Carlo."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mc_push_dagster.sandbox import control, graphql, page, rest
from mc_push_dagster.sandbox.contract import HEADERS
from mc_push_dagster.sandbox.world import World

LOCAL_NAMES = ["127.0.0.1", "localhost"]


class SaysSo:
    """Adds `x-sandbox` to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *((k.encode(), v.encode()) for k, v in HEADERS.items())]
            await send(message)

        await self._app(scope, receive, marked)


def build_app(world: World) -> ASGIApp:
    """Put the sandbox together around its data."""
    app = Starlette(
        routes=[*rest.routes, *graphql.routes, *control.routes, *page.routes],
        # So that no page of another site reaches the sandbox through a name that resolves to 127.0.0.1.
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=LOCAL_NAMES)],
    )
    app.state.world = world
    # Around everything, so that also an answer to our own mistake (500) says whose it is.
    return SaysSo(app)
