"""Forwards Python's logging to ROS's, so that rqt_console and the log files include the ROS-free parts."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

from rclpy.impl import implementation_singleton
from rclpy.impl.rcutils_logger import RcutilsLogger
from rclpy.logging import LoggingSeverity

from ..telemetry.logs import JsonFormatter, wanted_format

#: Environment variable of rcutils's console format. With JSON logs the format must add nothing to the message.
CONSOLE_FORMAT_VARIABLE = "RCUTILS_CONSOLE_OUTPUT_FORMAT"

#: rclpy's logging function; without it, the logger's methods are used.
_write: Callable[[LoggingSeverity, str, str, str, str, int], None] | None = getattr(
    implementation_singleton.rclpy_implementation, "rclpy_logging_rcutils_log", None
)


class RosHandler(logging.Handler):
    """Forwards log records to a node's logger, with their source location.

    rclpy's own logging methods search the stack and the file system for the location, and would find this file. That
    search took a quarter of the CPU time of a process with busy drones.
    """

    def __init__(self, logger: RcutilsLogger) -> None:
        super().__init__()
        self._logger = logger
        if wanted_format() == "json":
            self.setFormatter(JsonFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        severity = _severity(record.levelno)
        if not self._logger.is_enabled_for(severity):
            return
        text = self.format(record)
        if _write is not None:
            _write(severity, self._logger.name, text, record.funcName, record.pathname, record.lineno)
            return
        # rcutils keys its filters by call site and rejects a second level from the same line, so each level has a line.
        if severity is LoggingSeverity.FATAL:
            self._logger.fatal(text)
        elif severity is LoggingSeverity.ERROR:
            self._logger.error(text)
        elif severity is LoggingSeverity.WARN:
            self._logger.warning(text)
        elif severity is LoggingSeverity.INFO:
            self._logger.info(text)
        else:
            self._logger.debug(text)


def _severity(level: int) -> LoggingSeverity:
    if level >= logging.CRITICAL:
        return LoggingSeverity.FATAL
    if level >= logging.ERROR:
        return LoggingSeverity.ERROR
    if level >= logging.WARNING:
        return LoggingSeverity.WARN
    return LoggingSeverity.INFO if level >= logging.INFO else LoggingSeverity.DEBUG


def prepare_console() -> None:
    """Set the console format; call it before ROS is initialised.

    Raises :class:`~drone_orchestrator.telemetry.logs.LogFormatError`.
    """
    if wanted_format() == "json":
        os.environ.setdefault(CONSOLE_FORMAT_VARIABLE, "{message}")


def debugs(logger: RcutilsLogger) -> bool:
    """Return whether ``logger`` logs debug messages."""
    return bool(logger.is_enabled_for(LoggingSeverity.DEBUG))


def bridge(name: str, logger: RcutilsLogger) -> logging.Logger:
    """Return the Python logger ``name``, whose records go to ``logger`` only."""
    python_logger = logging.getLogger(name)
    python_logger.handlers = [RosHandler(logger)]
    python_logger.setLevel(logging.DEBUG)
    python_logger.propagate = False
    return python_logger
