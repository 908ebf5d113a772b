"""What leaves the process: batches, their exporters, and the account of both."""
