"""A release: what it is made of, how it is tried, and what says which version it is. ``make release``."""
