"""The page's logic: what it says of pictures, of thresholds and of finished scans."""

import hashlib
import io
import re
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from streamlit import config as streamlit_config
from streamlit.testing.v1 import AppTest

from deepfake_core.engines.engine import open_engine
from deepfake_core.errors import UsageError
from deepfake_core.inference.classifier import Classifier
from deepfake_core.models.bundle import Bundle, write_description
from deepfake_core.models.decision import Thresholds
from deepfake_core.models.registry import find_model
from deepfake_core.records import DECIDED, Failure, FailureCode, Label, Reason
from deepfake_core.rendering.text import line_text
from deepfake_core.results.feedback import Feedback
from deepfake_core.scanning.config import ScanConfig
from deepfake_core.scanning.scan import scan
from deepfake_core.serve.page import examples, launch, scans, style, words
from deepfake_core.serve.page.operating import Point, expect, measured_points, share
from deepfake_core.serve.page.pictures import judge_files
from deepfake_core.serve.page.settings import MAX_PICTURES, Settings, read_settings
from deepfake_core.storage.opening import open_storage
from tests.support.credentials import make_signer
from tests.support.credentials import photograph as signed_photograph
from tests.support.zoo import ZOO

SCRIPT = str(launch.SCRIPT)
LINES = Thresholds(real_below=0.2, fake_from=0.9)
# Of 40 photographs 1 was called fake and 30 real; of 80 fakes 60 were called fake and 4 real.
REPORT = {
    "real": 40,
    "fake": 80,
    "fpr_at_fake": 0.025,
    "tpr_at_fake": 0.75,
    "fakes_called_real": 0.05,
    "reals_called_real": 0.75,
}
CURVE = {
    "threshold": [0.5, 0.8, 0.95],
    "fpr": [0.2, 0.1, 0.0],
    "tpr": [0.9, 0.8, 0.5],
}


def with_figures(registry: Path) -> Bundle:
    """The tiny model again, with figures that hold a curve and with a card."""
    source = find_model("tiny", registry)
    folder = registry / "figured" / "1"
    if not folder.exists():
        folder.mkdir(parents=True)
        (folder / "weights.npz").write_bytes((source.folder / "weights.npz").read_bytes())
        (folder / "card.md").write_text("---\nlicense: other\n---\n\n# figured@1\n\nA test.\n")
        figures = {"report": {**REPORT, "curve": CURVE}}
        changes = {"name": "figured", "figures": figures}
        write_description(folder, source.description.model_copy(update=changes))
        (folder.parent / "current.json").write_text('{"version": 1}')
    return find_model("figured", registry)


@pytest.fixture
def settings(tiny_registry: Path, tmp_path: Path) -> Settings:
    with_figures(tiny_registry)
    return Settings("figured", str(tmp_path / "reports"), str(tiny_registry))


