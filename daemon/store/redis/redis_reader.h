// RedisReader: from received bytes to replies (hiredis' parser).
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>

#include <weft/base/status.h>
#include <weft/store/redis/redis_reply.h>

namespace weft {

// Makes a RedisReply as it parses, so that a reply of hundreds of strings is built once.
// Thread: one at a time. Errors: INTERNAL when what came is not RESP2 or beyond a limit; from then
// on always. Limits: kArrayElements in one array, `reply_bytes` in one reply, seven arrays in each
// other.
class RedisReader {
 public:
  explicit RedisReader(size_t reply_bytes = kReplyBytes);
  ~RedisReader();
  RedisReader(const RedisReader&) = delete;
  RedisReader& operator=(const RedisReader&) = delete;

  Status feed(std::string_view bytes);
  // True: `reply` is the next one. False: it is not there yet as a whole.
  StatusOr<bool> next(RedisReply& reply);

  // To be fed at once: hiredis moves what is left of its buffer after each reply.
  static constexpr size_t kReadBytes = 16 << 10;
  // Far more than any script of ours answers: a server that says more is not to be believed.
  static constexpr size_t kArrayElements = 1 << 20;
  static constexpr size_t kReplyBytes = 256 << 20;

 private:
  struct Parser;
  std::unique_ptr<Parser> parser_;
  const size_t reply_bytes_;
  size_t fed_bytes_ = 0;  // since the last whole reply
};

}  // namespace weft
