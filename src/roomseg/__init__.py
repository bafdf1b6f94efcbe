"""roomseg: indoor 3D semantic segmentation by 2D-to-3D panoramic distillation."""

__version__ = "0.1.0"
