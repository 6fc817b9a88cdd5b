"""``deepfake app``: the web page."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from deepfake_core.commands.plain_words import whole_number
from deepfake_core.commands.terminal import DONE, add_registry, registry_of, say
from deepfake_core.models.registry import find_model

if TYPE_CHECKING:
    from deepfake_core.commands.terminal import Commands


def add(commands: Commands) -> None:
    """Add ``app``."""
    parser = commands.add_parser("app", help="judge single pictures in a web page")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: %(default)s)"
    )
    parser.add_argument(
        "--port", type=whole_number, default=8501, help="port to listen on (default: %(default)s)"
    )
    parser.add_argument(
        "--model", default="resnet50", help="model as NAME or NAME@VERSION (default: %(default)s)"
    )
    parser.add_argument(
        "--reports",
        default="reports",
        metavar="DIR",
        help="folder of finished scans, where feedback goes too (default: %(default)s)",
    )
    add_registry(parser)
    parser.set_defaults(command=_app)


def _app(parsed: argparse.Namespace) -> int:
    from deepfake_core.serve.page.launch import check_address, is_loopback, launch, url
    from deepfake_core.serve.page.settings import Settings

    model_id = find_model(parsed.model, registry_of(parsed)).model_id
    check_address(parsed.host, parsed.port)
    say(f"the page with {model_id} is at {url(parsed.host, parsed.port)}; stop it with Ctrl-C")
    if not is_loopback(parsed.host):
        say("whoever reaches this address can use the page and see the scans; it has no password")
    settings = Settings(parsed.model, parsed.reports, str(registry_of(parsed).resolve()))
    launch(settings, host=parsed.host, port=parsed.port)
    return DONE
