"""What a user of psycopg does with tables, in transactions as the driver begins them. The argument is the port."""

import datetime
import sys
from decimal import Decimal

import psycopg

connect = f"host=127.0.0.1 port={sys.argv[1]} dbname=undercurrent user=ann"
day = datetime.date(2026, 1, 1)

with psycopg.connect(connect) as connection, connection.cursor() as cursor:
    cursor.execute(
        "CREATE TABLE t (id int PRIMARY KEY, name varchar(10), price numeric(8, 2), day date, ok boolean, raw bytea, tags text[])"
    )
    cursor.execute("CREATE MATERIALIZED VIEW total AS SELECT count(*) AS n, sum(price) AS price FROM t")
    cursor.executemany(
        "INSERT INTO t (id, name, price, day) VALUES (%s, %s, %s, %s)",
        [(n, f"n{n}", Decimal("1.10"), day) for n in range(500)],
    )
    assert cursor.rowcount == 500, cursor.rowcount
    # Seen by the transaction alone, until it commits.
    assert cursor.execute("SELECT count(*) FROM t").fetchone() == (500,)
    with psycopg.connect(connect, autocommit=True) as other:
        assert other.execute("SELECT count(*) FROM t").fetchone() == (0,)
        connection.commit()
        assert other.execute("SELECT n, price FROM total").fetchone() == (500, Decimal("550.00"))
    row = cursor.execute(
        "INSERT INTO t VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING *",
        (1000, "x", Decimal("2.5"), day, True, b"\x00\xffab", ["a", None, "b"]),
    ).fetchone()
    assert row == (1000, "x", Decimal("2.50"), day, True, b"\x00\xffab", ["a", None, "b"]), row
    assert cursor.execute("UPDATE t SET ok = true WHERE id < %s", (10,)).rowcount == 10
    assert cursor.execute("DELETE FROM t WHERE ok").rowcount == 11
    connection.rollback()
    assert cursor.execute("SELECT count(*) FROM t WHERE ok").fetchone() == (0,)
    for sql, error in [
        ("INSERT INTO t VALUES (1, 'x')", psycopg.errors.UniqueViolation),
        ("INSERT INTO t (name) VALUES ('x')", psycopg.errors.NotNullViolation),
        ("INSERT INTO t VALUES (2000, 'longer than ten')", psycopg.errors.StringDataRightTruncation),
    ]:
        try:
            cursor.execute(sql)
            connection.commit()
            raise AssertionError("not refused")
        except error:
            connection.rollback()
    with cursor.copy("COPY t (id, name, day) FROM STDIN") as copy:
        for n in range(3000, 3100):
            copy.write_row((n, "tab\tn", day))
    with connection.transaction():
        cursor.execute("DELETE FROM t WHERE id >= 3050")
        try:
            with connection.transaction():
                cursor.execute("DELETE FROM t")
                raise ZeroDivisionError
        except ZeroDivisionError:
            pass
    connection.commit()
    assert cursor.execute("SELECT count(*), max(name) FROM t").fetchone() == (550, "tab\tn")
print("done")
