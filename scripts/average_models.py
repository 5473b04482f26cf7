"""The mean of the weights of two recognizers: ``python scripts/average_models.py ONE OTHER OUT.safetensors``.

Both come from the same start; each is a name or a file. Header and language model are those of OTHER.
"""

from __future__ import annotations

import sys
from pathlib import Path

from htr_ssl.models import shelf
from htr_ssl.recognizers import averaging


def main() -> None:
    """Writes the mean."""
    one, other = (shelf.find(argument) for argument in sys.argv[1:3])
    averaging.save(one, other, Path(sys.argv[3]))


if __name__ == "__main__":
    main()
