"""What was declared: schemas, nodes, and the program they compile to."""
