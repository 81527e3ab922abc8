"""What all tests need of the process that they run in."""

import signal


def pytest_configure() -> None:
    """Ctrl-C as in a terminal: a shell's background jobs ignore it, and so would the commands that tests send it to."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
