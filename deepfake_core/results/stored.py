"""JSON files that other versions of the program may read and write."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, SkipValidation

from deepfake_core.records import Json

# A name from the file system, which may hold bytes that are not UTF-8 as surrogates.
FileSystemName = Annotated[str, SkipValidation]


class Stored(BaseModel):
    """A JSON file, or a part of one, of which other versions may know more.

    What this version does not know is kept when the file is written again, and what was never
    set is not written.
    """

    model_config = ConfigDict(extra="allow", populate_by_name=True)

    def as_json(self) -> Json:
        """The content for a file, under the names of the file."""
        # Not pydantic's own JSON: it refuses names that are not UTF-8.
        return self.model_dump(by_alias=True, exclude_unset=True)
