"""The review console in a real browser: by keyboard alone, and fast enough."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from deepfake_core.results.review_log import ReviewLog, standings
from deepfake_core.storage.local import LocalStorage
from tests.support.pages import open_browser, settled, wait_until_up
from tests.support.ports import free_port
from tests.support.reviewed import scan_of

pytestmark = pytest.mark.processes

PICTURES, DECISIONS, SECONDS_EACH = 500, 12, 3.0
expect.set_options(timeout=30_000)


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory, picture: Callable[..., bytes]) -> Path:
    return scan_of(tmp_path_factory.mktemp("review"), picture, count=PICTURES)


@pytest.fixture(scope="module")
def address(reports: Path, tiny_registry: Path) -> Iterator[str]:
    port = free_port()
    options = ["--port", str(port), "--model", "tiny", "--reports", str(reports)]
    command = [sys.executable, "-m", "deepfake_core.cli", "app", *options]
    with subprocess.Popen([*command, "--registry", str(tiny_registry)]) as process:
        try:
            wait_until_up(f"http://127.0.0.1:{port}", process)
            yield f"http://127.0.0.1:{port}/review"
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as started:
        yield started


def name_of(page: Page) -> str:
    return page.locator(".df-name").first.inner_text()


def press(page: Page, key: str) -> None:
    settled(page)
    before = name_of(page)
    page.keyboard.press(key)
    expect(page.locator(".df-name").first).not_to_have_text(before)


def test_pictures_are_decided_by_keyboard_within_seconds(
    browser: Browser, address: str, reports: Path
):
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.goto(address)
    page.get_by_label("Your name").fill("Ana")
    page.keyboard.press("Enter")
    # Without the switch a key does nothing.
    page.locator(".df-name").first.click()
    before = name_of(page)
    page.keyboard.press("g")
    page.get_by_text("Keys").first.click()
    # The keys are shown on the buttons.
    expect(page.get_by_role("button", name="Cannot tell")).to_contain_text(re.compile("U$"))
    assert name_of(page) == before
    assert ReviewLog(LocalStorage(reports)).lines() == []

    page.locator(".df-name").first.click()
    started = time.perf_counter()
    for number in range(DECISIONS):
        press(page, "gpu"[number % 3])
    assert (time.perf_counter() - started) / DECISIONS < SECONDS_EACH
    log = ReviewLog(LocalStorage(reports))
    decisions = [line.decision for line in log.lines()]
    assert {"fake", "real", "unsure"} == set(decisions)
    assert len(standings(log.lines())) >= DECISIONS

    # The marks are there after a reload, and the next picture is one that nobody decided on.
    last = name_of(page)
    page.reload()
    expect(page.get_by_text(f"{len(decisions)} of {PICTURES}")).to_be_visible()
    expect(page.locator(".df-name").first).to_have_text(last)
    page.get_by_label("Your name").fill("Ana")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".df-name").first).not_to_have_text(last)
    assert any(line.undoes for line in log.lines())
    page.close()


def test_the_grid_shows_pictures_with_their_marks(browser: Browser, address: str):
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.goto(address)
    page.get_by_text("Grid").click()
    expect(page.get_by_test_id("stButton").get_by_role("button", name="Open")).to_have_count(24)
    expect(page.get_by_text("✓").first).to_be_visible()
    page.get_by_test_id("stButton").get_by_role("button", name="Open").nth(20).click()
    expect(page.get_by_role("button", name="Cannot tell")).to_be_visible()
    page.close()
