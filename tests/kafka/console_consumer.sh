#!/usr/bin/env bash
# console_consumer.sh JARS BROKER TOPIC MAX_MESSAGES [ARGS...]: print the values of TOPIC's
# committed messages from the beginning, one a line, with Kafka's own console consumer.
#
# Exits with 0 after MAX_MESSAGES, with 124 if there have not been as many within 20 s. ARGS go
# to the console consumer as they are.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
jars=$1 broker=$2 topic=$3 max_messages=$4
shift 4

# The consumer's own --timeout-ms counts from the last message and not from the start.
exec timeout --kill-after=5 20 "$here/run.sh" "$jars" \
  org.apache.kafka.tools.consumer.ConsoleConsumer \
  --bootstrap-server "$broker" --topic "$topic" --max-messages "$max_messages" \
  --from-beginning --isolation-level read_committed "$@"