@pytest.fixture
def open_page(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    """Opens the page's script at one of its pages."""
    monkeypatch.setattr(sys, "argv", [SCRIPT, settings.as_argument()])

    def start(path: str = "") -> AppTest:
        page = AppTest.from_file(SCRIPT, default_timeout=60).run()
        if path:
            pages = page._registered_pages.items()
            page._page_hash = next(key for key, info in pages if info["url_pathname"] == path)
            page = page.run()
        assert not page.exception
        return page

    return start


def text_of(page: AppTest) -> str:
    """All that a page says, in no order."""
    kinds = ("markdown", "caption", "info", "warning", "error", "success", "title", "subheader")
    said = [element.value for kind in kinds for element in getattr(page, kind)]
    return "\n".join([*said, *(element.proto.body for element in page.get("html"))])


def upload(page: AppTest, *files: tuple[str, bytes]) -> AppTest:
    chosen = [(name, content, "image/jpeg") for name, content in files]
    page = page.file_uploader(key="pictures").set_value(chosen).run()
    assert not page.exception
    return page


def test_a_picture_gets_the_verdict_of_a_scan(
    open_page: Callable[..., AppTest], settings: Settings, picture: Callable[..., bytes]
):
    bundle = find_model(settings.model, Path(settings.registry))
    classifier = Classifier(bundle, open_engine(bundle, kind="openvino", precision="fp32"))
    contents = [picture(seed) for seed in range(9)]
    page = upload(open_page(), *((f"{n}.jpg", content) for n, content in enumerate(contents)))
    shown = list(page.session_state["judged"].values())
    expected = classifier.judge(contents).judgements
    assert {one.label for one in expected} == set(DECIDED)
    said = text_of(page)
    for one, judgement in zip(shown, expected, strict=True):
        assert one.verdict["score"] == pytest.approx(judgement.score, abs=1e-4)
        assert one.label == judgement.label
        assert words.title(judgement.label, judgement.score) in said
        assert words.MEANS_NOT[judgement.label][0] in said


def test_files_without_a_verdict_say_why(
    open_page: Callable[..., AppTest], picture: Callable[..., bytes]
):
    page = upload(
        open_page(),
        ("half.jpg", picture(1)[:-300]),
        ("<b>text</b>.jpg", b"this is text\n"),
        ("empty.png", b""),
        ("whole.jpg", picture(2)),
    )
    said = text_of(page)
    assert said.count("Not judged") == 3
    for code in (FailureCode.DECODE_CORRUPT, FailureCode.DECODE_UNSUPPORTED):
        assert words.FAILURES[code][0] in said
        assert code in said
    assert "&lt;b&gt;text&lt;/b&gt;.jpg" in said
    assert "<b>text" not in said


# Pillow's warning of a damaged EXIF block, which is judged all the same.
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_every_animal_of_the_zoo_gets_a_verdict_or_a_reason(tiny_registry: Path):
    bundle = find_model("tiny", tiny_registry)
    classifier = Classifier(bundle, open_engine(bundle, kind="openvino", precision="fp32"))
    judged = judge_files(classifier, [(name, data) for name, (data, *_) in ZOO.items()])
    for one, (_, status, failure) in zip(judged, ZOO.values(), strict=True):
        assert (one.verdict["status"], one.failure) == (status, failure), one.name
        assert (one.picture is None) == (one.origin is None) == (status == "failed"), one.name


def test_broken_credentials_are_said_to_be_beside_the_generator_that_they_name(
    open_page: Callable[..., AppTest],
):
    signed = make_signer().sign(signed_photograph())
    # A comment, which no decoder minds.
    changed = signed[:2] + b"\xff\xfe\0\4hi" + signed[2:]
    said = text_of(upload(open_page(), ("changed.jpg", changed)))
    assert words.DECLARED in said
    # In the headline, and among what the file says.
    assert said.count("Broken: they are not this file&#x27;s.") == 2


def test_the_same_picture_twice_is_no_error(
    open_page: Callable[..., AppTest], picture: Callable[..., bytes]
):
    page = upload(open_page(), ("a.jpg", picture(1)), ("a.jpg", picture(1)))
    assert len(page.session_state["judged"]) == 2


def test_what_is_removed_is_forgotten(
    open_page: Callable[..., AppTest], picture: Callable[..., bytes]
):
    page = upload(open_page(), ("a.jpg", picture(1)))
    assert len(page.session_state["judged"]) == 1
    page.file_uploader(key="pictures").clear().run()
    assert page.session_state["judged"] == {}


def test_only_so_many_pictures_are_judged(
    open_page: Callable[..., AppTest], picture: Callable[..., bytes]
):
    files = [(f"{n}.jpg", picture(n)) for n in range(MAX_PICTURES + 2)]
    page = upload(open_page(), *files)
    assert len(page.session_state["judged"]) == MAX_PICTURES
    assert f"the first {MAX_PICTURES} are judged" in page.warning[0].value


@pytest.mark.parametrize("agreed", [True, False])
def test_an_answer_is_kept_and_the_picture_only_if_its_owner_agrees(
    open_page: Callable[..., AppTest],
    settings: Settings,
    picture: Callable[..., bytes],
    agreed: bool,
):
    content = picture(1)
    page = upload(open_page(), ("private-name.jpg", content))
    next(one for one in page.radio if one.label.startswith("What do you know")).set_value(
        Label.FAKE
    )
    if agreed:
        next(one for one in page.checkbox if one.label.startswith("I agree")).check()
    page = next(one for one in page.button if one.label == "Keep my answer").click().run()
    assert not page.exception
    assert "Your answer was kept" in page.success[0].value
    storage = open_storage(settings.reports)
    (entry,) = Feedback(storage).entries()
    assert (entry["correct"], entry["consent"]) == ("fake", agreed)
    assert entry["sha256"] == hashlib.sha256(content).hexdigest()
    assert "private-name" not in str(entry)
    assert len(storage.names("feedback/images")) == agreed


def test_a_file_that_names_a_generator_is_told_apart_from_the_score(
    open_page: Callable[..., AppTest],
):
    image = Image.effect_noise((64, 64), 40).convert("RGB")
    settings = "a portrait\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 64x64"
    notes, stream = PngInfo(), io.BytesIO()
    notes.add_text("parameters", settings)
    image.save(stream, "PNG", pnginfo=notes)
    page = upload(open_page(), ("a.png", stream.getvalue()))
    assert words.DECLARED in text_of(page)


PICTURE = "![x](http://evil.example/a.png)[y](http://evil.example) <img src=http://evil.example>"


def test_what_a_file_says_is_text(open_page: Callable[..., AppTest]):
    """Content credentials, EXIF and a file's name may hold Markdown and HTML: none is obeyed."""
    image, stream = Image.effect_noise((64, 64), 40).convert("RGB"), io.BytesIO()
    notes, exif = PngInfo(), Image.Exif()
    exif[0x010F] = exif[0x0110] = exif[0x0131] = PICTURE
    notes.add(b"caBX", credentials_of(PICTURE))
    image.save(stream, "PNG", pnginfo=notes, exif=exif)
    page = upload(open_page(), (f"{PICTURE}.png".replace("/", ":"), stream.getvalue()))
    assert not page.exception
    kinds = ("markdown", "caption", "info", "warning", "error", "success", "title", "subheader")
    obeyed = [element.value for kind in kinds for element in getattr(page, kind)]
    assert not [text for text in obeyed if "![x](" in text or "[y](" in text]
    shown = [element.proto.body for element in page.get("html")]
    assert any("evil.example" in text for text in shown)
    assert not [text for text in shown if "<img" in text]


def credentials_of(agent: str) -> bytes:
    """A store of content credentials that calls `agent` the generator."""

    def box(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content) + 8) + kind + content

    def superbox(label: bytes, *content: bytes) -> bytes:
        return box(b"jumb", box(b"jumd", bytes(16) + b"\3" + label + b"\0") + b"".join(content))

    source = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    action = {"action": "c2pa.created", "softwareAgent": agent, "digitalSourceType": source}
    actions = box(b"cbor", cbor({"actions": [action]}))
    return superbox(b"c2pa", superbox(b"urn:c2pa:1", superbox(b"c2pa.actions", actions)))


