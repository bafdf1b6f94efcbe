"""What a pipeline needs, tried out: each check is a function that gives one or more ``Line``."""
