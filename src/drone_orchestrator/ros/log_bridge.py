"""Python's logging into ROS's, so that rqt_console and the log files have what the ROS-free parts say."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

from rclpy.impl import implementation_singleton
from rclpy.impl.rcutils_logger import RcutilsLogger
from rclpy.logging import LoggingSeverity

from ..telemetry.logs import JsonFormatter, wanted_format

#: How rcutils writes a line to the console; as JSON there must be nothing around it.
CONSOLE_FORMAT_VARIABLE = "RCUTILS_CONSOLE_OUTPUT_FORMAT"


#: Where there is none, rclpy's own methods do.
_write: Callable[[LoggingSeverity, str, str, str, str, int], None] | None = getattr(
    implementation_singleton.rclpy_implementation, "rclpy_logging_rcutils_log", None
)


class RosHandler(logging.Handler):
    """Forwards records to a node's logger, with the place that they come from.

    rclpy's methods would look for that place by themselves, in the file system, and name this file: a quarter of the
    time of a process whose drones are busy.
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
        # rcutils keys its filters by call site and refuses another level from the same line: one line per level.
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
    """To be called before ROS is initialised. Raises :class:`~drone_orchestrator.telemetry.logs.LogFormatError`."""
    if wanted_format() == "json":
        os.environ.setdefault(CONSOLE_FORMAT_VARIABLE, "{message}")


def debugs(logger: RcutilsLogger) -> bool:
    """Whether somebody wants to see what ``logger`` logs for debugging."""
    return bool(logger.is_enabled_for(LoggingSeverity.DEBUG))


def bridge(name: str, logger: RcutilsLogger) -> logging.Logger:
    """The Python logger ``name``, whose records go to ``logger`` and nowhere else."""
    python_logger = logging.getLogger(name)
    python_logger.handlers = [RosHandler(logger)]
    python_logger.setLevel(logging.DEBUG)
    python_logger.propagate = False
    return python_logger
