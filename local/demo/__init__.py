"""Take photos to a scene in a browser page through the platform (`make demo`)."""
