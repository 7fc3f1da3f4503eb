// RedisReader: from received bytes to replies (hiredis' parser).
#pragma once

#include <memory>
#include <string_view>

#include <weft/base/status.h>
#include <weft/store/redis/redis_reply.h>

namespace weft {

// Makes a RedisReply as it parses, so that a reply of hundreds of strings is built once.
// Thread: one at a time. Errors: INTERNAL when what came is not RESP2; from then on always.
class RedisReader {
 public:
  RedisReader();
  ~RedisReader();
  RedisReader(const RedisReader&) = delete;
  RedisReader& operator=(const RedisReader&) = delete;

  Status feed(std::string_view bytes);
  // True: `reply` is the next one. False: it is not there yet as a whole.
  StatusOr<bool> next(RedisReply& reply);

  // To be fed at once: hiredis moves what is left of its buffer after each reply.
  static constexpr size_t kReadBytes = 16 << 10;

 private:
  struct Parser;
  std::unique_ptr<Parser> parser_;
};

}  // namespace weft
