"""Which licence everything has that this project installs or builds, and whether all of it may be used."""
