"""From events to parts in a receiver: modes, filters, samplers, windows, buffers, and the account of them."""
