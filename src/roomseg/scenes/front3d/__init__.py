"""Rooms of 3D-FRONT houses, furnished with 3D-FUTURE models."""
