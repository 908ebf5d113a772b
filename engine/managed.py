"""Managed values: keys of the state that the engine computes anew for every task, never stored."""

from __future__ import annotations

from typing import Annotated, Any


class ManagedValue:
    """Base of everything that may stand in an ``Annotated`` state key instead of a channel."""

    @staticmethod
    def get(step: int, stop: int) -> Any:
        """Return the value in superstep ``step`` of a run that must end by ``stop``."""
        raise NotImplementedError


class IsLastStepManager(ManagedValue):
    """Whether this superstep is the last one the recursion limit allows."""

    @staticmethod
    def get(step: int, stop: int) -> bool:
        return step == stop - 1


class RemainingStepsManager(ManagedValue):
    """How many supersteps the recursion limit still allows, this one included."""

    @staticmethod
    def get(step: int, stop: int) -> int:
        return stop - step


IsLastStep = Annotated[bool, IsLastStepManager]
RemainingSteps = Annotated[int, RemainingStepsManager]
