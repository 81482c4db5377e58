#!/bin/sh
# Compiles the client with Debian's packages; ./contract is what `estelam contract export contract` wrote.
set -eu
cd "$(dirname "$0")"
. ./classpath.sh
mkdir -p generated classes
(cd contract && protoc -I. --java_out=lite:../generated --grpc-java_out=lite:../generated \
    --plugin=protoc-gen-grpc-java="$(command -v grpc_java_plugin)" estelam/inquiry/v1/inquiry.proto \
    estelam/promissory/v1/note_inquiry.proto estelam/judiciary/v1/cheque_case_inquiry.proto \
    google/rpc/status.proto google/rpc/error_details.proto google/type/date.proto)
javac -J-XX:TieredStopAtLevel=1 -J-XX:+UseSerialGC -nowarn -proc:none -cp "$CLASSPATH" -d classes \
    $(find generated -name '*.java') Client.java Receipt.java
# Debian's Netty needs OpenSSL for HTTP/2, and loads the library by another name than Debian gives it.
cp /usr/lib/*/jni/libnetty-tcnative.so classes/libnetty_tcnative.so
