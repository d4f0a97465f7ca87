"""Puts into the wheel what `splatworks plan` and `run-local` use of the platform, at the checkout's paths."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
SHIPPED = (
    "modules/lambda/functions/**/*.py",
    "modules/lambda/functions/*.json",
    "docker/runner.py",
    "docker/jobrunner/*.py",
)


class BuildWithPlatform(build_py):
    def run(self) -> None:
        if not self.editable_mode:
            shutil.rmtree(Path(self.build_lib) / "splatworks", ignore_errors=True)  # of an earlier build
        super().run()
        if self.editable_mode:
            return  # the checkout itself is there
        for pattern in SHIPPED:
            for source in sorted(ROOT.glob(pattern)):
                target = Path(self.build_lib) / "splatworks" / "shipped" / source.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)


setup(cmdclass={"build_py": BuildWithPlatform})
