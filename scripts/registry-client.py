"""Confluent's own Python client against our schema registry. Arguments: base URL, credential file. Exits 1 at the
first difference."""

import json
import sys

from confluent_kafka.schema_registry import ConfigCompatibilityLevel, Schema, SchemaReference, SchemaRegistryClient, ServerConfig
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.schema_registry.json_schema import JSONDeserializer, JSONSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

base = sys.argv[1]
with open(sys.argv[2]) as file:
    token = json.load(file)["token"]
client = SchemaRegistryClient({"url": f"{base}/schema-registry", "basic.auth.user.info": f"client:{token}"})
checks = 0


def same(got, wanted):
    global checks
    checks += 1
    if got != wanted:
        sys.exit(f"check {checks}: got {got!r}, wanted {wanted!r}")


def refused(number, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except SchemaRegistryError as error:
        return same(error.error_code, number)
    sys.exit(f"{call} was not refused with {number}")


def record(name, *fields):
    return json.dumps({"type": "record", "name": name, "namespace": "client", "fields": list(fields)})


ID = {"name": "id", "type": "string"}
STATE = {"name": "state", "type": "string", "default": "new"}

# Registering, looking up, compatibility.
first = client.register_schema("client-value", Schema(record("Intent", ID), "AVRO"))
same(client.register_schema("client-value", Schema(record("Intent", ID), "AVRO")), first)
same(client.get_schema(first).schema_str, json.dumps(json.loads(record("Intent", ID)), separators=(",", ":")))
same(client.lookup_schema("client-value", Schema(record("Intent", ID), "AVRO")).version, 1)
second = client.register_schema("client-value", Schema(record("Intent", ID, STATE), "AVRO"))
same(client.get_latest_version("client-value").schema_id, second)
same(client.get_versions("client-value"), [1, 2])
breaking = Schema(record("Intent", {"name": "id", "type": "int"}), "AVRO")
same(client.test_compatibility("client-value", breaking), False)
refused(409, client.register_schema, "client-value", breaking)
refused(42201, client.register_schema, "client-value", Schema("{", "AVRO"))
refused(40401, client.get_versions, "nobody")
refused(40402, client.get_version, "client-value", 9)

# Levels.
same(client.get_config().compatibility_level, "BACKWARD")
client.set_config("client-value", ServerConfig(compatibility=ConfigCompatibilityLevel.FULL_TRANSITIVE))
same(client.get_config("client-value").compatibility_level, "FULL_TRANSITIVE")
same(client.get_global_mode(), "READWRITE")

# Serialisers and deserialisers: what one writes the other reads, over ids of ours.
context = SerializationContext("client", MessageField.VALUE)
writer = AvroSerializer(client, record("Intent", ID, STATE))
message = writer({"id": "intent-1", "state": "active"}, context)
same(int.from_bytes(message[1:5], "big"), second)
same(AvroDeserializer(client)(message, context), {"id": "intent-1", "state": "active"})
text = json.dumps({"title": "Alarm", "type": "object", "properties": {"cell": {"type": "string"}}, "required": ["cell"]})
alarm = SerializationContext("alarms", MessageField.VALUE)
message = JSONSerializer(text, client, lambda value, _: value)({"cell": "7"}, alarm)
same(JSONDeserializer(text, from_dict=lambda value, _: value)(message, alarm), {"cell": "7"})

# References.
client.register_schema("part", Schema(record("Part", {"name": "p", "type": "int"}), "AVRO"))
whole = Schema(record("Whole", {"name": "part", "type": "client.Part"}), "AVRO", [SchemaReference("client.Part", "part", 1)])
used = client.register_schema("whole", whole)
same(client.get_referenced_by("part", 1), [used])
refused(42206, client.delete_subject, "part")
same(client.get_schema_versions(used)[0].subject, "whole")

# Deletion: softly, then for good.
same(client.delete_subject("whole"), [1])
same("whole" in client.get_subjects(), False)
same("whole" in client.get_subjects(deleted=True), True)
same(client.delete_subject("whole", permanent=True), [1])
same(client.delete_version("client-value", 2), 2)
refused(40402, client.get_version, "client-value", 2)
print(f"registry client: {checks} checks passed")
