"""The control plane: the admin API and the console, mounted once by `rollout.app`."""

from __future__ import annotations

from flask import Blueprint


def create_blueprint() -> Blueprint:
    """Everything under /admin."""
    from .api import mount as api
    from .pages import mount as pages

    admin = Blueprint("admin", __name__, url_prefix="/admin")
    admin.register_blueprint(api.create_blueprint())
    admin.register_blueprint(pages.create_blueprint())
    return admin
