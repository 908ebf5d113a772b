"""The registry of names, and what is made of it: run ``python -m semconv``."""
