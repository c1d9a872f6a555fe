"""``otaria espota``: takes the place of the Arduino cores' espota.py in IDEs and build tools.

The words on its command line are read by the same kind of parser as there, so that what an IDE writes today
(``"--auth=secret"``, ``-dr``, ``-p8266``) means the same; what it does is ``otaria push``. It differs from espota.py on
purpose where that one surprises: it sends the file that was named and not the ``.signed`` one beside it, and no
password ever appears in what it prints.
"""

from __future__ import annotations

import asyncio
import math
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from optparse import OptionParser, Values
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn, TextIO

from cyclopts import Parameter

from otaria.aio.driver import Surroundings
from otaria.cli.files import read_file
from otaria.cli.rendering import printable
from otaria.errors import BadInput, NotAnImage, OtariaError, PortTaken, Refused, Unreachable, WrongPassword
from otaria.protocols.arduino_push import Authenticated
from otaria.protocols.exchange import Progress
from otaria.push.checks import check_before_push
from otaria.push.passwords import password_from_keyring
from otaria.push.uploader import Door, Target, push_image
from otaria.units import human_size
from otaria.wire.arduino_ota import ESP32_PORT, ESP8266_PORT, Command
from otaria.wire.chips import ChipFamily
from otaria.wire.image_file import ImageKind, read_image_file

__all__ = ["Order", "espota"]

FAILURE: Final = 1
"""The only exit code besides 0 that callers of espota.py know."""

PASSWORD_VARIABLE: Final = "OTARIA_PASSWORD"  # noqa: S105 - the variable's name, no password

HOST_PORTS: Final = range(10_000, 60_001)
"""One of them at random, as with espota.py: people have opened this range in their firewalls."""

HOST_PORT_ATTEMPTS: Final = 10
"""Random ports that may turn out to be taken."""

INVITING_S: Final = 15.0
"""Roughly how long one push goes on inviting; a longer --timeout is made of several."""

BAR_WIDTH: Final = 60
DOTS: Final = 50
PERCENT_STEP: Final = 10


def espota(*words: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> int:
    """Push an image with the options of the Arduino cores' espota.py, for IDEs and build tools.

    The options are -i, -I, -p, -P, -a, -f, -s, -d, -r, -t and -m and their long names; --help lists them. The exit code
    is 0 for success and 1 for everything else.

    Args:
        words: The options.
    """
    notes = Notes(sys.stderr)
    try:
        order = Order.parse(words)
        if order is None:
            sys.stdout.write(_parser().format_help())
            return 0
        _push(order, notes)
    except OtariaError as error:
        notes.line("ERROR", str(error))
        return FAILURE
    except KeyboardInterrupt:
        notes.line("ERROR", "Interrupted. Unless everything had been sent, the device keeps what it runs.")
        return FAILURE
    return 0


@dataclass(frozen=True, slots=True)
class Order:
    """What the options say.

    Args:
        host: the device's name or address.
        port: its UDP port; None for the usual one of its chip.
        host_address: where to wait for it; None for the address from which it is reached.
        host_port: the TCP port there; None for a random one.
        password: the one given, empty if none was.
        file: the image.
        filesystem: it is a file system.
        timeout_s: how long to go on inviting at least.
        debug: say what happens.
        progress: show a bar.
    """

    host: str
    port: int | None
    host_address: str | None
    host_port: int | None
    password: str = field(repr=False)
    file: Path
    filesystem: bool
    timeout_s: int
    debug: bool
    progress: bool

    @classmethod
    def parse(cls, words: tuple[str, ...]) -> Order | None:
        """Read the options; None where help is asked for.

        Raises:
            BadInput: an unknown option, a value that is none, or device or file are missing.
        """
        options, _ = _parser().parse_args(list(words))
        if options.help:
            return None
        if not options.ip or not options.file:
            raise BadInput("Not enough arguments: name the device with -i and the image with -f.")
        return cls._from(options)

    @classmethod
    def _from(cls, options: Values) -> Order:
        return cls(
            host=options.ip,
            port=_port("-p", options.port),
            host_address=options.host_ip,
            host_port=_port("-P", options.host_port),
            password=options.auth,
            file=Path(options.file),
            filesystem=options.spiffs,
            timeout_s=options.timeout,
            debug=options.debug,
            progress=options.progress,
        )


def _port(option: str, number: int | None) -> int | None:
    if number is not None and not 0 < number < 65536:
        raise BadInput(f"{option} {number} is no port; ports are 1 to 65535.")
    return number


class _Parser(OptionParser):
    """The kind of parser that espota.py has, but for the way in which it ends."""

    def error(self, msg: str) -> NoReturn:
        """Raise instead of leaving the process."""
        raise BadInput(f"{msg[:1].upper()}{msg[1:]}. `otaria espota --help` shows what there is.")


_SWITCH: Final[dict[str, Any]] = {"action": "store_true", "default": False}

_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "-h --help": _SWITCH | {"help": "Show this and end."},
    "-i --ip": {"metavar": "DEVICE", "help": "The device's address or name."},
    "-I --host_ip": {"metavar": "ADDRESS", "help": "This machine's address that the device connects to."},
    "-p --port": {"type": "int", "help": "The device's UDP port; by default 3232 for ESP32 images, otherwise 8266."},
    "-P --host_port": {"type": "int", "help": "The TCP port to wait at; by default a random one of 10000 to 60000."},
    "-a --auth": {
        "metavar": "PASSWORD",
        "default": "",
        "help": "The password. Others on this machine can read it in the list of processes; OTARIA_PASSWORD in the "
        "environment and the keyring keep it from them.",
    },
    "-f --file": {"help": "The image."},
    "-s --spiffs": _SWITCH | {"help": "It is a file system, not a sketch."},
    "-d --debug": _SWITCH | {"help": "Say what happens."},
    "-r --progress": _SWITCH | {"help": "Show a bar, or percents where there is no terminal."},
    "-t --timeout": {
        "type": "int",
        "default": 10,
        "metavar": "SECONDS",
        "help": f"How long to go on inviting; never below {INVITING_S:.0f}.",
    },
    "-m --md5-target": _SWITCH
    | {
        "help": "Taken for the sake of those who write it: the device says itself which proof of the password it wants."
    },
}


