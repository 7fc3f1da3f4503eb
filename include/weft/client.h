// The client library: weft::Client blocks, weft::AsyncClient is awaited on an EventLoop.
#pragma once

#include <weft/client/async_client.h>  // IWYU pragma: export
#include <weft/client/client.h>        // IWYU pragma: export
