"""The name that :mod:`dcf.testing.engine_contract` had in DCF 0.1, kept for engines outside DCF."""

from __future__ import annotations

from dcf.testing.engine_contract import Bench, EngineContract, Watch

__all__ = ["Bench", "EngineContract", "Watch"]
