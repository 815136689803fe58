"""Declarations of ``fleetctl``'s commands: names, options, help texts.

Arguments come in; the function that carries out a command gets them, and is imported only when the command runs. So
``--help`` and completion are fast.
"""
