"""Log records that become parts or span events."""
