"""The packages of the wheel: `mcr_bench` is this folder, and every folder in its rooms that has an `__init__.py`."""

from tempfile import TemporaryDirectory

from setuptools import find_packages, setup

ROOMS = ["bench", "bench.*", "methods", "methods.*", "datasets", "datasets.*", "results"]

with TemporaryDirectory() as build:
    setup(
        packages=["mcr_bench", *(f"mcr_bench.{name}" for name in find_packages(include=ROOMS))],
        script_name="setup.py",  # else the wheel would take this file for a module of mcr_bench
        options={"build": {"build_base": build}},  # in ./build, modules of an earlier build would ship again
    )
