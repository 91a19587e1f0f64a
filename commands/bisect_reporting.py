"""stub"""

import click
from commands.app import shared


@click.command()
@shared
def report() -> None:
    """Show. Example: errata bisect report"""


@click.command()
@shared
def visualise() -> None:
    """Show. Example: errata bisect visualise"""
