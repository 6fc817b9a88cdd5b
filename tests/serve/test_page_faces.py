"""The page shows which faces a verdict is about."""

from pathlib import Path

from deepfake_core.images.thumbnails import thumbnail
from deepfake_core.inference.opening import choose_networks, open_classifier
from deepfake_core.models.registry import find_model
from deepfake_core.serve.page.pictures import SHOWN_PIXELS, judge_files
from tests.support.second_look import two_looks

SAMPLES = Path(__file__).resolve().parents[2] / "data" / "samples"


def test_a_picture_is_shown_with_a_box_around_each_face(tmp_path, tiny_registry):
    registry = two_looks(tmp_path / "models", tiny_registry)
    networks = choose_networks(find_model("tiny", registry), registry=registry)
    names = ("render-01.jpg", "no-face-rocket.jpg", "broken-truncated.jpg")
    contents = [(name, (SAMPLES / name).read_bytes()) for name in names]
    face, none, broken = judge_files(open_classifier(networks), contents)
    plain = [thumbnail(content, side=SHOWN_PIXELS) for _, content in contents]
    assert face.verdict["faces"]
    assert face.picture == thumbnail(contents[0][1], side=SHOWN_PIXELS, faces=face.verdict["faces"])
    assert face.picture != plain[0]
    assert none.picture == plain[1]
    assert broken.picture is None
