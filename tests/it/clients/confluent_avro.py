"""Writes and reads Avro with a schema registry as Confluent's client does.

confluent_avro.py write BROKERS REGISTRY USER TOPIC FILE   the lines of a file: a schema, and rows as JSON
confluent_avro.py read BROKERS REGISTRY USER TOPIC COUNT   keys and values of so many messages, as JSON, one a line
"""

import datetime
import decimal
import json
import sys

from confluent_kafka import Consumer, Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

mode, brokers, url, user, topic, last = sys.argv[1:]
registry = SchemaRegistryClient({"url": url, "basic.auth.user.info": user})


def plain(value):
    if isinstance(value, (datetime.date, datetime.datetime)):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return str(value)
    raise TypeError(value)


def typed(value):
    """What JSON has no type for is written as {"decimal": ...}, {"time": ...}."""
    if "decimal" in value:
        return decimal.Decimal(value["decimal"])
    if "time" in value:
        return datetime.datetime.fromisoformat(value["time"])
    return value


def delivered(error, _):
    assert error is None, error


if mode == "write":
    with open(last) as file:
        lines = file.read().splitlines()
    serialize = AvroSerializer(registry, lines[0])
    producer = Producer({"bootstrap.servers": brokers})
    for line in lines[1:]:
        row = json.loads(line, object_hook=typed)
        value = serialize(row, SerializationContext(topic, MessageField.VALUE))
        producer.produce(topic, value, partition=0, on_delivery=delivered)
    producer.flush()
    print("done")
else:
    deserialize = AvroDeserializer(registry)
    consumer = Consumer({
        "bootstrap.servers": brokers,
        "group.id": "confluent_avro",
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "isolation.level": "read_committed",
    })
    consumer.subscribe([topic])
    for _ in range(int(last)):
        message = None
        while message is None:
            message = consumer.poll(1)
        assert message.error() is None, message.error()
        key = deserialize(message.key(), SerializationContext(topic, MessageField.KEY))
        value = deserialize(message.value(), SerializationContext(topic, MessageField.VALUE))
        print(json.dumps([key, value], default=plain))
    consumer.close()
