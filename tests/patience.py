"""How long tests wait for what will certainly come: a busy machine needs minutes, and no test may fail by its load."""

PATIENCE_S = 900.0
