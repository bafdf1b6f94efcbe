"""A scan or a room -> classes at its own points: volume, network, points, files. ``commands/predict.py`` runs it."""