def cbor(value: object) -> bytes:
    """Texts, lists and maps with fewer than 24 entries, as CBOR."""
    if isinstance(value, str):
        text = value.encode()
        return (bytes([0x60 | len(text)]) if len(text) < 24 else bytes([0x78, len(text)])) + text
    if isinstance(value, list):
        return bytes([0x80 | len(value)]) + b"".join(map(cbor, value))
    assert isinstance(value, dict)
    pairs = b"".join(cbor(key) + cbor(one) for key, one in value.items())
    return bytes([0xA0 | len(value)]) + pairs


def test_a_card_from_elsewhere_fetches_nothing(
    open_page: Callable[..., AppTest], settings: Settings
):
    (description,) = Path(settings.registry).glob("figured/*/bundle.json")
    card = description.with_name("card.md")
    before = card.read_text()
    card.write_text(f"---\nlicense: other\n---\n# Card\n\n{PICTURE}\n")
    try:
        page = open_page("model-card")
        (text,) = (one.value for one in page.markdown if "# Card" in one.value)
        assert "![" not in text
        assert "<img" not in text
    finally:
        card.write_text(before)


def test_an_explanation_that_fails_its_test_shows_no_picture():
    def script() -> None:
        import numpy as np

        from deepfake_core.inference.explanation import Explanation
        from deepfake_core.records import Label
        from deepfake_core.serve.page.check import show_explanation

        heat = np.zeros((6, 6), np.float32)
        found = Explanation(heat, b"", Label.FAKE, 0.1, (0.2, 0.05, 0.3), False)
        show_explanation(found, "a.jpg")

    page = AppTest.from_function(script, default_timeout=60).run()
    assert not page.exception
    assert "No picture is shown" in page.info[0].value
    assert "more than 1 of the 3 others" in page.info[0].value
    assert not page.get("imgs")


def test_the_slider_stops_where_was_measured_and_changes_what_to_expect(
    open_page: Callable[..., AppTest],
):
    page = open_page()
    slider = page.select_slider(key="line")
    assert slider.options == ["0.400", "0.500", "0.600", "0.800", "0.950"]
    assert slider.value == 0.6
    before = text_of(page)
    page = slider.set_value(0.95).run()
    after = text_of(page)
    assert before != after
    assert "No photograph of the test was called fake here" in after
    page = page.radio(key="share").set_value(0.5).run()
    # Half of 1,000 are fake, and half of those are missed.
    assert '<td class="n">250  [' in text_of(page)


def test_points_are_counts_of_pictures():
    measured = measured_points({"report": REPORT}, LINES)
    assert measured is not None
    assert measured.points == (Point(0.2, 10 / 40, 76 / 80), Point(0.9, 1 / 40, 60 / 80))
    assert not measured.whole_curve


