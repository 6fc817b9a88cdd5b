"""A tag on an object of a bucket, beside those that it has."""

from __future__ import annotations

from deepfake_core.storage.base import Tag, Tagged
from deepfake_core.storage.s3_multipart import Call

# What S3 allows.
MAX_TAGS = 10


def put_tag(call: Call, key: str, tag: Tag) -> Tagged:
    """Give an object a tag; its others stay.

    S3 takes all tags of an object at once: one that somebody else sets between the question for
    them and the answer is lost. Where objects have versions, the one that was looked at is tagged.

    Args:
        call: one call of S3.
        key: of the object.
        tag: its name and value, and the etag that the object must have.

    Returns:
        What became of it; what the store complains of is no error here.
    """
    try:
        head = call("head_object", Key=key)
        if tag.etag is not None and head.get("ETag", "").strip('"') != tag.etag:
            return Tagged.CHANGED
        version = {"VersionId": head["VersionId"]} if "VersionId" in head else {}
        present = call("get_object_tagging", Key=key, **version).get("TagSet", [])
        tags = {pair["Key"]: pair["Value"] for pair in present}
        if tags.get(tag.name) == tag.value:
            return Tagged.SAME
        tags[tag.name] = tag.value
        if len(tags) > MAX_TAGS:
            return Tagged.FULL
        wanted = [{"Key": name, "Value": value} for name, value in tags.items()]
        call("put_object_tagging", Key=key, Tagging={"TagSet": wanted}, **version)
    except FileNotFoundError:
        return Tagged.GONE
    except PermissionError:
        return Tagged.DENIED
    except OSError:
        return Tagged.FAILED
    return Tagged.SET
