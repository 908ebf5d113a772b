"""What is counted and measured of runs, nodes and receivers."""
