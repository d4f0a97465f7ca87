"""The command line of Splatworks. It is never needed: `aws sns publish` does what `splatworks submit` does."""

from splatworks.shipped import make_importable

make_importable()  # before any module of this package imports the dispatcher's
