"""Connections to Snowflake: opened by settings or by a user's own resource, replaced when lost, closed on every path.

The driver is imported inside functions. A connection serves one thread and one read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, Self

from mc_push_dagster.errors import (
    BrokenContract,
    FixAccess,
    FixConfiguration,
    MissingExtra,
    PushError,
    WarehouseUnavailable,
)
from mc_push_dagster.warehouses import _snowflake_sql as sql
from mc_push_dagster.warehouses.base import Connect
from mc_push_dagster.warehouses.lent import close, connect_through

if TYPE_CHECKING:
    from mc_push_dagster.warehouses._snowflake_settings import SnowflakeOptions, SnowflakeSettings

Row = dict[str, Any]
"""One row by lower-case column name."""

Key = Callable[[Row], Any]
"""What a statement orders its rows by, unique in it: a read that broke off is taken up behind the last key."""


class Denied(FixAccess):
    """The object does not exist, or the role may not see it: Snowflake does not tell these apart."""


class StatementFailed(BrokenContract):
    """Snowflake refused a statement of ours for another reason."""


class TooLong(WarehouseUnavailable):
    """A statement was cancelled because it ran too long."""


class TooMuchData(WarehouseUnavailable):
    """INFORMATION_SCHEMA will not answer for so many objects at once (error 90030)."""


class SessionLost(WarehouseUnavailable):
    """The server no longer knows the session, or the connection broke."""


UNREADABLE = (Denied, StatementFailed, TooLong, TooMuchData)
"""What ends the reading of one object and not of the others."""

_DENIED = {2003, 2043, 3001, 3030}
_TOO_LONG = {604, 630}
_TOO_MUCH = {90030}
_NO_WAREHOUSE = {606}
# 390104 to 390114: session tokens that are unknown, gone or expired; 290401: the same as bare HTTP; 250002: closed.
_LOST = {390104, 390110, 390111, 390112, 390113, 390114, 290401, 250002}


def _driver_errors() -> tuple[type[Exception], ...]:
    """What the driver raises: its own errors, and those of the HTTP client from downloads of result chunks."""
    try:
        from snowflake.connector.errors import Error
    except ImportError:
        return ()  # where the driver is missing, that is what was raised

    return (Error, OSError)


def translate(error: Exception) -> PushError:
    """Say what the caller can do about a driver's error, in its first two lines and without its parameters."""
    from snowflake.connector import errors

    number = getattr(error, "errno", None)
    text = _said(error)
    if number in _DENIED or getattr(error, "sqlstate", None) == "42501":
        return Denied(text)
    if number in _TOO_MUCH:
        return TooMuchData(text)
    if number in _TOO_LONG:
        return TooLong(f"{text}; raise timeout_seconds or use a larger warehouse")
    if number in _NO_WAREHOUSE:
        return FixConfiguration(
            "Snowflake: no warehouse is selected: set `warehouse`, or give the user a default one "
            "(ALTER USER ... SET DEFAULT_WAREHOUSE = ...) that its role may use (GRANT USAGE ON WAREHOUSE ...)"
        )
    if number in _LOST:
        return SessionLost(f"Snowflake: the session was lost: {text}")
    if isinstance(error, errors.ProgrammingError | errors.NotSupportedError | errors.DataError):
        return StatementFailed(f"Snowflake refused a statement: {text}")
    return WarehouseUnavailable(f"Snowflake did not answer: {text}")


def _said(error: Exception) -> str:
    lines = [line.strip() for line in str(getattr(error, "msg", None) or error).splitlines() if line.strip()]
    # Snowflake says what kind of error it is in the first line, and what is wrong in the second.
    return (" ".join(lines[:2]) if lines else type(error).__name__)[:300]


