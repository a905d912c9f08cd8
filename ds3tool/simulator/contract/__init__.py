"""The appliance's contract, release 5.8: its operations and the types that they answer with, as tables."""

from __future__ import annotations

from ds3tool.simulator.contract.operations import Operation, Parameter, operation, operations
from ds3tool.simulator.contract.types import Kind, Property, kind, kinds, words

__all__ = ["Kind", "Operation", "Parameter", "Property", "kind", "kinds", "operation", "operations", "words"]
