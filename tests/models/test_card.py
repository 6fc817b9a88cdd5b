"""A card shows names of others' files as text."""

from deepfake_core.models.architecture import Architecture
from deepfake_core.models.bundle import Description, Preprocessing
from deepfake_core.models.card import card
from deepfake_core.models.decision import Calibration, Thresholds

PICTURE = "![x](http://evil.example/a.png)"
SCRIPT = "<img src=http://evil.example/b.png onerror=alert(1)>"
ODD = f"{PICTURE}`{SCRIPT}|"


def figures_of(name: str) -> dict:
    gap = {"gap": 0.2, "interval": (0.1, 0.3), "found": True, "highest": ODD, "lowest": SCRIPT}
    labels = {"fake": 1, "real": 2, "uncertain": 0}
    return {name: {"images": 3, "labels": labels, "people": {ODD: {"gaps": {"fpr_at_fake": gap}}}}}


def description_of(figures: dict, *, about: str = "faces") -> Description:
    return Description(
        name="tiny",
        version=1,
        architecture=Architecture(),
        preprocessing=Preprocessing(size=32),
        calibration=Calibration(),
        thresholds=Thresholds(real_below=0.4, fake_from=0.6),
        figures=figures,
        trained_on=about,
        limits=(about,),
        files={},
    )


def test_names_of_sets_columns_and_groups_are_text():
    text = card(description_of(figures_of(ODD), about=ODD))
    assert "](http" not in text.replace("\\](", "").replace("&#91;x](", "")
    assert "![" not in text.replace("\\!\\[", "")
    assert "<img" not in text
    assert "&lt;img" in text


def test_plain_names_stay_as_they_are():
    text = card(description_of(figures_of("report_jpeg-50"), about="140,000 faces, *half* fake"))
    assert "| `report_jpeg-50` | 3 |" in text
    assert "140,000 faces, *half* fake" in text
