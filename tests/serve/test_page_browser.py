"""The page in a real browser, served by the real command."""

import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from deepfake_core.cli import main
from deepfake_core.models.bundle import write_description
from deepfake_core.models.registry import find_model
from deepfake_core.serve.page.words import FAILURES, UNCERTAIN_TITLE
from tests.support.pages import open_browser, settled, wait_until_up
from tests.support.ports import free_port

pytestmark = pytest.mark.processes

DESKTOP, TELEPHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
PATIENCE_MS = 30_000
PATHS = {
    "review": "Review a scan",
    "how-it-works": "How it works",
    "how-to-read": "How to read a result",
    "look": "How to look at a picture critically",
    "report": "How to report a deepfake responsibly",
    "privacy": "Privacy",
    "model-card": "Model card",
}
# The kind of a field, or the last word of what is written on it.
FOCUSED = """() => {
  const it = document.activeElement;
  return it.tagName == 'INPUT' ? it.type : it.innerText.trim().split(/\\s+/).pop();
}"""
A_VERDICT = re.compile(f"{UNCERTAIN_TITLE}|Evidence for generation: ")
expect.set_options(timeout=PATIENCE_MS)


def no_bytes_to_disk() -> None:
    """In the child: a file that is written to, even an unnamed one, is an error."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


@dataclass(frozen=True)
class Served:
    """A page that runs, and where its temporary files would be."""

    url: str
    process: subprocess.Popen[bytes]
    temporary: Path


@pytest.fixture(scope="module")
def served(tiny_registry: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The page with the tiny model, forbidden to write one byte to any file."""
    folder = tmp_path_factory.mktemp("page")
    temporary, port = folder / "tmp", free_port()
    temporary.mkdir()
    options = ["--port", str(port), "--model", "measured", "--reports", str(folder / "reports")]
    options += ["--registry", str(tiny_registry)]
    measured_model(tiny_registry)
    # A pipe is no file: what is said is read at the end.
    with subprocess.Popen(
        [sys.executable, "-m", "deepfake_core.cli", "app", *options],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(temporary), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=no_bytes_to_disk,
    ) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            wait_until_up(url, process)
            yield Served(url, process, temporary)
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def measured_model(registry: Path) -> None:
    """The tiny model with a curve, so that the slider has stops."""
    tiny = find_model("tiny", registry)
    folder = registry / "measured" / "1"
    folder.mkdir(parents=True)
    shutil.copy(tiny.folder / "weights.npz", folder)
    lines = {"threshold": [0.5, 0.8], "fpr": [0.2, 0.1], "tpr": [0.9, 0.8]}
    shares = {"fpr_at_fake": 0.15, "tpr_at_fake": 0.85, "fakes_called_real": 0.05}
    report = {"real": 40, "fake": 80, "decided_share": 0.8, **shares, "curve": lines}
    changes = {"name": "measured", "figures": {"report": report}}
    write_description(folder, tiny.description.model_copy(update=changes))
    (folder.parent / "current.json").write_text('{"version": 1}')


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as started:
        yield started


@pytest.fixture
def open_page(browser: Browser, served: Served) -> Iterator[Callable[..., Page]]:
    """Opens the page; afterwards no request may have gone to another host."""
    hosts: set[str] = set()
    pages: list[Page] = []

    def start(viewport: dict[str, int] = DESKTOP, path: str = "", *, scheme: str = "light") -> Page:
        page = browser.new_page(viewport=viewport, color_scheme=scheme)
        page.set_default_timeout(PATIENCE_MS)
        page.on("request", lambda request: hosts.add(request.url))
        pages.append(page)
        page.goto(f"{served.url}/{path}")
        return page

    yield start
    for page in pages:
        page.close()
    local = (served.url, served.url.replace("http", "ws"), "data:", "blob:")
    assert not [url for url in hosts if not url.startswith(local)]


def give(page: Page, *files: tuple[str, bytes]) -> None:
    payload = [{"name": n, "mimeType": "image/jpeg", "buffer": data} for n, data in files]
    page.locator("input[type=file]").set_input_files(payload)


def slider(page: Page) -> Locator:
    return page.get_by_role("slider", name="Call a picture fake from this score on")


@pytest.mark.parametrize("viewport", [DESKTOP, TELEPHONE], ids=["desktop", "telephone"])
def test_a_person_can_judge_a_picture(
    open_page: Callable[..., Page],
    picture: Callable[..., bytes],
    viewport: dict[str, int],
    tmp_path: Path,
):
    page = open_page(viewport)
    give(page, ("one.jpg", picture(4)), ("text.jpg", b"this is text"))
    verdict = page.locator(".df-verdict").first
    expect(verdict).to_have_text(A_VERDICT)
    expect(page.get_by_role("img", name="on a scale from 0")).to_be_visible()
    expect(page.get_by_text(FAILURES["decode.unsupported"][0])).to_be_visible()

    before = page.locator(".df-table").last.inner_text()
    slider(page).focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".df-table").last).not_to_have_text(before, use_inner_text=True)
    expect(slider(page)).to_have_attribute("aria-valuetext", "0.800")

    page.get_by_text("Which areas the score depends on").click()
    explained = page.get_by_text("As a test, the area found most important")
    expect(explained).to_be_visible()
    page.get_by_text("What the file itself says").click()
    expect(page.get_by_role("row", name="Fingerprint (SHA-256)")).to_be_visible()

    page.screenshot(path=tmp_path / "page.png")
    body = page.get_by_test_id("stMain")
    assert body.evaluate("it => it.scrollWidth <= it.clientWidth"), "it scrolls sideways"


