"""What runs inside a user's environment: the template, its forks, and the handler's semantics.

Rules of this package: standard library only, relative imports only (it is loaded by path under the
name ``coldspark_worker`` into interpreters that have no coldspark), Python 3.9 or newer.
"""
