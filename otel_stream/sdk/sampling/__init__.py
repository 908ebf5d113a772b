"""What is kept of traces, at their heads and at their tails."""
