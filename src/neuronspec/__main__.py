"""`python -m neuronspec`: the same as the command `neuronspec`."""

from neuronspec.cli.main import main

if __name__ == "__main__":
    main()
