"""What the pods of our images agree on."""

IMAGE_USER = 1000  # also their group
SCRATCH = "/scratch"  # the only folder that they write, besides /dev/shm