class Reader:
    """Reads rows over one connection at a time; for use in a `with` block, by one thread."""

    def __init__(
        self,
        connect: Connect,
        *,
        timeout_seconds: int,
        reconnects: int = 2,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._connect = connect
        self._timeout = timeout_seconds
        self._reconnects = reconnects
        self._sleep = sleep
        self._connection: Any = None
        self._role: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._drop()

    @property
    def role(self) -> str | None:
        """The role of the session, as the server named it at the last login; None before one."""
        if self._connection is not None:
            self._role = getattr(self._connection, "role", None)
        return self._role

    def rows(self, statement: sql.Statement, *, key: Key) -> Iterator[Row]:
        """Stream the rows of an ordered statement; a read that breaks off is taken up behind the last row given.

        Raises:
            Denied, StatementFailed, TooLong, TooMuchData: if this statement cannot be answered.
            WarehouseUnavailable: if the connection is lost too often; the rows given before are right, but not all.
        """
        last: Any = None
        for attempt in range(self._reconnects + 1):
            behind = last
            try:
                for row in self._execute(statement):
                    place = key(row)
                    if behind is not None and place <= behind:
                        continue  # given before the read broke off
                    last = place
                    yield row
                return
            except _driver_errors() as error:
                self._recover(error, attempt, begun=last is not None)

    def all(self, statement: sql.Statement) -> list[Row]:
        """Read a small result whole; a lost session is replaced.

        Raises:
            As `rows`.
        """
        for attempt in range(self._reconnects + 1):
            try:
                return list(self._execute(statement))
            except _driver_errors() as error:
                self._recover(error, attempt, begun=False)
        raise AssertionError("the last attempt returns or raises")

    def _recover(self, error: Exception, attempt: int, *, begun: bool) -> None:
        """Make ready for another attempt, or raise what the caller can do.

        The driver itself has retried HTTP errors for `timeout_seconds`: only a lost session, or a result that broke off
        in the middle (its download addresses may have expired), is worth another attempt.
        """
        problem = translate(error)
        if isinstance(problem, (*UNREADABLE, FixConfiguration)):
            raise problem from error  # the connection is as good as before
        broken = begun and isinstance(problem, WarehouseUnavailable)
        self._drop()
        if attempt == self._reconnects or not (isinstance(problem, SessionLost) or broken):
            raise problem from error
        self._sleep(float(2**attempt))

    def _execute(self, statement: sql.Statement) -> Iterator[Row]:
        connection = self._open()
        text = statement.rendered(pyformat=connection.is_pyformat)
        with closing(connection.cursor()) as cursor:
            # `timeout` bounds the driver's retries too: a user's own resource often sets no network_timeout.
            cursor.execute(text, statement.values or None, timeout=self._timeout)
            names = [str(column[0]).lower() for column in cursor.description]
            for row in cursor:
                yield dict(zip(names, row, strict=True))

    def _open(self) -> Any:
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def _drop(self) -> None:
        self._role = self.role
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(*_driver_errors()):  # what is being thrown away may be broken already
                connection.close()


def connect_by(settings: SnowflakeSettings) -> Connect:
    """A factory of connections by settings; nothing is opened or imported until it is called."""

    def connect() -> Any:
        try:
            import snowflake.connector as driver
        except ImportError as error:
            raise MissingExtra(what="Snowflake", extra="snowflake") from error
        return _opened(lambda: driver.connect(**settings.arguments()))

    return connect


def connect_over(resource: Any, options: SnowflakeOptions) -> Connect:
    """A factory of connections over a user's own resource, as `lent.connect_through` understands them.

    `dagster_snowflake.SnowflakeResource` does not close its connection when its `with` block ends by an error, and it
    commits otherwise: here the connection is closed first, on every path, and nothing is committed.

    Raises:
        FixConfiguration: if the resource cannot open a connection.
    """

    def prepare(connection: Any) -> None:
        if not hasattr(connection, "is_pyformat"):
            raise FixConfiguration(
                "the Snowflake resource must use the default connector or sqlalchemy; its `connector` is another"
            )
        _set_up(connection, options)

    connect = connect_through(resource, prepare=prepare, end=_end, abandon=True)
    return lambda: _opened(connect)


def _end(connection: Any) -> None:
    # A connection of SQLAlchemy goes back to its pool unless it is detached from it.
    if hasattr(connection, "detach"):
        connection.detach()
    close(connection)


def _set_up(connection: Any, options: SnowflakeOptions) -> None:
    statement = sql.session(options.query_tag, options.timeout_seconds)
    try:
        with closing(connection.cursor()) as cursor:
            cursor.execute(statement.text, timeout=options.timeout_seconds)
    except _driver_errors() as error:
        problem = translate(error)
        if isinstance(problem, UNREADABLE):  # the session is at fault, not what would be read with it
            raise FixAccess(f"Snowflake: the session could not be set up: {problem}") from error
        raise problem from error


def _opened(open_: Callable[[], Any]) -> Any:
    """Open a connection, and tell a refused login from a server that does not answer."""
    try:
        return open_()
    except _driver_errors() as error:
        from snowflake.connector import errors

        text = _said(error)
        # A refused login is a plain DatabaseError; its subclasses mean that no answer came, or none of Snowflake.
        if type(error) is errors.DatabaseError:
            raise FixAccess(f"Snowflake refused the login: {text}") from error
        if isinstance(error, errors.ForbiddenError):
            raise FixConfiguration(f"Snowflake: check `account` and the network policy: {text}") from error
        if isinstance(error, errors.ProgrammingError | errors.ConfigSourceError):
            raise FixConfiguration(f"Snowflake: the connection settings are wrong: {text}") from error
        raise WarehouseUnavailable(f"Snowflake did not answer: {text}") from error
