"""What a user of psycopg does: types, parameters, a view that changes, its changes, errors."""

import datetime
import sys

import psycopg

port = sys.argv[1]
connect = f"host=127.0.0.1 port={port} dbname=undercurrent user=ann"

with psycopg.connect(connect, autocommit=True) as connection:
    cursor = connection.cursor()
    row = cursor.execute(
        "SELECT 1, 2.5, 'text', true, NULL, timestamptz '2026-01-01T00:00:00.123456Z', [1, 2]"
    ).fetchone()
    moment = datetime.datetime(2026, 1, 1, 0, 0, 0, 123456, tzinfo=datetime.timezone.utc)
    assert row == (1, 2.5, "text", True, None, moment, [1, 2]), row

    # The driver binds on the server: as text, and as binary.
    for binary in (False, True):
        cursor = connection.cursor(binary=binary)
        row = cursor.execute("SELECT %s + 1, %s || '!', %s", (41, "hey", 1.5)).fetchone()
        assert row == (42, "hey!", 1.5), row
        rows = cursor.execute(
            "SELECT service_name, attributes, duration_ns FROM spans WHERE service_name = %s AND started_at >= %s",
            ("cart", datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)),
        ).fetchall()
        assert rows == [("cart", {"http.route": "/cart"}, 5_000_000)], rows

    cursor.execute("CREATE MATERIALIZED VIEW psycopg_v AS SELECT service_name, count(*) AS n FROM spans GROUP BY 1")
    with cursor.copy("COPY (SELECT service_name FROM psycopg_v) TO STDOUT WITH (FORMAT csv, HEADER)") as copy:
        assert b"".join(copy).decode().splitlines() == ["service_name", "cart"]
    with cursor.copy("COPY (SUBSCRIBE TO psycopg_v) TO STDOUT") as copy:
        first = bytes(next(iter(copy))).decode().rstrip("\n").split("\t")
        assert first[1:] == ["1", "cart", "1"], first
        connection.cancel()
        try:
            list(copy)
            raise AssertionError("the subscription went on")
        except psycopg.errors.QueryCanceled:
            pass
    try:
        cursor.execute("SELECT no_such_column FROM spans")
        raise AssertionError("no error")
    except psycopg.errors.UndefinedColumn:
        pass
    cursor.execute("DROP VIEW psycopg_v")

with psycopg.connect(connect) as connection:
    status = psycopg.pq.TransactionStatus
    connection.execute("SELECT 1")
    assert connection.info.transaction_status == status.INTRANS
    try:
        connection.execute("SELECT * FROM nothing_like_it")
        raise AssertionError("no error")
    except psycopg.errors.UndefinedTable:
        assert connection.info.transaction_status == status.INERROR
    connection.rollback()
    assert connection.info.transaction_status == status.IDLE
print("done")
