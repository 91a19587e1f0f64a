"""The content digest of a model folder: ``python -m demo.digest demo/model``."""

from __future__ import annotations

from pathlib import Path

import click
from safetensors.numpy import load_file

from errata.ledger.base.digests import base_digest, tensor_digest


def model_digest(folder: Path) -> str:
    """The base digest of the float32 tensors in ``model.safetensors``, whatever the container."""
    tensors = load_file(folder / "model.safetensors")
    return base_digest(
        {name: tensor_digest(name, "F32", array.shape, array.tobytes()) for name, array in tensors.items()}
    )


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
def main(folder: Path) -> None:
    """Prints the digest of the model in FOLDER."""
    click.echo(model_digest(folder))


if __name__ == "__main__":
    main()