def test_the_keyboard_reaches_upload_and_slider(open_page: Callable[..., Page]):
    page = open_page()
    expect(slider(page)).to_be_visible()
    reached = []
    while len(reached) < 40 and "range" not in reached:
        page.keyboard.press("Tab")
        assert (
            page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle") != "none"
        )
        reached.append(page.evaluate(FOCUSED))
    assert "Upload" in reached
    assert reached[-1] == "range"


def test_a_large_upload_never_touches_the_disk(
    open_page: Callable[..., Page], picture: Callable[..., bytes], served: Served
):
    page = open_page()
    # Larger than what the form's parser would keep in memory by default. It runs under a limit
    # that makes the first byte written to a file, named or not, an error.
    give(page, ("large.jpg", picture(5) + bytes(3_000_000)))
    expect(page.locator(".df-verdict").first).to_have_text(A_VERDICT)
    assert list(served.temporary.iterdir()) == []


def test_too_large_a_file_is_refused_in_words(open_page: Callable[..., Page], tmp_path: Path):
    page = open_page()
    huge = tmp_path / "huge.jpg"
    with huge.open("wb") as file:
        file.truncate(33 * 2**20)
    page.locator("input[type=file]").set_input_files(huge)
    expect(page.get_by_text("must be 32.0MB or smaller")).to_be_visible()


def test_an_answer_without_a_choice_is_not_kept(
    open_page: Callable[..., Page], picture: Callable[..., bytes]
):
    page = open_page()
    give(page, ("one.jpg", picture(4)))
    page.get_by_text("Say whether the verdict is right").click()
    settled(page)
    page.get_by_role("button", name="Keep my answer").click()
    expect(page.get_by_text("Nothing was kept")).to_be_visible()


def test_each_page_fits_a_telephone(open_page: Callable[..., Page]):
    page = open_page(TELEPHONE)
    for path in PATHS:
        page.goto(f"{page.url.rpartition('/')[0]}/{path}")
        expect(page.locator("h1").first).to_have_text(PATHS[path])
        body = page.get_by_test_id("stMain")
        assert body.evaluate("it => it.scrollWidth <= it.clientWidth"), f"{path} is too wide"


def test_the_menu_of_a_telephone_closes_after_a_choice(open_page: Callable[..., Page]):
    page = open_page(TELEPHONE)
    menu = page.get_by_test_id("stSidebar")
    for name, title in (("Privacy", "Privacy"), ("Look critically", PATHS["look"])):
        page.get_by_test_id("stExpandSidebarButton").click()
        menu.get_by_role("link", name=name).click()
        expect(page.locator("h1").first).to_have_text(title)
        expect(menu).not_to_be_in_viewport()
    # On a wide screen it stays.
    wide = open_page()
    wide.get_by_role("link", name="Privacy").click()
    expect(wide.locator("h1").first).to_have_text("Privacy")
    expect(wide.get_by_test_id("stSidebar")).to_be_in_viewport()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_dark_where_the_browser_is(open_page: Callable[..., Page], scheme: str):
    page = open_page(scheme=scheme)
    note = page.locator(".df-note")
    expect(note).to_be_visible()
    app = page.get_by_test_id("stApp")
    grounds = [
        sum(map(int, re.findall(r"\d+", one.evaluate("e => getComputedStyle(e).backgroundColor"))))
        for one in (app, note)
    ]
    assert all((ground > 384) == (scheme == "light") for ground in grounds)


def test_a_foreign_name_of_this_machine_is_not_served(served: Served):
    request = (
        "GET /_stcore/stream HTTP/1.1\r\nHost: elsewhere.example\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", int(served.url.rpartition(":")[2]))) as channel:
        channel.sendall(request.encode())
        assert channel.recv(100).startswith(b"HTTP/1.1 403")


def test_a_busy_port_is_named(tiny_registry: Path, capsys: pytest.CaptureFixture[str]):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        options = ["--port", port, "--model", "tiny", "--registry", str(tiny_registry)]
        assert main(["app", *options]) == 2
    said = capsys.readouterr().err
    assert f"cannot listen on port {port} of 127.0.0.1" in said
    assert "choose another with --port" in said


def test_an_unknown_model_is_named(tiny_registry: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["app", "--model", "nothing", "--registry", str(tiny_registry)]) == 2
    assert "no model named 'nothing'" in capsys.readouterr().err


def test_it_stops_clean_and_has_logged_no_upload(
    open_page: Callable[..., Page], picture: Callable[..., bytes], served: Served
):
    page = open_page()
    give(page, ("secret-name.jpg", picture(6)))
    expect(page.locator(".df-verdict").first).to_have_text(A_VERDICT)
    page.close()
    served.process.send_signal(signal.SIGINT)
    said, _ = served.process.communicate(timeout=30)
    assert served.process.returncode == 0
    assert b"Traceback" not in said
    assert b"secret-name" not in said
    assert b"stop it with Ctrl-C" in said
    assert list(served.temporary.iterdir()) == []
