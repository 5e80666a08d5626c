"""The composition root: one server, put together and taken apart in good order.

Law: here alone every room meets; nothing imports it but the command line.
"""