def test_the_shipped_figures_can_be_read():
    description = find_model("resnet50").description
    measured = measured_points(description.figures, description.thresholds)
    assert measured is not None
    lines = {point.threshold: point for point in measured.points}
    real_line = lines[description.thresholds.real_below]
    fake_line = lines[description.thresholds.fake_from]
    figures = description.figures["report"]
    assert fake_line.false_alarm_rate == pytest.approx(figures["fpr_at_fake"], abs=1e-4)
    assert fake_line.found_rate == pytest.approx(figures["tpr_at_fake"], abs=1e-4)
    assert 1 - real_line.found_rate == pytest.approx(figures["fakes_called_real"], abs=1e-4)
    assert measured.whole_curve
    alarms = [round(point.false_alarm_rate, 3) for point in measured.points]
    assert alarms == sorted(alarms, reverse=True)


@pytest.mark.parametrize("figures", [{}, {"report": {}}, {"report": {"real": 0, "fake": 9}}])
def test_without_figures_nothing_is_claimed(figures: dict):
    assert measured_points(figures, LINES) is None


def test_an_interval_holds_its_share():
    assert share(0.0, 100).high == pytest.approx(0.0362, abs=1e-4)
    assert share(1.0, 100).low == pytest.approx(0.9638, abs=1e-4)
    middle = share(0.5, 100)
    assert (middle.low, middle.best, middle.high) == pytest.approx((0.3983, 0.5, 0.6017), abs=1e-4)


def test_what_to_expect_adds_up():
    measured = measured_points({"report": {**REPORT, "curve": CURVE}}, LINES)
    expected = expect(measured, Point(0.5, 0.2, 0.9), pictures=1000, share_of_fakes=0.1)
    assert expected.false_alarms.best == pytest.approx(180)
    assert expected.missed.best == pytest.approx(10)
    assert expected.flagged == pytest.approx(180 + 90)
    assert expected.false_alarms.low < 180 < expected.false_alarms.high


def test_the_bar_shows_the_two_thresholds():
    bar = style.score_bar(0.95, Label.FAKE, LINES)
    for part in ('z-real" style="width:20.00%', 'z-uncertain" style="width:70.00%', "left:95.00%"):
        assert part in bar
    assert "Score 0.950" in bar


def test_a_line_is_never_shown_below_itself():
    assert line_text(0.9325) == "0.933"
    assert line_text(0.5) == "0.500"


def test_every_label_and_failure_has_its_words():
    assert set(words.FAILURES) == set(FailureCode)
    assert all(set(texts) == set(Label) for texts in (words.SENTENCES, words.MEANS_NOT))
    assert set(words.NEXT_STEPS) == set(Label)
    assert set(words.REASONS) == set(Reason)


def test_nobody_reads_that_a_picture_is_real():
    for label in Label:
        assert not re.search(r"\breal\b|photograph", words.title(label, 0.001), re.IGNORECASE)
    assert words.title(Label.FAKE, 0.9999) == "Evidence for generation: very strong"
    assert words.title(Label.REAL, 0.01) == "Evidence for generation: none found"


@pytest.mark.parametrize(
    ("path", "title"),
    [
        ("how-it-works", "How it works"),
        ("how-to-read", "How to read a result"),
        ("look", "How to look at a picture critically"),
        ("report", "How to report a deepfake responsibly"),
        ("privacy", "Privacy"),
        ("model-card", "figured@1"),
    ],
)
def test_each_page_of_text_opens(open_page: Callable[..., AppTest], path: str, title: str):
    said = text_of(open_page(path))
    assert f"# {title}" in said
    assert not re.search(r"\{\w+\}", said), "a placeholder is left"
    assert "license: other" not in said


@pytest.fixture
def finished(
    settings: Settings, image_folder: Callable[..., Path], tmp_path: Path, tiny_registry: Path
) -> Path:
    """A finished scan of 12 pictures and 3 broken files; the folder that was scanned."""
    source = image_folder(12, broken=True, folder=tmp_path / "pictures")
    asked = ScanConfig(source=str(source), output=settings.reports, model="tiny", run_id="night")
    scan(asked, registry=tiny_registry)
    return source


