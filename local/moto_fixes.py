"""What moto 5.2.5 gets wrong for this project's Terraform: one function per fix, with the reason."""

from __future__ import annotations

from local.hooks import Hooks


def install(hooks: Hooks) -> None:
    pass
