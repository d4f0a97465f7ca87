"""Structure from motion: photos in, cameras and points out."""
