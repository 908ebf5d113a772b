"""Values of a class that is in no set and no dict: its metaclass compares, and says no more."""


class Comparing(type):
    """Says when two classes are equal, and by that takes their hash from them."""

    def __eq__(cls, other: object) -> bool:
        return cls is other

    __hash__ = None  # type: ignore[assignment]


class Hashless(metaclass=Comparing):
    """What this is about."""
