"""Prefect's server behind a door: ``python -m flows.door``, which ``make server`` and compose run.

Prefect's own command answers pages of any origin, under any name, and asks nobody who they are:
a web page in the browser of an operator could start runs. Here the server wants a login, lets
only its own pages read its answers, and answers under the names of its address only, so that no
other site can take its name.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from flows import TOLD_TO_NOBODY
from flows.login import ASKED, login_file, make_login

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

PORT = 4200
LOOPBACK = ("127.0.0.1", "localhost")
SCHEMES = ("http", "https")
OWN_ONLY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'none'"


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until stopped; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m flows.door", description=main.__doc__)
    parser.add_argument("--host", default=LOOPBACK[0], help="address to bind (%(default)s)")
    parser.add_argument("--port", type=int, default=PORT, help="port (%(default)s)")
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        help="a further name under which the server is reached; may be repeated",
    )
    options = parser.parse_args(arguments)
    names = [*LOOPBACK, *options.name]
    os.environ.update(settings(names, options.port))
    os.environ[ASKED] = make_login()
    print(f"The server asks for the login in {login_file()}.", flush=True)
    serve(names, host=options.host, port=options.port)
    return 0


def settings(names: Sequence[str], port: int) -> dict[str, str]:
    """Prefect's settings of a server that answers its own pages only, and tells nobody."""
    origins = ",".join(f"{scheme}://{name}:{port}" for name in names for scheme in SCHEMES)
    return {**TOLD_TO_NOBODY, "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": origins}


def serve(names: Sequence[str], *, host: str, port: int) -> None:
    """Run Prefect's application, services included, as its own command does."""
    # Imported here: Prefect reads the environment when it is imported.
    import uvicorn
    from prefect.server.api import collections
    from prefect.server.api.server import create_app
    from prefect.settings import get_current_settings

    # Kinds of workers would be looked up at a code host first, and then in Prefect's own files.
    collections.KNOWN_VIEWS.update(dict.fromkeys(collections.KNOWN_VIEWS, ""))
    api = get_current_settings().server.api
    uvicorn.run(
        guarded(create_app(final=True), names),
        host=host,
        port=port,
        timeout_keep_alive=api.keepalive_timeout,
        log_level=get_current_settings().server.logging_level.lower(),
    )


def guarded(app: ASGIApp, names: Sequence[str]) -> ASGIApp:
    """The application, for requests that know it by one of its names.

    Its pages may load nothing from elsewhere, as they do for logos of blocks.
    """
    from starlette.datastructures import MutableHeaders
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    async def answered(scope: Scope, receive: Receive, send: Send) -> None:
        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Content-Security-Policy"] = OWN_ONLY
            await send(message)

        await app(scope, receive, answer if scope["type"] == "http" else send)

    return TrustedHostMiddleware(answered, allowed_hosts=list(names), www_redirect=False)


if __name__ == "__main__":
    sys.exit(main())
