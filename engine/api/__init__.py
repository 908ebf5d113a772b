"""What users call: a graph is built, compiled, launched, streamed, asked for its state."""
