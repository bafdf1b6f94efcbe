"""Our own furniture, built from boxes, cylinders and turned profiles: ``catalogue`` has all of it."""
