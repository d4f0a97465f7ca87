"""Object keys and folders in the buckets that the platform's parts agree on."""

STAGES_FOLDER = "stages/"  # the platform's own scripts in the input bucket
READY = "_READY"  # uploaded into a folder below photos/ it starts a run on that folder
OPTIONS = "pipeline.json"  # options of a run that an upload starts
NOT_INPUT = (READY, OPTIONS)  # they start a run and set its options: they are not photos
