// Codec: how payloads, chunks, sends and results of one's own types become bytes and back, in
// handlers and in clients alike.
#pragma once

#include <google/protobuf/message.h>

#include <concepts>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace weft {

// Errors: decode throws std::runtime_error that names the fault.
template <typename T>
struct Codec;

template <>
struct Codec<std::string> {
  static std::string decode(std::string_view bytes) { return std::string(bytes); }
  static const std::string& encode(const std::string& bytes) { return bytes; }
};

// Bytes that are not UTF-8 inside JSON strings become U+FFFD.
template <>
struct Codec<nlohmann::json> {
  static nlohmann::json decode(std::string_view bytes);
  static std::string encode(const nlohmann::json& value);
};

// Binary wire form.
template <typename T>
  requires std::derived_from<T, google::protobuf::Message>
struct Codec<T> {
  static T decode(std::string_view bytes) {
    T message;
    if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
      throw std::runtime_error("not a serialized " + message.GetTypeName());
    }
    return message;
  }
  static std::string encode(const T& message) { return message.SerializeAsString(); }
};

}  // namespace weft
