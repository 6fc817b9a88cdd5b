"""Prefect automations that ship: they act when a run fails, drifts or is missing.

``make server`` creates them. On a server of your own, and to choose who is told::

    python -m flows.automations
    python -m flows.automations --block slack-webhook/ops

Without a block nobody is told: that they fired is in Prefect's event feed. The block is one of
Prefect's notification blocks or its webhook block; the automations know its id only, no address.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx

from deepfake_core.errors import DeepfakeError, UsageError
from flows.login import login_for

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import BlockDocument
    from prefect.events.actions import ActionTypes
    from prefect.events.schemas.automations import AutomationCore

NIGHTLY = "nightly-scan"
# From a night's earliest end, 02:00, to the latest of the next, which has 300 minutes: 29 h.
NIGHT_HOURS = 30
WEBHOOK = "webhook"
OF_RUN = (
    "{{ flow.name }} run {{ flow_run.name }}: {{ flow_run.state.name }}. "
    "{{ flow_run.state.message }}\n{{ flow_run|ui_url }}"
)


@dataclass(frozen=True)
class Notice:
    """One automation: when it fires, as Prefect's event trigger, and what it says."""

    name: str
    description: str
    trigger: Mapping[str, object]
    text: str


NOTICES = (
    Notice(
        "deepfake: run failed",
        "A scan or a retraining failed, was refused, or lost its process.",
        {
            "expect": ["prefect.flow-run.*"],
            # By the type of the state: its name may be TimedOut or Refused as well.
            "match": {
                "prefect.resource.id": "prefect.flow-run.*",
                "prefect.state-type": ["FAILED", "CRASHED"],
            },
            "match_related": {
                "prefect.resource.role": "flow",
                "prefect.resource.name": ["scan", "retrain"],
            },
        },
        OF_RUN,
    ),
    Notice(
        "deepfake: unlike the last runs",
        "The share of fakes, the share of failures or the spread of the scores jumped.",
        {"expect": ["deepfake.scan.drift"]},
        "Run {{ event.payload.run_id }} of {{ event.payload.source }}: "
        "{{ event.payload.words }}\n{{ event.payload.report }}",
    ),
    Notice(
        "deepfake: suspect run",
        "The networks answered known pictures otherwise than when they were released.",
        {"expect": ["deepfake.scan.suspect"]},
        "Run {{ event.payload.run_id }} of {{ event.payload.source }}: "
        "{{ event.payload.headline }}\n{{ event.payload.report }}",
    ),
    Notice(
        "deepfake: night missed",
        "The watch found that the nightly scan did not complete by its hour.",
        {"expect": ["deepfake.watch.missed"]},
        "{{ event.payload.deployment }}: {{ event.payload.problem }}",
    ),
    Notice(
        "deepfake: no night completed",
        f"No {NIGHTLY} completed for {NIGHT_HOURS} hours; the server sees it without a worker.",
        {
            "posture": "Proactive",
            "after": ["prefect.flow-run.Completed"],
            "expect": ["prefect.flow-run.Completed"],
            "match": {"prefect.resource.id": "prefect.flow-run.*"},
            "match_related": {
                "prefect.resource.role": "deployment",
                "prefect.resource.name": NIGHTLY,
            },
            "within": NIGHT_HOURS * 3600,
        },
        f"No {NIGHTLY} completed in the last {NIGHT_HOURS} hours. Are its worker and its schedule "
        "up?",
    ),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Create or update the automations on the server that PREFECT_API_URL names."""
    parser = argparse.ArgumentParser(prog="python -m flows.automations", description=main.__doc__)
    parser.add_argument(
        "--block", metavar="TYPE/NAME", help="tell people by this block, e.g. slack-webhook/ops"
    )
    try:
        block = parser.parse_args(arguments).block
        api = address_of_api()
        for line in create(api, login=login_for(api), block=block):
            print(line)
    except DeepfakeError as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    return 0


def address_of_api() -> str:
    """The server's API, from the environment or Prefect's profile."""
    from prefect.settings import PREFECT_API_URL

    address = PREFECT_API_URL.value()
    if not address:
        raise UsageError(
            "expected the address of a Prefect server, found none; set PREFECT_API_URL, e.g. to "
            "http://127.0.0.1:4200/api"
        )
    return str(address)


def create(api: str, *, login: str | None = None, block: str | None = None) -> list[str]:
    """Create the automations, or bring them up to date; found again by their names.

    Args:
        api: the address of the server's API.
        login: what it asks for, USER:PASSWORD.
        block: who is told, as TYPE/NAME. Without one, new automations tell nobody, and those
            that exist keep their actions. Whether one is paused is kept in any case.

    Returns:
        What was done, a line for each.

    Raises:
        UsageError: there is no such block or server, or the block cannot tell anybody.
    """
    # Imported here: Prefect reads the environment when it is imported, and takes seconds.
    from prefect.client.orchestration import SyncPrefectClient

    try:
        with SyncPrefectClient(api, auth_string=login) as client:
            stored = find_block(client, block) if block else None
            return [f"{notice.name}: {put(client, notice, stored)}" for notice in NOTICES]
    except httpx.TransportError as error:
        raise UsageError(
            f"expected a Prefect server at {api}, found none ({type(error).__name__}); start it, "
            "or set PREFECT_API_URL"
        ) from error
    except httpx.HTTPStatusError as error:
        raise UsageError(
            f"the Prefect server at {api} answered {error.response.status_code}, so not all "
            "automations were made; look at its log, and at PREFECT_API_AUTH_STRING where it "
            "asks for a login"
        ) from error


def find_block(client: SyncPrefectClient, block: str) -> BlockDocument:
    """The block that TYPE/NAME names, without its secrets."""
    from prefect.exceptions import ObjectNotFound

    kind, _, name = block.partition("/")
    try:
        stored = client.read_block_document_by_name(name, kind, include_secrets=False)
    except ObjectNotFound as error:
        raise UsageError(
            f"expected a block {block}, found none; make one on the page Blocks, and name it "
            "TYPE/NAME, e.g. slack-webhook/ops"
        ) from error
    able = stored.block_schema.capabilities if stored.block_schema else []
    if kind != WEBHOOK and "notify" not in able:
        raise UsageError(
            f"expected a notification block or a webhook block, found {block}; `prefect block ls` "
            "lists what there is"
        )
    return stored


def put(client: SyncPrefectClient, notice: Notice, block: BlockDocument | None) -> str:
    """Create one automation or update it; returns which."""
    from prefect.events.schemas.automations import AutomationCore

    wanted = automation_of(notice, block)
    existing = client.read_automations_by_name(notice.name)
    if not existing:
        client.create_automation(wanted)
        return "created"
    before = existing[0].model_dump(include=set(wanted.model_fields_set))
    ours = {"description", "trigger"} | ({"actions"} if block else set())
    after = before | wanted.model_dump(include=ours)
    if after == before:
        return "unchanged"
    # An update sends only what was set, so all of it is: the server wants the defaults as well.
    client.update_automation(existing[0].id, AutomationCore.model_validate(after))
    return "updated"


def automation_of(notice: Notice, block: BlockDocument | None) -> AutomationCore:
    """A notice as Prefect's own object."""
    from prefect.events.schemas.automations import AutomationCore, EventTrigger

    return AutomationCore(
        name=notice.name,
        description=notice.description,
        enabled=True,
        tags=["deepfake"],
        trigger=EventTrigger.model_validate(notice.trigger),
        actions=[action_of(notice, block)],
    )


def action_of(notice: Notice, block: BlockDocument | None) -> ActionTypes:
    """Tell people by a block, or nobody."""
    from prefect.events.actions import CallWebhook, DoNothing, SendNotification

    if block is None:
        return DoNothing()
    if block.block_type is not None and block.block_type.slug == WEBHOOK:
        return CallWebhook(block_document_id=block.id, payload=payload_of(notice))
    return SendNotification(block_document_id=block.id, subject=notice.name, body=notice.text)


def payload_of(notice: Notice) -> str:
    """The template of what a webhook is sent: JSON, with the notice's text in it."""
    facts = '{"notice": automation.name, "event": event.event, "text": text}'
    return f"{{% set text %}}{notice.text}{{% endset %}}{{{{ {facts} | tojson }}}}"


if __name__ == "__main__":
    sys.exit(main())
