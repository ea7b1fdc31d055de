"""Streams of a model's answer: read until a stop, closed for real, and what was read is kept."""

from countermand.streams.awaiting import AsyncGuarded
from countermand.streams.blocking import Guarded

__all__ = ["AsyncGuarded", "Guarded"]
