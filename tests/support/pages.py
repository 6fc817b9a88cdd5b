"""The page as a process, and a real browser to open it in."""

import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


def wait_until_up(url: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until a page answers; fails where it stops or takes more than a minute."""
    for _ in range(600):
        assert process.poll() is None, "the page stopped at its start"
        try:
            with urllib.request.urlopen(f"{url}/_stcore/health", timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.1)
    pytest.fail("the page did not come up")


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Chromium without a window; the test is skipped where there is none."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium to open the page in")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


def settled(page: Page) -> None:
    """Wait until a page has drawn itself: a key or click that comes earlier may find nothing."""
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
