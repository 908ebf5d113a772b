"""Parts and happenings of a run as log events."""
