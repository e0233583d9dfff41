"""Statements, parameters, metadata and a subscription over ADBC. The argument is where Flight SQL is spoken."""

import sys

import adbc_driver_flightsql.dbapi as flight_sql

with flight_sql.connect("grpc://" + sys.argv[1], autocommit=True) as connection, connection.cursor() as cursor:
    cursor.execute("CREATE MATERIALIZED VIEW slow AS SELECT service_name, count(*) AS n FROM spans GROUP BY 1")
    cursor.execute("SELECT * FROM slow ORDER BY service_name")
    assert cursor.fetchall() == [("cart", 1), ("web", 2)]
    cursor.execute("SELECT service_name, attributes, started_at, duration_ns FROM spans ORDER BY span_id")
    table = cursor.fetch_arrow_table()
    assert table.num_rows == 3 and table.column_names[0] == "service_name", table
    assert table["attributes"][1].as_py() == [("x", "y")], table
    cursor.execute("SELECT name FROM spans WHERE service_name = $1 AND duration_ns > $2", ("web", 15_000_000))
    assert cursor.fetchall() == [("GET",)]
    objects = connection.adbc_get_objects(depth="all").read_all().to_pylist()
    tables = {t["table_name"]: t for s in objects[0]["catalog_db_schemas"] for t in s["db_schema_tables"]}
    assert [c["column_name"] for c in tables["slow"]["table_columns"]] == ["service_name", "n"], tables["slow"]
    assert connection.adbc_get_info()["vendor_name"] == "Undercurrent"
    try:
        cursor.execute("SELECT * FROM span")
        raise AssertionError("not refused")
    except flight_sql.Error as error:
        assert 'did you mean "spans"?' in str(error), error
    cursor.execute("CREATE TABLE owners (service text PRIMARY KEY, level int DEFAULT 1)")
    cursor.executemany("INSERT INTO owners VALUES ($1, $2)", [("web", 1), ("cart", 2), ("pay", 3)])
    assert cursor.rowcount == 3, cursor.rowcount
    cursor.adbc_statement.set_sql_query("UPDATE owners SET level = level + 1 WHERE level > 1")
    assert cursor.adbc_statement.execute_update() == 2
    cursor.execute("INSERT INTO owners (service) VALUES ('new') RETURNING service, level")
    assert cursor.fetchall() == [("new", 1)]
    cursor.execute("SELECT sum(level) FROM owners")
    assert cursor.fetchall() == [(9,)]
    try:
        cursor.execute("INSERT INTO owners VALUES ('web', 1)")
        raise AssertionError("not refused")
    except flight_sql.Error as error:
        assert "duplicate key" in str(error), error
    objects = connection.adbc_get_objects(depth="tables").read_all().to_pylist()
    kinds = {t["table_name"]: t["table_type"] for s in objects[0]["catalog_db_schemas"] for t in s["db_schema_tables"]}
    assert kinds["owners"] == "TABLE", kinds
    cursor.execute("SUBSCRIBE TO slow")
    changes = cursor.fetch_record_batch()
    assert changes.schema.names[:2] == ["tick_at", "diff"]
    assert changes.read_next_batch().num_rows == 2
    cursor.adbc_cancel()
print("done")
