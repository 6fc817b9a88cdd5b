"""``deepfake serve``: the HTTP service."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake_core.commands.terminal import DONE, add_registry, registry_of, say, tell
from deepfake_core.errors import UsageError
from deepfake_core.serve.config import ServeConfig

if TYPE_CHECKING:
    from deepfake_core.commands.terminal import Commands


def add(commands: Commands) -> None:
    """Add ``serve``; its options are the fields of `ServeConfig`."""
    parser = commands.add_parser("serve", help="judge single images over HTTP")
    for name, field in ServeConfig.model_fields.items():
        shown = field.default if isinstance(field.default, (int, float, str)) else None
        described = f"{field.description} Default: {shown}." if shown else field.description
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            dest=name,
            default=argparse.SUPPRESS,
            action="append" if name == "allow_origin" else "store",
            help=described,
        )
    parser.add_argument(
        "--new-token",
        metavar="NAME",
        help="make a token, show it this once, store its hash in the file of --tokens, and end",
    )
    add_registry(parser)
    parser.set_defaults(command=_serve)


def _serve(parsed: argparse.Namespace) -> int:
    given = {key: value for key, value in vars(parsed).items() if key in ServeConfig.model_fields}
    given.setdefault("port", os.environ.get("PORT") or ServeConfig.model_fields["port"].default)
    config = ServeConfig(**given)
    if parsed.new_token is not None:
        return _new_token(config, parsed.new_token)
    from deepfake_core.serve.server import serve

    serve(config, say=say, registry=registry_of(parsed))
    return DONE


def _new_token(config: ServeConfig, name: str) -> int:
    from deepfake_core.serve.tokens import add_token

    if config.tokens is None:
        raise UsageError("--new-token needs --tokens FILE, where the token's hash is stored")
    tell(None, add_token(Path(config.tokens), name))
    say(f"{config.tokens} has its hash; the token itself is stored nowhere, so keep it")
    return DONE
