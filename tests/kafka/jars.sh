#!/usr/bin/env bash
# jars.sh DIR: fetch what the other scripts here need into DIR, once.
#
# DIR gets lib/ (the jars that pom.xml names), classes.jsa (an archive of the classes a broker
# loads, which halves its start), formatted/ (an empty data folder) and, when all is there, a copy
# of pom.xml. Exits with 3 if a program it needs is missing.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

missing() {
  echo "jars.sh: $1" >&2
  exit 3
}
command -v java >/dev/null || missing "no java (17 or newer) here"
version=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p') || true
[ "${version:-0}" -ge 17 ] || missing "java is too old: Kafka needs 17 or newer"

mkdir -p "$1"
dir=$(cd "$1" && pwd)
complete() {
  cmp -s "$here/pom.xml" "$dir/pom.xml"
}
complete && exit 0
command -v mvn >/dev/null || missing "no mvn here"
command -v flock >/dev/null || missing "no flock here"

# One process fetches, and the others wait for it. The lock goes with the process that holds it.
exec 9>"$dir/lock"
flock 9
complete && exit 0

rm -rf "$dir"/{lib,lib.new,train,formatted,formatted.*,classes.jsa,classes.jsa.new}
mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies \
  -DincludeScope=runtime "-DoutputDirectory=$dir/lib.new" 9>&- >&2
mv -T "$dir/lib.new" "$dir/lib"

# Run a broker and have its JVM archive the classes it loaded when it ends. (The archive names the
# jars by their path, so this comes after the rename.)
train() {
  local port=$((20000 + RANDOM % 12000))
  # timeout: no broker outlives this script for long, however it ends.
  timeout 60 "$here/broker.sh" "$dir" "$dir/train" "$port" \
    "-XX:ArchiveClassesAtExit=$dir/classes.jsa.new" &
  broker=$!
  until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
    kill -0 "$broker" 2>/dev/null || return 1
    sleep 0.1
  done
  kill "$broker"
  wait "$broker" || true
  broker=
  mv "$dir/classes.jsa.new" "$dir/classes.jsa"
}
broker=
trap '[ -z "$broker" ] || kill "$broker" 2>/dev/null || true; rm -rf "$dir/train"' EXIT
# Without an archive brokers start slower, and that is all.
train 9>&- >&2 || echo "jars.sh: no class archive, brokers will start slower" >&2

cp "$here/pom.xml" "$dir/pom.xml.new"
mv "$dir/pom.xml.new" "$dir/pom.xml"
