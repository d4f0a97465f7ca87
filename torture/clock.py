"""The runner with a scaled clock: all of its waiting times divided by one number.

With a scaled clock, an experiment takes seconds instead of minutes. The machine does not work faster for it, so what
is measured in scaled seconds is never better than in real ones.
"""

import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCALED_RUNNER = """
    import dataclasses, sys
    sys.path[:0] = [{docker!r}, {root!r}]
    import runner
    from jobrunner.settings import Timings
    if sys.argv[1:]:
        sys.exit("this runner with a scaled clock only runs jobs")
    real = Timings()
    scaled = {{field.name: getattr(real, field.name) / {scale} for field in dataclasses.fields(real)}}
    sys.exit(runner.main(Timings(**scaled)))
"""


def scaled_runner(folder: Path, scale: float) -> Path:
    """Write the entry file of a runner whose `Timings` are divided by `scale`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "runner.py"
    source = textwrap.dedent(SCALED_RUNNER).format(docker=str(ROOT / "docker"), root=str(ROOT), scale=scale)
    path.write_text(source)
    return path
