"""`rollout NOUN VERB`: each noun is imported when it is called, so that `rollout --help` needs neither a database nor an SDK."""

from __future__ import annotations

import importlib
import os

import click
from click.shell_completion import CompletionItem

COMMANDS = {
    "demo": ("rollout.cli.serving:demo", "Seed an embedded database and serve it with the sandbox."),
    "serve": ("rollout.cli.serving:serve", "Serve, with settings from the environment."),
    "worker": ("rollout.cli.serving:worker", "Run the background jobs apart from the web process."),
    "sandbox": (
        "rollout.cli.serving:sandbox",
        "The sandbox provider over HTTP in the vendors' wire formats.",
    ),
    "migrate": ("rollout.cli.operating:migrate", "Bring the database's schema up to date."),
    "check": ("rollout.cli.operating:check", "Check settings, database, ledger, audit chain and vendors."),
    "config": ("rollout.cli.operating:config", "Show each setting and where its value comes from."),
    "ledger": ("rollout.cli.ledger:ledger", "The books: list, verify."),
    "tenants": ("rollout.cli.tenants:tenants", "Organisations: list, show, add, set, suspend, activate."),
    "keys": ("rollout.cli.keys:keys", "A tenant's API keys: list, show, add, rotate, revoke."),
    "tokens": ("rollout.cli.tokens:tokens", "Admin tokens: list, show, add, revoke."),
    "flags": (
        "rollout.cli.flags:flags",
        "Flags beyond plans: list, show, add, set, archive, revive; with Unleash: upstream, push.",
    ),
    "segments": (
        "rollout.cli.segments:segments",
        "Constraints that flags share: list, show, add, set, remove.",
    ),
    "flag-tokens": (
        "rollout.cli.flag_tokens:flag_tokens",
        "Tokens by which SDKs ask for flags: list, show, add, revoke.",
    ),
    "flag-clients": ("rollout.cli.flag_tokens:flag_clients", "SDKs that ask for flags: list."),
    "flag-metrics": ("rollout.cli.flag_tokens:flag_metrics", "How often a flag was on and off: list."),
    "users": (
        "rollout.cli.users:users",
        "Operators at the console: list, show, add, set, disable, enable, password, link.",
    ),
    "grants": ("rollout.cli.grants:grants", "Access to features: list, show, add, set, revoke."),
    "access-requests": (
        "rollout.cli.access_requests:access_requests",
        "Who asks for access: list, show, approve, deny.",
    ),
    "alerts": ("rollout.cli.alerts:alerts", "What was told of windows that fill: list."),
    "meters": ("rollout.cli.meters:meters", "Quotas: list, show, add, set, revoke."),
    "topups": ("rollout.cli.topups:topups", "Room beyond a meter's cap: list, show, add, void."),
    "adjustments": (
        "rollout.cli.adjustments:adjustments",
        "Corrections of what a tenant used: list, show, add.",
    ),
    "holds": ("rollout.cli.holds:holds", "Reservations: list, show, settle, void."),
    "generations": ("rollout.cli.generations:generations", "Pictures on order: list, show, cancel."),
    "features": ("rollout.cli.features:features", "Features: list, show, revive."),
    "kill": ("rollout.cli.features:kill", "Stop a feature, for all or for one tenant."),
    "catalogue": (
        "rollout.cli.catalogue:catalogue",
        "Models, aliases, vendors: models, show, set, price, retire, reset, aliases, alias, unalias, move, finish, "
        "vendors, disable, enable, verify, proposals, apply, dismiss.",
    ),
    "plans": (
        "rollout.cli.plans:plans",
        "Phases: list, show, members, templates, add, set, advance, jump, restart, pause, resume, rollback.",
    ),
    "change-requests": (
        "rollout.cli.change_requests:change_requests",
        "Steps of plans that wait for people: list, show, approve, reject, withdraw.",
    ),
    "schedules": ("rollout.cli.schedules:schedules", "Steps of plans at a time: list, show, add, cancel."),
    "feedback": ("rollout.cli.feedback:feedback", "What end users say: list, show, set, figures, export."),
    "usage": ("rollout.cli.usage:usage", "What was used and what it cost."),
    "statements": ("rollout.cli.statements:statements", "What a month came to: list, show."),
    "requests": (
        "rollout.cli.requests:requests",
        "What partners were refused, and the story of any id: list, export, summary, show.",
    ),
    "analyses": ("rollout.cli.analyses:analyses", "What named tasks were answered: list, show."),
    "product-tables": (
        "rollout.cli.analyses:product_tables",
        "Tables that pictures of products are compared with: list.",
    ),
    "guardrail-events": (
        "rollout.cli.guardrail_events:guardrail_events",
        "What vendors refused for its content: list.",
    ),
    "audit": ("rollout.cli.audit:audit", "Who changed what, when and why: list, export, verify."),
    "explain": ("rollout.cli.explain:explain", "Why a tenant may or may not use a feature."),
    "simulate": (
        "rollout.cli.simulate:simulate",
        "What would change if a plan took a step, or said something else.",
    ),
    "workers": ("rollout.cli.workers:workers", "Who serves, and on which revision: list."),
    "webhooks": (
        "rollout.cli.webhooks:webhooks",
        "Who is told of events: list, show, add, set, rotate, remove, test, deliveries, resend.",
    ),
    "jobs": ("rollout.cli.jobs:jobs", "Work left for later: list, show, replay."),
    "completion": ("rollout.cli.completion:completion", "Completion for bash, zsh and fish."),
}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, attribute = COMMANDS[name][0].split(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Nouns without importing any of them; options by click."""
        nouns = [
            CompletionItem(name, help=text)
            for name, (_, text) in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return nouns or super().shell_complete(ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.command(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="phasegate", prog_name="rollout")
def main() -> None:
    """Put a generative-AI capability in front of partners, in phases.

    Settings come from ROLLOUT_* variables (`rollout config` shows them). Exit codes: 0 done, 1 failed, 2 usage, 3 refused by a rule.
    """
    if os.environ.get("NO_COLOR"):
        click.get_current_context().color = False


if __name__ == "__main__":
    main(prog_name="rollout")
