"""Files and folders that parameters of nodes name. A mistake is a :class:`ParameterError` that names the parameter."""

from __future__ import annotations

from pathlib import Path

from ..core.types import FleetSpec
from ..ros.params import ParameterError
from . import fleet_config
from .operator_files import FileRefused
from .paths import default_data_dir, expanded


def data_folder(parameter: str, value: str, below: str = "") -> Path:
    """Return the folder ``value`` of ``parameter``; if it is empty, ``below`` in the default data folder.

    Raises :class:`ParameterError` if there is no such home folder.
    """
    if value:
        return named_file(parameter, value)
    try:
        return default_data_dir() / below
    except FileNotFoundError as error:
        raise ParameterError(f"parameter {parameter}: {error}") from error


def named_file(parameter: str, value: str) -> Path:
    """Return the path ``value`` of ``parameter``. Raises :class:`ParameterError` if there is no such home folder."""
    try:
        return expanded(value)
    except FileNotFoundError as error:
        raise ParameterError(f"parameter {parameter}: {error}") from error


def described_fleet(value: str) -> FleetSpec:
    """Return the fleet that the parameter ``fleet_config`` describes. Raises :class:`ParameterError`."""
    try:
        return fleet_config.load(expanded(value) if value else None)
    except (FileRefused, FileNotFoundError) as error:
        raise ParameterError(f"parameter fleet_config: {error}") from error
