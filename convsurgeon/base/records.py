"""What every record that goes into JSON or TOML has in common: it is frozen, and it takes no unknown key."""

import json
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

__all__ = ["Record", "from_file", "mistakes"]

M = TypeVar("M", bound=BaseModel)


class Record(BaseModel):
    """A frozen pydantic model that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def from_file(record: type[M], content: Any) -> M:
    """The record that a file's content stands for; a text is no number there, and true is no 1.

    Raises:
        pydantic.ValidationError: every mistake in it.
    """
    # Only of JSON pydantic is strict and still takes its lists for tuples.
    return record.model_validate_json(json.dumps(content), strict=True)


def mistakes(error: ValidationError) -> str:
    """A line for each mistake, in front of which stands where it is."""
    return "\n".join(f"  {'.'.join(map(str, one['loc'])) or 'file'}: {one['msg']}" for one in error.errors())
