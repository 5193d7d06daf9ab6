"""`python -m fipo`, for launchers such as `accelerate launch -m fipo train ...`."""

from fipo.cli.main import run

if __name__ == "__main__":
    run()
