"""What our engine costs beside LangGraph, measured in one run: ``python -m benchmarks``."""
