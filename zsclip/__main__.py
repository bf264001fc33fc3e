"""`python -m zsclip`."""

from zsclip.cli import main

if __name__ == "__main__":
    main()
