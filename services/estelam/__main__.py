"""`python -m estelam` runs the command line."""

from estelam.cli import main

if __name__ == "__main__":
    main()