def test_an_image_of_a_scan_is_read_only_as_it_was_judged(finished: Path, settings: Settings):
    (path,) = scans.finished_scans(settings.reports).values()
    rows = scans.read_scan(settings.reports, path).to_pylist()
    (row,) = (row for row in rows if row["image"] == "0000.jpg")
    assert scans.read_image(row) == (finished / "0000.jpg").read_bytes()
    (finished / "0000.jpg").write_bytes(b"another")
    changed = scans.read_image(row)
    assert isinstance(changed, Failure)
    assert "changed" in changed.detail
    (finished / "0000.jpg").unlink()
    assert isinstance(scans.read_image(row), Failure)
    assert isinstance(scans.read_image({**row, "source": "s3://bucket/faces"}), Failure)


def test_without_a_scan_the_page_says_how_to_make_one(open_page: Callable[..., AppTest]):
    assert "deepfake scan FOLDER" in open_page("review").info[0].value


def test_settings_travel_as_an_argument():
    settings = Settings("tiny@2", "s3://bucket/reports", "/models")
    assert read_settings([settings.as_argument()]) == settings
    assert read_settings([]) == Settings()


def test_every_option_is_one_that_streamlit_knows():
    options = launch.streamlit_options("127.0.0.1", 8501)
    known = set(streamlit_config.get_config_options())
    assert {name.replace("_", ".") for name in options} <= known


@pytest.mark.parametrize(
    ("host", "port", "found"),
    [("127.0.0.1", 0, "--port"), ("127.0.0.1", 70_000, "--port"), ("no host", 8501, "no host")],
)
def test_an_address_that_cannot_be_is_refused(host: str, port: int, found: str):
    with pytest.raises(UsageError, match=found):
        launch.check_address(host, port)


def test_only_the_own_machine_is_let_in_unless_asked():
    closed = launch.streamlit_options("127.0.0.1", 8501)
    assert closed["server_allowedHosts"] == ["127.0.0.1", "localhost", "::1"]
    assert launch.streamlit_options("10.0.0.7", 8501)["server_allowedHosts"] == []
    assert launch.url("::1", 80) == "http://[::1]:80"


@pytest.mark.parametrize("reason", [Reason.NO_FACE, Reason.FACE_TOO_SMALL, Reason.UNFAMILIAR])
def test_a_picture_that_is_not_judged_says_why_and_gets_no_score(reason: Reason):
    def script(reason: str) -> None:
        from deepfake_core.provenance.origin import Origin
        from deepfake_core.serve.page.check import show_not_applicable
        from deepfake_core.serve.page.pictures import JudgedPicture

        verdict = {"label": "not_applicable", "score": None, "reason": reason, "failure": None}
        origin = Origin("PNG", 8, 8, 100, generator="ComfyUI")
        show_not_applicable(JudgedPicture("a.png", verdict, origin, None))

    page = AppTest.from_function(script, kwargs={"reason": str(reason)}).run()
    assert not page.exception
    said = text_of(page)
    assert words.REASONS[reason][0] in said
    assert "Not applicable" in said
    assert f"{words.DECLARED} ComfyUI" in said
    assert words.DISAGREES in said
    assert "Score" not in said


def test_an_example_is_judged_like_an_upload(open_page: Callable[..., AppTest]):
    page = open_page()
    assert not page.session_state["judged"]
    page = page.pills(key="example").set_value("a photograph").run()
    assert not page.exception
    (shown,) = page.session_state["judged"].values()
    assert shown.name == examples.EXAMPLES["a photograph"]
    assert shown.label is not None
    page = page.pills(key="example").set_value("half a file").run()
    (shown,) = page.session_state["judged"].values()
    assert shown.failure == "decode.corrupt"
    assert all((examples.FOLDER / name).is_file() for name in examples.EXAMPLES.values())


def test_without_the_pictures_no_example_is_offered(
    open_page: Callable[..., AppTest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(examples, "FOLDER", tmp_path)
    assert not open_page().pills


def luminance(colour: str) -> float:
    channels = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("time", ["day", "night"])
def test_text_can_be_read_by_day_and_by_night(time: str):
    at = ("day", "night").index(time)
    own = {
        name: pair.split(", ")[at]
        for name, pair in re.findall(r"--df-([a-z-]+): light-dark\(([^)]*)\)", style.CSS)
    }
    theme = (launch._DAY, launch._NIGHT)[at]
    grounds = [theme["backgroundColor"], theme["secondaryBackgroundColor"], own["ground"]]
    texts = [theme[name] for name in ("textColor", "linkColor", "primaryColor", "codeTextColor")]
    texts += [own[name] for name in ("text", "quiet", "fake", "uncertain", "real")]
    assert min(contrast(text, ground) for text in texts for ground in grounds) >= 4.5
    assert contrast(own["text"], own["note"]) >= 4.5
    for zone in ("zone-real", "zone-fake", "zone-a", "zone-b"):
        assert contrast(own["text"], own[zone]) >= 3
