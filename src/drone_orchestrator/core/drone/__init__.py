"""The decisions of one drone: how it carries out a goal, and what it must remember across a restart.

Goals, clearances and sensor readings come in as events; journal entries, flight commands and answers go out as effects
(both in :mod:`.events`). :mod:`.machine` is the only entry point. :mod:`.state` folds the journal into the durable
state.
"""
