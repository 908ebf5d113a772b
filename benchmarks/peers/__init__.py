"""LangGraph under its peers' telemetry, and our engine under ours: ``python -m benchmarks.peers``."""
