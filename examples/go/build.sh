#!/bin/sh
# Compiles the client with Debian's packages; ./contract is what `estelam contract export contract` wrote.
set -eu
cd "$(dirname "$0")"
mkdir -p generated/src/client
(cd contract && protoc -I. --go_out=../generated/src --go-grpc_out=../generated/src buf/validate/validate.proto \
    estelam/inquiry/v1/*.proto estelam/promissory/v1/*.proto estelam/judiciary/v1/*.proto)
cp main.go receipt.go generated/src/client
GO111MODULE=off GOPATH="$PWD/generated:/usr/share/gocode" go build -o generated/client client
