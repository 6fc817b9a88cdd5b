"""The process that decodes what may take long: one file after another, from a pipe to a pipe."""

from __future__ import annotations

from deepfake_core.children import Message, answer_all
from deepfake_core.images.decoding import decode_here
from deepfake_core.images.picture import Wanted
from deepfake_core.records import Failure, Json

# More than any picture within the limits takes; a file that takes more is out of memory here
# before the machine is.
MAX_EXTRA_BYTES = 1000 * 2**20


def decode_one(told: Json, data: bytes) -> Message:
    """Facts and pixels of one file, or why there are none."""
    loaded = decode_here(data, Wanted.from_json(told))
    if isinstance(loaded, Failure):
        return {"code": loaded.code.value, "detail": loaded.detail}, b""
    facts = {
        "size": loaded.image.size,
        "format": loaded.format,
        "width": loaded.width,
        "height": loaded.height,
        "reduction": loaded.reduction,
    }
    return facts, loaded.image.tobytes()


if __name__ == "__main__":
    answer_all(decode_one, max_extra_bytes=MAX_EXTRA_BYTES)
