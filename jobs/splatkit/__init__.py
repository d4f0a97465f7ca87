"""What the stages share: photos, cameras, geometry and the ways a stage speaks to the world. No S3, no AWS."""
