"""A signal waits for the end of a step; a second one does not; what is ignored stays ignored."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from fvis import cli, interruption
from fvis.interruption import (
    SIGNALS,
    DeferredInterruption,
    Uninterrupted,
    end_on_signals,
    interrupt,
    interruptions_first,
    was_interrupted,
)


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The tests after a test know nothing of its signals."""
    monkeypatch.setattr(interruption, "_received", [])
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)  # in the background some are ignored
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_deferred_and_the_second_is_not(number: signal.Signals) -> None:
    signal.signal(number, interrupt)
    before = [signal.getsignal(each) for each in SIGNALS]
    with pytest.raises(KeyboardInterrupt), DeferredInterruption() as deferred:
        assert not deferred.requested
        os.kill(os.getpid(), number)
        assert deferred.requested
        os.kill(os.getpid(), number)
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with DeferredInterruption() as deferred:
        os.kill(os.getpid(), signal.SIGHUP)
        assert not deferred.requested
    end_on_signals()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


class Finalized:
    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.001)  # here Python calls the handler, and drops what it raises


@pytest.mark.parametrize("slowly", [False, True], ids=["at once", "while the thread starts"])
def test_an_interruption_that_python_drops_is_raised_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], slowly: bool
) -> None:
    start = threading.Thread.start

    def start_slowly(thread: threading.Thread) -> None:
        start(thread)
        time.sleep(0.1)  # the thread's signal comes meanwhile

    if slowly:
        monkeypatch.setattr(threading.Thread, "start", start_slowly)
    end_on_signals()
    assert not was_interrupted()
    with pytest.raises(KeyboardInterrupt):
        Finalized()
        time.sleep(60)
        pytest.fail("the signal did not end the sleep")
    assert was_interrupted(), "whatever a library makes of it"
    assert capsys.readouterr().err == ""


def test_an_error_that_a_library_makes_of_an_interruption_is_one_again() -> None:
    end_on_signals()
    with pytest.raises(TypeError), interruptions_first():
        raise TypeError("an error like others")
    with pytest.raises(KeyboardInterrupt), interruptions_first():
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(10)
        except KeyboardInterrupt:
            raise TypeError("what a library makes of it") from None


def test_a_second_signal_soon_after_the_first_changes_nothing() -> None:
    end_on_signals()
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGHUP)
        time.sleep(10)
    os.kill(os.getpid(), signal.SIGHUP)
    time.sleep(interruption.SOON + 0.1)  # here it would be raised
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGHUP)
        time.sleep(10)


def test_an_interruption_as_the_program_starts_is_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "end_on_signals", interrupted)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    assert capsys.readouterr().err == "fvis: interrupted\n"


def test_what_shares_locks_ends_before_an_interruption_comes() -> None:
    done: list[str] = []
    end_on_signals()
    with pytest.raises(KeyboardInterrupt), Uninterrupted():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.001)
        done.append("alone")
    assert done == ["alone"]
    with DeferredInterruption() as outer:
        with Uninterrupted():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.001)
            assert not outer.requested
        assert outer.requested, "what surrounds it defers it further"


def test_outside_the_main_thread_nothing_is_deferred() -> None:
    seen: list[bool] = []

    def work() -> None:
        with DeferredInterruption() as deferred:
            seen.append(deferred.requested)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]


def test_ctrl_c_while_the_command_line_is_imported_is_one_line() -> None:
    code = (
        "import builtins, sys\n"
        "true = builtins.__import__\n"
        "def importing(name, *rest, **named):\n"
        "    if name == 'fvis.cli': raise KeyboardInterrupt\n"
        "    return true(name, *rest, **named)\n"
        "from fvis.__main__ import main\n"
        "builtins.__import__ = importing\n"
        "main()\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (1, "", "fvis: interrupted\n")