def _parser() -> OptionParser:
    parser = _Parser(
        prog="otaria espota",
        usage="%prog -i DEVICE -f FILE [options]",
        description="Push an image to a device, with the options of the Arduino cores' espota.py.",
        add_help_option=False,
    )
    for names, rest in _OPTIONS.items():
        parser.add_option(*names.split(), **rest)
    return parser


class Notes:
    """What appears on stderr, in the forms that espota.py's callers are used to.

    Args:
        out: where to.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._debug = False
        self._column = 0

    def go_into_detail(self) -> None:
        """From now on say everything, as ``-d`` wants."""
        self._debug = True

    @property
    def on_terminal(self) -> bool:
        """Whether a line can be written over."""
        return self._out.isatty()

    def line(self, level: str, text: str) -> None:
        """A line of its own with the time and its level; what a device said is written out."""
        if level != "INFO" or self._debug:
            self.end_line()
            self._write(f"{time.strftime('%H:%M:%S')} [{level}]: {printable(text)}\n")

    def put(self, text: str) -> None:
        """A piece of the line that is being written."""
        self._write(printable(text))

    def put_over(self, text: str) -> None:
        """The line that is being written, anew."""
        self._write(f"\r{printable(text)}")

    def end_line(self) -> None:
        """End what has been begun, if anything has."""
        if self._column:
            self._write("\n")

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()
        self._column = 0 if text.endswith("\n") else 1


def bar(done: int, size: int) -> str:
    """A line of progress, always as wide."""
    share = done / size if size else 1.0
    return f"Uploading: [{'=' * round(BAR_WIDTH * share):{BAR_WIDTH}}] {math.floor(share * 100)}%"


class _Course:
    """Shows how far a push has come, and remembers whether the device has answered at all."""

    def __init__(self, notes: Notes, show: Callable[[int, int], None]) -> None:
        self.answered = False
        self._sending = False
        self._notes = notes
        self._show = show

    def report(self, event: object) -> None:
        """Take an event of the exchange."""
        match event:
            case Authenticated():
                self.answered = True
                self._notes.end_line()
                self._notes.put("Authenticating...OK")
            case Progress(done, size):
                self.answered = True
                if not self._sending:
                    self._notes.end_line()
                self._sending = True
                self._show(done, size)


def _show_bar(notes: Notes) -> Callable[[int, int], None]:
    return lambda done, size: notes.put_over(bar(done, size))


def _show_steps(notes: Notes, steps: Iterator[tuple[float, str]]) -> Callable[[int, int], None]:
    """Writes the text of each step once its share of the image is there."""
    ahead = list(steps)

    def show(done: int, size: int) -> None:
        while ahead and done >= ahead[0][0] * size:
            notes.put(ahead.pop(0)[1])

    return show


def _display(notes: Notes, *, progress: bool) -> Callable[[int, int], None]:
    """A bar where a line can be written over, percents where one was asked for, dots elsewhere."""
    if progress and notes.on_terminal:
        return _show_bar(notes)
    if progress:
        percents = range(PERCENT_STEP, 101, PERCENT_STEP)
        return _show_steps(notes, iter([(0, "Uploading:"), *((part / 100, f" {part}%") for part in percents)]))
    return _show_steps(notes, iter([(0, "Uploading"), *((part / DOTS, ".") for part in range(1, DOTS + 1))]))


def _push(order: Order, notes: Notes) -> None:
    if order.debug:
        notes.go_into_detail()
    content = read_file(order.file)
    target = Target(order.host, order.port or _usual_port(content, filesystem=order.filesystem))
    _check(content, order, target)
    _mention_signed(order.file, notes)
    notes.line("INFO", f"{order.file.name}, {human_size(len(content))}, goes to {target.host} port {target.port}.")
    password = _password(order)
    asyncio.run(_push_in_time(content, order, target, password, notes))
    notes.end_line()
    notes.line("INFO", f"{target} installed it and restarts now.")


def _family(content: bytes, *, filesystem: bool) -> ChipFamily:
    """The chip that the image is for; ESP8266 where it does not say."""
    try:
        image = read_image_file(content, ImageKind.FILESYSTEM if filesystem else ImageKind.SKETCH)
    except NotAnImage:  # the check that follows says so, with the file's name
        return ChipFamily.ESP8266
    return image.family or ChipFamily.ESP8266


def _usual_port(content: bytes, *, filesystem: bool) -> int:
    """Each core's espota.py has the port of its own chips; this one takes the image's word for the chip."""
    return ESP8266_PORT if _family(content, filesystem=filesystem) is ChipFamily.ESP8266 else ESP32_PORT


def _check(content: bytes, order: Order, target: Target) -> None:
    """Refuse what would fail or brick; a port that says nothing about the chip leaves that to the device."""
    by_port = {ESP8266_PORT: ChipFamily.ESP8266, ESP32_PORT: ChipFamily.ESP32}
    family = by_port.get(target.port) or _family(content, filesystem=order.filesystem)
    try:
        check_before_push(content, order.file.name, family=family, filesystem=order.filesystem)
    except Refused as error:
        raise Refused(f"{error} That option is one of `otaria push`, not of espota.") from error


def _mention_signed(file: Path, notes: Notes) -> None:
    signed = file.with_name(f"{file.name}.signed")
    if signed.exists():
        choice = f"{file.name} is sent, as asked; to send the other, name it: -f {signed}."
        notes.line("WARNING", f"There is {signed.name} beside {file.name}. {choice}")


def _password(order: Order) -> str:
    """The one given, or of the environment, or of the keyring; empty where there is none."""
    return order.password or os.environ.get(PASSWORD_VARIABLE) or password_from_keyring(order.host) or ""


async def _push_in_time(content: bytes, order: Order, target: Target, password: str, notes: Notes) -> None:
    """Push, and where the device never answered push again until the time is up."""
    rounds = max(1, math.ceil(order.timeout_s / INVITING_S))
    for left in reversed(range(rounds)):
        course = _Course(notes, _display(notes, progress=order.progress))
        notes.put(f"Sending invitation to {target.host} ")
        try:
            await _push_through_a_door(content, order, target, _around(course, password))
        except Unreachable:
            if course.answered or not left:
                raise
            notes.end_line()
        except WrongPassword as error:
            raise error if password else _password_needed(target) from error
        else:
            return


def _around(course: _Course, password: str) -> Surroundings:
    async def ask(_device: str) -> str:
        return password

    return Surroundings(report=course.report, ask_password=ask)


def _password_needed(target: Target) -> WrongPassword:
    return WrongPassword(
        f"{target} asks for a password and none was given. In the IDE it is asked for at an upload; on a command line "
        f"put it into {PASSWORD_VARIABLE}, or use -a."
    )


async def _push_through_a_door(content: bytes, order: Order, target: Target, around: Surroundings) -> None:
    """Push with the port that was told, or with random ones until one of them is free."""
    command = Command.FILESYSTEM if order.filesystem else Command.FLASH
    if order.host_port is not None:
        door = Door(order.host_address, order.host_port)
        await push_image(content, target, command=command, door=door, around=around)
        return
    for left in reversed(range(HOST_PORT_ATTEMPTS)):
        try:
            door = Door(order.host_address, secrets.choice(HOST_PORTS))
            await push_image(content, target, command=command, door=door, around=around)
        except PortTaken:
            if not left:
                raise
        else:
            return
