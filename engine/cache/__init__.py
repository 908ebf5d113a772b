"""What nodes have answered before."""
