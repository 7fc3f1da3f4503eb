// RedisReply: what a server answered.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace weft {

// Owns all it holds, so it outlives the callback it came in.
class RedisReply {
 public:
  enum class Type : uint8_t { kNil, kStatus, kError, kInteger, kString, kArray };

  RedisReply() = default;
  explicit RedisReply(int64_t number) : type_(Type::kInteger), integer_(number) {}
  RedisReply(Type type, std::string text) : type_(type), text_(std::move(text)) {}
  explicit RedisReply(std::vector<RedisReply> elements)
      : type_(Type::kArray), elements_(std::move(elements)) {}
  RedisReply(RedisReply&&) noexcept = default;
  RedisReply& operator=(RedisReply&&) noexcept = default;

  Type type() const { return type_; }
  bool is_nil() const { return type_ == Type::kNil; }
  bool is_error() const { return type_ == Type::kError; }
  int64_t integer() const { return integer_; }       // 0 unless kInteger
  const std::string& text() const { return text_; }  // empty unless kStatus, kError, kString
  std::string take_text() { return std::move(text_); }
  size_t size() const { return elements_.size(); }  // 0 unless kArray
  // A nil reply beyond the end: scripts cut their answers at a nil.
  const RedisReply& operator[](size_t index) const {
    static const RedisReply nil;
    return index < elements_.size() ? elements_[index] : nil;
  }
  RedisReply& at(size_t index) { return elements_.at(index); }

 private:
  Type type_ = Type::kNil;
  int64_t integer_ = 0;
  std::string text_;
  std::vector<RedisReply> elements_;
};

}  // namespace weft
