#!/usr/bin/env bash
# run.sh JARS [JVM_FLAG...] CLASS [ARG...]: become a JVM that runs CLASS, one that starts quickly.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
jars=$(cd "$1" && pwd)
shift

# The class archive holds good only for the very class path it was made with, so name the jars
# by absolute path and in an order that no locale changes.
LC_ALL=C
printf -v class_path '%s:' "$jars"/lib/*.jar

# Most of a start is the loading of classes: the archive and the one quick compiler halve it.
flags=(-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xmx512m -XX:+ExitOnOutOfMemoryError)
# An archive that does not fit (another JVM, say) is passed over; keep the JVM's words about that
# out of the standard output.
flags+=(-Xlog:disable -Xlog:all=error:stderr)
if [ -f "$jars/classes.jsa" ]; then
  flags+=("-XX:SharedArchiveFile=$jars/classes.jsa")
fi

exec java "${flags[@]}" -cp "${class_path%:}" "-Dlog4j2.configurationFile=$here/log4j2.xml" "$@"
