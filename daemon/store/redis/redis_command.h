// RedisCommand: one command, written in the form it is sent in (RESP, redis.io/docs/reference/
// protocol-spec).
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace weft {

class RedisCommand {
 public:
  explicit RedisCommand(std::string_view name) : text_(kHeadBytes, ' ') { add(name); }

  RedisCommand& add(std::string_view argument) {
    char head[24] = "$";
    char* end = std::to_chars(head + 1, head + 21, argument.size()).ptr;
    *end++ = '\r';
    *end++ = '\n';
    text_.append(head, end);
    text_.append(argument);
    text_.append("\r\n");
    ++count_;
    return *this;
  }
  RedisCommand& add(int64_t number) {
    char digits[24];
    return add(std::string_view(digits, std::to_chars(digits, digits + 24, number).ptr));
  }
  size_t arguments() const { return count_; }
  size_t bytes() const { return text_.size(); }

  // The bytes to send. Lifetime: those of this object, until the next add().
  std::string_view text() {
    char head[kHeadBytes] = "*";
    char* end = std::to_chars(head + 1, head + kHeadBytes - 2, count_).ptr;
    *end++ = '\r';
    *end++ = '\n';
    const size_t length = static_cast<size_t>(end - head);
    std::memcpy(text_.data() + kHeadBytes - length, head, length);
    return std::string_view(text_).substr(kHeadBytes - length);
  }

 private:
  static constexpr size_t kHeadBytes = 24;  // room for the count, which is known last
  std::string text_;
  size_t count_ = 0;
};

}  // namespace weft
