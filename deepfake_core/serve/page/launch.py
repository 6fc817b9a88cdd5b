"""Starts the page: checks what can be checked first, then hands over to Streamlit."""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path
from typing import Any

from deepfake_core.errors import UsageError
from deepfake_core.serve.page.settings import MAX_UPLOAD_MEGABYTES, Settings

SCRIPT = Path(__file__).with_name("app.py")
HIGHEST_PORT = 65535


def launch(settings: Settings, *, host: str, port: int) -> None:
    """Serve the page until it is stopped by Ctrl-C or a signal.

    Raises:
        UsageError: the address cannot be used; the message says which other to take.
    """
    check_address(host, port)
    try:
        from starlette.formparsers import MultiPartParser
        from streamlit.web import bootstrap
    except ImportError as error:
        raise UsageError(
            f"the page needs a library that is not installed ({error.name}); "
            "install deepfake-verification with its extra: serve"
        ) from error
    # 0 is no limit: else an upload of over 1 MB passes through a temporary file.
    MultiPartParser.spool_max_size = 0
    options = streamlit_options(host, port)
    bootstrap.load_config_options(options)
    bootstrap.run(str(SCRIPT), False, [settings.as_argument()], options)


def check_address(host: str, port: int) -> None:
    """See that the page can listen here, before a model is loaded and a server half started."""
    if not 1 <= port <= HIGHEST_PORT:
        raise UsageError(f"--port is a number from 1 to {HIGHEST_PORT}, found {port}")
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            # As the server itself does, so that a port left a moment ago is not called busy.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise UsageError(
            f"cannot listen on port {port} of {host}: {error.strerror}; "
            f"stop what runs there, or choose another with --port, such as {_free_port(host)}"
        ) from error


def _free_port(host: str) -> int:
    """A port that is free now; the usual one after this where even that cannot be found."""
    try:
        with socket.socket() as probe:
            probe.bind((host, 0))
            return int(probe.getsockname()[1])
    except OSError:
        return 8502


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens on an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def url(host: str, port: int) -> str:
    """What to type into the browser of this machine."""
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104
    return f"http://{f'[{shown}]' if ':' in shown else shown}:{port}"


def streamlit_options(host: str, port: int) -> dict[str, Any]:
    """Streamlit's settings, as its command line takes them: nothing leaves the machine.

    Without the two addresses it asks a host outside for its own; without `allowedHosts` a page
    elsewhere could rebind its name to this machine and read along.
    """
    return {
        "browser_gatherUsageStats": False,
        "browser_serverAddress": "127.0.0.1" if is_loopback(host) else host,
        "server_address": host,
        "server_port": port,
        "server_headless": True,
        "server_allowedHosts": ["127.0.0.1", "localhost", "::1"] if is_loopback(host) else [],
        "server_maxUploadSize": MAX_UPLOAD_MEGABYTES,
        "server_fileWatcherType": "none",
        "client_toolbarMode": "minimal",
        # A traceback would show paths of this machine to whoever reads the page.
        "client_showErrorDetails": "none",
        "logger_level": "warning",
        "logger_hideWelcomeMessage": True,
        **_THEME,
    }


# Every pair of text and ground has a contrast of at least 4.5 to 1 (WCAG 2.2, AA). The browser's
# setting says whether it is day or night.
_DAY = {
    "primaryColor": "#0b6b5d",
    "backgroundColor": "#ffffff",
    "secondaryBackgroundColor": "#f3f4f2",
    "textColor": "#1d2126",
    "codeTextColor": "#1d2126",
    "linkColor": "#0b5a8a",
}
_NIGHT = {
    "primaryColor": "#6fd6c5",
    "backgroundColor": "#14171a",
    "secondaryBackgroundColor": "#22272c",
    "textColor": "#e9ebee",
    "codeTextColor": "#e9ebee",
    "linkColor": "#86c7f2",
}
_THEME = {
    "theme_font": "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif",
    "theme_showWidgetBorder": True,
    "theme_baseRadius": "8px",
    **{f"theme_light_{name}": colour for name, colour in _DAY.items()},
    **{f"theme_dark_{name}": colour for name, colour in _NIGHT.items()},
}
