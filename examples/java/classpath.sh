# The libraries in Debian's packages that README.md names.
CLASSPATH=classes
for name in grpc-api grpc-context grpc-core grpc-netty grpc-protobuf-lite grpc-stub guava protobuf gson perfmark-api \
    netty-buffer netty-codec netty-codec-http netty-codec-http2 netty-common netty-handler netty-handler-proxy \
    netty-resolver netty-tcnative netty-transport netty-transport-native-unix-common geronimo-annotation-1.3-spec; do
    CLASSPATH="$CLASSPATH:/usr/share/java/$name.jar"
done
export CLASSPATH
