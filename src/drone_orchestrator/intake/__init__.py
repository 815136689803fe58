"""The only way for an order into the store: parsing, admission, bulkheads and the inbox.

A JSON document comes in, whichever door it arrived at (HTTP, ROS service or signed topic). An :class:`.answers.Answer`
goes out, after the order is committed or refused. Knows neither HTTP nor ROS.
"""
