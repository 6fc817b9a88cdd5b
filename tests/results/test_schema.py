"""The laws of verdict rows."""

import datetime as dt
from typing import Any

import pyarrow as pa
import pytest

from deepfake_core.errors import BrokenInvariant
from deepfake_core.results.schema import CLAIM, COLUMNS, FACE, VERDICTS, validate
from deepfake_core.results.verdict_row import ClaimRow, FaceRow, VerdictRow

OK = {
    "image": "a.jpg",
    "source": "/images",
    "etag": "1-2",
    "sha256": "0" * 64,
    "bytes": 1,
    "status": "ok",
    "failure": None,
    "detail": None,
    "format": "JPEG",
    "width": 1,
    "height": 1,
    "logit": 0.0,
    "score": 0.5,
    "label": "uncertain",
    "model_id": "tiny@1+00000000",
    "run_id": "r",
    "run_started": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
}
NO_VERDICT = {"logit": None, "score": None, "label": None}
REFUSED = {**OK, **NO_VERDICT, "label": "not_applicable", "reason": "no_face"}
UNSTABLE = {**OK, "reason": "unstable"}
FAILED = {**OK, **NO_VERDICT, "status": "failed", "failure": "decode.corrupt"}
LOOSE = pa.schema([field.with_nullable(True) for field in VERDICTS])


def table_of(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=LOOSE)


def test_rows_that_obey_the_laws_pass():
    validate(table_of(OK, FAILED, {**OK, "etag": None}, REFUSED, UNSTABLE))
    validate(VERDICTS.empty_table())


@pytest.mark.parametrize(
    ("row", "law"),
    [
        ({**OK, "status": "maybe"}, "neither ok nor failed"),
        ({**OK, "status": None}, "neither ok nor failed"),
        ({**OK, "failure": "decode.corrupt"}, "an ok row has a failure code"),
        ({**FAILED, "failure": None}, "a failed row has no failure code"),
        ({**OK, "label": None}, "an ok row lacks its label"),
        ({**OK, "label": "human"}, "a label is none of the labels"),
        *[({**OK, name: None}, f"a judged row lacks its {name}") for name in ("logit", "score")],
        *[({**FAILED, name: OK[name]}, f"a failed row has {name}") for name in NO_VERDICT],
        *[
            ({**REFUSED, name: OK[name]}, f"a row that is not applicable has a {name}")
            for name in ("logit", "score")
        ],
        ({**REFUSED, "reason": None}, "a row that is not applicable has no reason"),
        ({**OK, "reason": "no_face"}, "a judged row has a reason not to be"),
        ({**UNSTABLE, "label": "fake"}, "an unstable row is not uncertain"),
        ({**OK, "score_low": -0.1}, "a score_low lies outside 0 to 1"),
        *[
            ({**OK, name: None}, f"a row lacks its {name}")
            for name, _, null, _ in COLUMNS
            if null == "never" and name != "status"
        ],
    ],
)
def test_a_row_that_breaks_a_law_is_refused(row: dict[str, Any], law: str):
    with pytest.raises(BrokenInvariant, match=f"{law} \\(1 of 3 rows\\)"):
        validate(table_of(OK, row, FAILED))


def test_other_columns_or_types_are_refused():
    good = table_of(OK)
    at = VERDICTS.get_field_index("score")
    wide = good.set_column(at, "score", good["score"].cast(pa.float64()))
    for bad in (good.drop(["detail"]), good.append_column("more", good["image"]), wide):
        with pytest.raises(BrokenInvariant, match="columns differ"):
            validate(bad)


def test_a_row_has_the_columns_of_the_table() -> None:
    assert set(VerdictRow.__annotations__) == set(VERDICTS.names)
    assert set(FaceRow.__annotations__) == {field.name for field in FACE}
    assert set(ClaimRow.__annotations__) == {field.name for field in CLAIM}
