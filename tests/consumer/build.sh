#!/bin/sh
# The same with pkg-config: build.sh COMPILER
set -e
"$@" -std=c++20 -O0 worker.cc -o my_worker $(pkg-config --cflags --libs weft-worker) &
"$@" -std=c++20 -O0 client.cc -o my_client $(pkg-config --cflags --libs weft-client)
wait $!
