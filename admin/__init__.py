"""The control plane: the admin API and the console, mounted once by `rollout.app`."""

from __future__ import annotations

from flask import Blueprint


def create_blueprint() -> Blueprint:
    """Everything under /admin."""
    from .api import mount as api

    admin = Blueprint("admin", __name__, url_prefix="/admin")
    admin.register_blueprint(api.create_blueprint())
    return admin
