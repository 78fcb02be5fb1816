"""The version, written down so that nobody has to import importlib.metadata (39 ms) to know it."""

from __future__ import annotations

VERSION = "0.1.0"
