"""The wired services of this app."""

from __future__ import annotations

from typing import cast

from flask import current_app

from rollout.services.registry import Services


def services() -> Services:
    return cast(Services, current_app.extensions["rollout"])
