"""Puts what `splatworks plan` and `splatworks run-local` use of the platform into the wheel, at the checkout's paths."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
SHIPPED = ("modules/lambda/functions/**/*", "docker/runner.py", "docker/jobrunner/*.py", "local/*.py")
SUFFIXES = (".py", ".json")


class BuildWithPlatform(build_py):
    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return  # the checkout itself is there
        for pattern in SHIPPED:
            for source in sorted(ROOT.glob(pattern)):
                if source.suffix in SUFFIXES:
                    target = Path(self.build_lib) / "splatworks" / "shipped" / source.relative_to(ROOT)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(source, target)


setup(cmdclass={"build_py": BuildWithPlatform})
