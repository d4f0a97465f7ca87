"""Names of the files by which a stage finds the results of another one."""

SPLAT = "splat.ply"  # of train.py
METRICS = "metrics.json"  # of train.py, next to the splat; written last
GEOREFERENCE = "georeference.json"  # of sfm.py, written before its other results
REPORT = "report.json"  # of sfm.py and of compress.py
