#!/usr/bin/env bash
# broker.sh JARS DATA PORT[,BEHIND:VIA] [JVM_FLAG...]: become a single-node Kafka broker on 127.0.0.1:PORT.
#
# With BEHIND:VIA it also listens on port BEHIND, and tells whoever connects there to come to port VIA:
# a proxy that leads from VIA to BEHIND is on the way of every connection.
#
# JARS is a folder that jars.sh made. DATA is made if it is not there; started again on the same
# DATA and PORT, the broker has all it had, even after kill -9. The port opens only when the
# broker can serve: a client that connects need not wait for anything more.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
jars=$(cd "$1" && pwd)
mkdir -p "$2"
data=$(cd "$2" && pwd)
IFS=,: read -r port behind via <<<"$3"
shift 3

# Two brokers on the same DATA would spoil it, and Kafka looks only after it has written there. The
# JVM inherits the lock and has it until it ends; one that was just killed is given time to go.
exec 9>"$data/lock"
if ! flock -w 2 9; then
  echo "broker.sh: another broker runs on $data" >&2
  exit 1
fi

# Kafka binds its port last of all, seconds from now. Say at once that it is taken.
if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
  echo "broker.sh: port $port is taken" >&2
  exit 1
fi

# settings LOG_DIR: the broker's properties.
#
# The controller takes a free port by itself: the quorum is a dynamic one (format --standalone),
# in which the leader writes down the port it got. The bootstrap address must be set, and is
# never used, for the only voter is this node.
#
# A restart after kill -9 waits until the controller has given up the broker's former session,
# hence a session that is much shorter than the usual 9 s.
#
# The log cleaner takes its 128 MiB of heap at the start unless it is told to take less.
settings() {
  cat <<EOF
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:0${behind:+,DETOUR://127.0.0.1:$behind}
advertised.listeners=PLAINTEXT://127.0.0.1:$port${via:+,DETOUR://127.0.0.1:$via}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,DETOUR:PLAINTEXT
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers=127.0.0.1:1
log.dirs=$1
broker.session.timeout.ms=1500
broker.heartbeat.interval.ms=300
auto.create.topics.enable=false
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=4194304
EOF
}

# Formatting costs a JVM of its own (1 s), and its result depends on neither DATA nor PORT: do it
# once for JARS and copy. Renames make both steps whole or not done at all.
if [ ! -d "$jars/formatted" ]; then
  new=$(mktemp -d "$jars/formatted.XXXXXX")
  settings "$new/log" >"$new/server.properties"
  "$here/run.sh" "$jars" kafka.tools.StorageTool format --standalone \
    --cluster-id undercurrent-test-kafka1 --config "$new/server.properties" >&2
  # Another process may have been quicker.
  mv -T "$new/log" "$jars/formatted" 2>/dev/null || [ -d "$jars/formatted" ]
  rm -rf "$new"
fi
if [ ! -d "$data/log" ]; then
  rm -rf "$data/log.new"
  cp -r "$jars/formatted" "$data/log.new"
  mv -T "$data/log.new" "$data/log"
fi

settings "$data/log" >"$data/server.properties"
exec "$here/run.sh" "$jars" "$@" kafka.Kafka "$data/server.properties"
