"""The site of the documentation: how it is built, what it must be, and the pictures in it."""
