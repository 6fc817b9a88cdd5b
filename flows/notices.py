"""What people are told of: Prefect events, and a digest to a webhook.

The webhook's address is a secret. It is read from the environment variable
``DEEPFAKE_WEBHOOK_URL`` or, without one, from Prefect's secret block ``deepfake-webhook``; it is
in no parameter, no log and no message.
"""

import os
from collections.abc import Mapping
from typing import Any, TypedDict, cast
from uuid import UUID

import httpx
from prefect import Flow, State, get_run_logger
from prefect.blocks.system import Secret
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from prefect.events import emit_event
from prefect.utilities.urls import url_for

from deepfake_core.rendering.text import one_line
from deepfake_core.reporting.markdown import drifted, headline, warned
from deepfake_core.reporting.summary_record import Summary
from deepfake_core.reporting.suspicion import BEWARE

FINDINGS, DRIFT = "deepfake.scan.findings", "deepfake.scan.drift"
SUSPECT = "deepfake.scan.suspect"
MISSED = "deepfake.watch.missed"
# The name of a failed state of a run that did its work and whose result was refused.
REFUSED = "Refused"
WEBHOOK_VARIABLE, WEBHOOK_BLOCK = "DEEPFAKE_WEBHOOK_URL", "deepfake-webhook"
WEBHOOK_SECONDS = 10.0


class Digest(TypedDict):
    """What a finished run found: counts and links, no image and no image's name."""

    run_id: str | None
    source: str
    model_id: str | None
    headline: str
    suspect: bool
    listed: int
    judged: int
    not_applicable: int
    failed: int
    labels: dict[str, int]
    failures: dict[str, int]
    warnings: list[str]
    report: str


def digest_of(summary: Summary, report: str) -> Digest:
    """What a finished run found: counts and links, no image and no image's name."""
    return {
        "run_id": summary.run_id,
        "source": one_line(summary.source),
        "model_id": summary.model_id,
        "headline": headline(summary),
        "suspect": summary.suspect,
        "listed": summary.listed,
        "judged": summary.judged,
        "not_applicable": summary.not_applicable,
        "failed": summary.failed,
        "labels": summary.labels,
        "failures": summary.failures,
        "warnings": warned(summary),
        "report": report,
    }


def tell_result(summary: Summary, report: str) -> None:
    """Tell of a finished run: of each warning, and of new fakes; of nothing new, nothing."""
    digest, warnings = digest_of(summary, report), drifted(summary)
    if summary.suspect:
        get_run_logger().error(BEWARE)
        emit(SUSPECT, digest)
    for warning in warnings:
        get_run_logger().warning("unlike the last runs: %s", warning.words)
        emit(DRIFT, {**digest, **warning.as_json()})
    fakes = summary.labels["fake"]
    if fakes:
        emit(FINDINGS, digest)
    if fakes or warnings or summary.suspect:
        event = SUSPECT if summary.suspect else FINDINGS if fakes else DRIFT
        send({"event": event, **digest})


def tell(event: str, facts: Mapping[str, object]) -> None:
    """Tell of something else, by an event and to the webhook."""
    emit(event, facts)
    send({"event": event, **facts})


def tell_failed(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Tell people that a run failed, was refused, or lost its process; a hook of the flows."""
    config = flow_run.parameters.get("config") or {}
    facts = {
        "source": one_line(config.get("source") or config.get("data") or "unknown"),
        "flow_run_name": flow_run.name,
        "problem": state.message,
    }
    outcome = "refused" if state.name == REFUSED else "failed"
    tell(f"deepfake.{flow.name}.{outcome}", facts)


def emit(event: str, facts: Mapping[str, object]) -> None:
    """Emit a Prefect event, on which automations can act; its resource is the source."""
    about = str(facts.get("source") or facts.get("deployment") or "unknown")
    resource = {"prefect.resource.id": f"deepfake.{about}", "prefect.resource.name": about}
    related, run = [], flow_run_id()
    if run is not None:
        related = [
            {"prefect.resource.id": f"prefect.flow-run.{run}", "prefect.resource.role": "flow-run"}
        ]
    emit_event(event=event, resource=resource, related=related, payload=dict(facts))


def send(digest: Mapping[str, object]) -> None:
    """Post a digest to the webhook, if there is one; that it fails is only noted."""
    url = webhook_url()
    if url is None:
        return
    problem = post(url, {**digest, "flow_run": link_to_run()})
    if problem is not None:
        get_run_logger().warning("the webhook was not told: %s", problem)


def webhook_url() -> str | None:
    """The webhook's address; None where none was set."""
    url = os.environ.get(WEBHOOK_VARIABLE)
    if url:
        return url
    try:
        block = cast(Secret[str], Secret.load(WEBHOOK_BLOCK, _sync=True))  # type: ignore[call-arg]
    except ValueError:  # Prefect's way to say that there is no such block
        return None
    return block.get() or None


def post(url: str, content: Mapping[str, object]) -> str | None:
    """Post JSON once; returns what went wrong, in words without the address."""
    try:
        limits = httpx.Timeout(WEBHOOK_SECONDS).as_dict()
        request = httpx.Request("POST", url, json=content, extensions={"timeout": limits})
        # A client would log the address; a transport says nothing, and follows no redirect.
        with httpx.HTTPTransport() as transport:
            answer = transport.handle_request(request)
            answer.close()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return type(error).__name__
    return None if answer.is_success else f"it answered {answer.status_code}"


def flow_run_id() -> UUID | None:
    """The id of the flow run that this is called in."""
    context = FlowRunContext.get()
    return context.flow_run.id if context and context.flow_run else None


def link_to_run() -> str | None:
    """The address of this flow run's page."""
    run = flow_run_id()
    return url_for("flow-run", obj_id=run) if run else None
