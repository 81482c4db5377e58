#!/bin/sh
# Runs the client that build.sh compiled.
set -eu
cd "$(dirname "$0")"
. ./classpath.sh
exec java -Djava.library.path=classes -XX:TieredStopAtLevel=1 -XX:+UseSerialGC Client "$@"
