"""`python -m phonemeter` is the command `phonemeter`."""

from phonemeter.cli import main

if __name__ == "__main__":
    main()
