"""The verdict table: its columns, their meaning, and the laws that rows must obey."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from deepfake_core.errors import BrokenInvariant, OutputError
from deepfake_core.records import DECIDED, Label, Reason

SCHEMA_VERSION = 2
# What is understood: version 1 had no faces, and its rows lack the columns that came with them.
READABLE_VERSIONS = ("1", "2")
VERSION_KEY = b"deepfake.schema_version"
# In the footer of labels that were decided again: the run whose scores they are from.
REDECIDED_KEY = b"deepfake.redecided_from"

FACE = pa.struct(
    [
        *(pa.field(name, pa.float32()) for name in ("x", "y", "width", "height", "size", "roll")),
        *(pa.field(name, pa.float32()) for name in ("found", "logit", "second_logit", "score")),
        pa.field("label", pa.string()),
    ]
)
CLAIM = pa.struct(
    [("kind", pa.string()), ("value", pa.string()), ("verified", pa.bool_())],
)

# Lists call what is in them as Parquet does. Name, type, when it is null, meaning:
COLUMNS: tuple[tuple[str, pa.DataType, str, str], ...] = (
    ("image", pa.string(), "never", "path relative to the source, forward slashes"),
    ("source", pa.string(), "never", "the source, normalised, without credentials"),
    ("etag", pa.string(), "unknown", "the store's etag, or size and mtime of a local file"),
    ("sha256", pa.string(), "not read", "hex digest of the bytes judged"),
    ("bytes", pa.int64(), "stat failed", "size of the object"),
    ("status", pa.string(), "never", "`ok` or `failed`"),
    ("failure", pa.string(), "ok", "a failure code"),
    ("detail", pa.string(), "often", "at most 200 characters for people"),
    ("format", pa.string(), "not decoded", "`JPEG`, `PNG`, ... from the content"),
    ("width", pa.int32(), "not decoded", "pixels after EXIF orientation"),
    ("height", pa.int32(), "not decoded", "pixels after EXIF orientation"),
    (
        "logit",
        pa.float32(),
        "failed, not applicable",
        "raw output for the face that decided, of the last look it was given; positive means fake",
    ),
    (
        "score",
        pa.float32(),
        "failed, not applicable",
        "calibrated probability that this face was generated, 0 to 1",
    ),
    ("label", pa.string(), "failed", "`fake`, `real`, `uncertain` or `not_applicable`"),
    (
        "reason",
        pa.string(),
        "mostly",
        "`no_face`, `face_too_small`, `unfamiliar` (not applicable); `unstable` (made uncertain)",
    ),
    (
        "faces",
        pa.list_(pa.field("element", FACE)),
        "failed, frame",
        "every face considered, the one that decided first; box and `size` (side of the aligned "
        "crop) in pixels, `roll` in degrees, `found` (the finder's confidence), `logit` (first "
        "look), `second_logit`, `score`, `label`",
    ),
    ("faces_found", pa.int32(), "failed, frame", "how many faces there were"),
    ("second_model_id", pa.string(), "no second look", "`name@version+hash8` of the second look"),
    ("score_low", pa.float32(), "not re-judged", "least score under cheap re-encodings"),
    ("score_high", pa.float32(), "not re-judged", "largest score under cheap re-encodings"),
    (
        "provenance",
        pa.list_(pa.field("element", CLAIM)),
        "nothing claimed",
        "what the file says of itself: `kind` (`c2pa`, `iptc`, `generator`, `camera`), `value`, "
        "`verified` (true: signed by somebody on the trust list; false: broken)",
    ),
    ("model_id", pa.string(), "never", "`name@version+hash8`"),
    ("run_id", pa.string(), "never", "the run"),
    ("run_started", pa.timestamp("us", tz="UTC"), "never", "when the run started"),
)

VERDICTS = pa.schema(
    [pa.field(name, kind, nullable=null != "never") for name, kind, null, _ in COLUMNS]
)


def with_metadata(table: pa.Table, metadata: dict[str, str]) -> pa.Table:
    """The table with its schema version and other facts in the footer."""
    footer = {f"deepfake.{key}".encode(): value.encode() for key, value in metadata.items()}
    footer[VERSION_KEY] = str(SCHEMA_VERSION).encode()
    return table.replace_schema_metadata(footer)


def check_version(version: object, place: str) -> None:
    """Refuse what a version of the schema was written for that is not understood here.

    Args:
        version: what the file says; a number, or none.
        place: the file, for the message.

    Raises:
        OutputError: it is not a version that is understood, or the file does not say.
    """
    if str(version) in READABLE_VERSIONS:
        return
    newer = str(version).isdecimal() and int(str(version)) > SCHEMA_VERSION
    advice = (
        "it was written by a newer version of deepfake: update this one"
        if newer
        else "read it with the program that wrote it, or move it away"
    )
    raise OutputError(f"{place} has schema version {version}, expected {SCHEMA_VERSION}; {advice}")


def validate(table: pa.Table) -> None:
    """Check the laws of verdict rows.

    Raises:
        BrokenInvariant: a law is broken; the message says which and how often.
    """
    if table.schema.names != VERDICTS.names or table.schema.types != VERDICTS.types:
        raise BrokenInvariant(f"verdict columns differ: {table.schema.names}")
    for law, broken in {**_laws_of_status(table), **_laws_of_labels(table)}.items():
        count = pc.sum(broken).as_py() or 0
        if count:
            raise BrokenInvariant(f"{law} ({count} of {table.num_rows} rows)")


def _laws_of_status(table: pa.Table) -> dict[str, pa.ChunkedArray]:
    """Where each law is broken: bool[N] by its wording."""
    ok, failed = pc.equal(table["status"], "ok"), pc.not_equal(table["status"], "ok")
    laws = {
        "a status is neither ok nor failed": pc.invert(pc.is_in(table["status"], _STATUSES)),
        "an ok row has a failure code": pc.and_(ok, pc.is_valid(table["failure"])),
        "a failed row has no failure code": pc.and_(failed, pc.is_null(table["failure"])),
        "an ok row lacks its label": pc.and_(ok, pc.is_null(table["label"])),
    }
    for name in OF_JUDGED:
        laws[f"a failed row has {name}"] = pc.and_(failed, pc.is_valid(table[name]))
    for name, _, null, _ in COLUMNS:
        if null == "never":
            laws[f"a row lacks its {name}"] = pc.is_null(table[name])
    return laws


def _laws_of_labels(table: pa.Table) -> dict[str, pa.ChunkedArray]:
    judged = pc.fill_null(pc.is_in(table["label"], _DECIDED), False)
    refused = pc.fill_null(pc.equal(table["label"], Label.NOT_APPLICABLE), False)
    unstable = pc.fill_null(pc.equal(table["reason"], Reason.UNSTABLE), False)
    other_reason = pc.and_(pc.is_valid(table["reason"]), pc.invert(unstable))
    uncertain = pc.fill_null(pc.equal(table["label"], Label.UNCERTAIN), False)
    laws = {
        "a label is none of the labels": pc.and_(
            pc.is_valid(table["label"]), pc.invert(pc.or_(judged, refused))
        ),
        "a row that is not applicable has no reason": pc.and_(refused, pc.invert(other_reason)),
        "a judged row has a reason not to be": pc.and_(judged, other_reason),
        "an unstable row is not uncertain": pc.and_(unstable, pc.invert(uncertain)),
    }
    for name in ("logit", "score"):
        laws[f"a judged row lacks its {name}"] = pc.and_(judged, pc.is_null(table[name]))
        laws[f"a row that is not applicable has a {name}"] = pc.and_(
            refused, pc.is_valid(table[name])
        )
    for name in ("score", "score_low", "score_high"):
        outside = pc.or_(pc.less(table[name], 0.0), pc.greater(table[name], 1.0))
        laws[f"a {name} lies outside 0 to 1"] = pc.fill_null(outside, False)
    return laws


_STATUSES = pa.array(["ok", "failed"])
_DECIDED = pa.array([str(label) for label in DECIDED])
# What no failed row has.
OF_JUDGED = ("logit", "score", "label", "reason", "faces", "faces_found")


def upgraded(table: pa.Table, columns: Sequence[str] | None = None) -> pa.Table:
    """Rows of any readable version with the columns of this one; what they lack is null.

    Args:
        table: verdict rows, or some columns of them.
        columns: the columns of the result in their order; all by default.
    """
    names = VERDICTS.names if columns is None else list(columns)
    arrays = [
        table[name].cast(VERDICTS.field(name).type)
        if name in table.column_names
        else pa.nulls(table.num_rows, VERDICTS.field(name).type)
        for name in names
    ]
    schema = pa.schema([VERDICTS.field(name) for name in names], metadata=table.schema.metadata)
    return pa.table(arrays, schema=schema)


def markdown_table() -> str:
    """The schema as a markdown table, for the README."""
    rows = [f"| `{n}` | {k} | {null} | {meaning} |" for n, k, null, meaning in COLUMNS]
    return "\n".join(["| column | type | null when | meaning |", "|---|---|---|---|", *rows])
