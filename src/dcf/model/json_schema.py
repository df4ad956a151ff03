"""Types of JSON members, with the JSON Schema keywords that narrow them.

A type checker sees the plain type. The OpenAPI document is derived from these annotations. An
``int`` without keywords is 0 or more.
"""

from __future__ import annotations

from typing import Annotated

from dcf.model.names import NAME_PATTERN


class Keywords:
    """JSON Schema keywords, for use in ``Annotated``.

    Attributes:
        name: Name of the schema in the OpenAPI document; "" to repeat the schema at each use.
        members: The keywords.
    """

    def __init__(self, name: str = "", **members: object) -> None:
        self.name = name
        self.members = members


FunctionName = Annotated[str, Keywords(pattern=f"^{NAME_PATTERN}$")]
Digest = Annotated[
    str, Keywords("Digest", description="A SHA-256 digest.", pattern="^sha256:[0-9a-f]{64}$")
]
PositiveInt = Annotated[int, Keywords(minimum=1)]
PositiveFloat = Annotated[float, Keywords(exclusiveMinimum=0)]
