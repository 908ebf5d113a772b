"""For developers of this repository: builds the pinned backends, and starts them natively, on loopback."""
