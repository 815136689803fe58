"""Python's logging into ROS's, so that rqt_console and the log files have what the ROS-free parts say."""

from __future__ import annotations

import logging
import os

from rclpy.impl.rcutils_logger import RcutilsLogger
from rclpy.logging import LoggingSeverity

from ..telemetry.logs import JsonFormatter, wanted_format

#: How rcutils writes a line to the console; as JSON there must be nothing around it.
CONSOLE_FORMAT_VARIABLE = "RCUTILS_CONSOLE_OUTPUT_FORMAT"


class RosHandler(logging.Handler):
    """Forwards records to a node's logger."""

    def __init__(self, logger: RcutilsLogger) -> None:
        super().__init__()
        self._logger = logger
        if wanted_format() == "json":
            self.setFormatter(JsonFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        # rcutils keys its filters by call site and refuses another level from the same line: one line per level.
        if record.levelno >= logging.CRITICAL:
            self._logger.fatal(text)
        elif record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        elif record.levelno >= logging.INFO:
            self._logger.info(text)
        else:
            self._logger.debug(text)


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
