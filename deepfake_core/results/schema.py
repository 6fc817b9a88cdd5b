"""The verdict table: its columns, their meaning, and the laws that rows must obey."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from deepfake_core.errors import BrokenInvariant, OutputError

SCHEMA_VERSION = 1
VERSION_KEY = b"deepfake.schema_version"
# In the footer of labels that were decided again: the run whose scores they are from.
REDECIDED_KEY = b"deepfake.redecided_from"

# name, type, when it is null, meaning
COLUMNS: tuple[tuple[str, pa.DataType, str, str], ...] = (
    ("image", pa.string(), "never", "path relative to the source, forward slashes"),
    ("source", pa.string(), "never", "the source, normalised, without credentials"),
    ("etag", pa.string(), "unknown", "the store's etag, or size and mtime of a local file"),
    ("sha256", pa.string(), "not read", "hex digest of the bytes judged"),
    ("bytes", pa.int64(), "never", "size of the object"),
    ("status", pa.string(), "never", "`ok` or `failed`"),
    ("failure", pa.string(), "ok", "a failure code"),
    ("detail", pa.string(), "often", "at most 200 characters for people"),
    ("format", pa.string(), "not decoded", "`JPEG`, `PNG`, ... from the content"),
    ("width", pa.int32(), "not decoded", "pixels after EXIF orientation"),
    ("height", pa.int32(), "not decoded", "pixels after EXIF orientation"),
    ("logit", pa.float32(), "failed", "raw output; positive means fake"),
    ("score", pa.float32(), "failed", "calibrated probability of fake, 0 to 1"),
    ("label", pa.string(), "failed", "`fake`, `real` or `uncertain`"),
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
    """Refuse what another version of the schema was written for.

    Args:
        version: what the file says; a number, or none.
        place: the file, for the message.

    Raises:
        OutputError: it is another version, or the file does not say.
    """
    if str(version) == str(SCHEMA_VERSION):
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
    ok = pc.equal(table["status"], "ok")
    laws = {
        "a status is neither ok nor failed": pc.invert(pc.is_in(table["status"], _STATUSES)),
        "an ok row has a failure code": pc.and_(ok, pc.is_valid(table["failure"])),
        "a failed row has no failure code": pc.and_(pc.invert(ok), pc.is_null(table["failure"])),
    }
    for name in ("logit", "score", "label"):
        laws[f"an ok row lacks its {name}"] = pc.and_(ok, pc.is_null(table[name]))
        laws[f"a failed row has a {name}"] = pc.and_(pc.invert(ok), pc.is_valid(table[name]))
    for name, _, null, _ in COLUMNS:
        if null == "never":
            laws[f"a row lacks its {name}"] = pc.is_null(table[name])
    scores = table["score"]
    outside = pc.or_(pc.less(scores, 0.0), pc.greater(scores, 1.0))
    laws["a score lies outside 0 to 1"] = pc.fill_null(outside, False)
    for law, broken in laws.items():
        count = pc.sum(broken).as_py() or 0
        if count:
            raise BrokenInvariant(f"{law} ({count} of {table.num_rows} rows)")


_STATUSES = pa.array(["ok", "failed"])


def markdown_table() -> str:
    """The schema as a markdown table, for the README."""
    rows = [f"| `{n}` | {k} | {null} | {meaning} |" for n, k, null, meaning in COLUMNS]
    return "\n".join(["| column | type | null when | meaning |", "|---|---|---|---|", *rows])
