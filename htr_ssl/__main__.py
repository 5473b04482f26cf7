"""``python -m htr_ssl`` is the command ``htr-ssl``."""

from htr_ssl.cli import main

if __name__ == "__main__":
    main()
