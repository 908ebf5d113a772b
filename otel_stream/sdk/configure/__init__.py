"""Sets up OpenTelemetry's SDK for a program, once, and ends it."""
