"""Start every process of this package: load it by path as ``coldspark_worker``, then run it.

    python -P bootstrap.py FD             the template; FD is its end of the control socket
    python -P bootstrap.py FD --again …   the template again, once its program ruled out a fork
    python -P bootstrap.py FD --replica   a replica of such a template; FD brings the order

Nothing of the platform is put on sys.path: the user's program sees only its own environment.
"""

import os
import sys

_DIRECTORY = os.path.dirname(os.path.abspath(__file__))


def _leave_script_directory() -> None:
    """Do what -P does, for interpreters older than 3.11: our files must not shadow the user's."""
    if sys.path and os.path.realpath(sys.path[0] or ".") == os.path.realpath(_DIRECTORY):
        del sys.path[0]


def _load_package() -> None:
    """Register this directory as the package ``coldspark_worker``."""
    import importlib.util

    spec = importlib.util.spec_from_file_location(
        "coldspark_worker",
        os.path.join(_DIRECTORY, "__init__.py"),
        submodule_search_locations=[_DIRECTORY],
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["coldspark_worker"] = package
    spec.loader.exec_module(package)


def main() -> None:
    """Run what the command line asks for; does not return."""
    import importlib

    _load_package()
    descriptor = int(sys.argv[1])
    mode = sys.argv[2] if len(sys.argv) > 2 else None
    if mode == "--replica":
        importlib.import_module("coldspark_worker.replica_process").run_alone(descriptor)
    if mode is None:
        importlib.import_module("coldspark_worker.process_tag").reserve()
    plan = sys.argv[3] if mode == "--again" else None
    importlib.import_module("coldspark_worker.template_process").run(descriptor, plan)


if __name__ == "__main__":
    _leave_script_directory()
    main()
