"""Pure decisions: what a superstep plans and applies. Nothing here awaits, asks a clock, or does I/O."""
