"""`python -m fake_cri`."""

from fake_cri.cli import main

if __name__ == "__main__":
    main()
