// Looks first: a server that takes no writes now can still be one of ours.
#include <weft/store/redis/redis_layout.h>
#include <weft/store/redis/redis_refusal.h>

namespace weft {
namespace {

constexpr std::string_view kLayout = "4";  // what common.lua tells

}  // namespace

StatusOr<std::optional<RedisCommand>> RedisLayout::check(const RedisReply* answer) {
  if (answer == nullptr) {
    setting_ = false;
    return std::optional(std::move(RedisCommand("GET").add(key_)));
  }
  if (answer->is_error()) {
    if (answer->text().starts_with("WRONGTYPE")) return other("something else");
    return status_of(refusal_of(answer->text()), server_, answer->text());
  }
  if (!answer->is_nil()) {
    if (answer->text() != kLayout) return other("the layout " + answer->text());
    return std::optional<RedisCommand>();
  }
  if (setting_) return std::optional<RedisCommand>();  // there was none before it
  setting_ = true;
  return std::optional(std::move(RedisCommand("SET").add(key_).add(kLayout).add("NX").add("GET")));
}

Status RedisLayout::agree(RedisSync& redis) {
  StatusOr<std::optional<RedisCommand>> next = check(nullptr);
  while (next.ok() && *next) {
    StatusOr<RedisReply> answer = redis.call(**std::move(next));
    if (!answer.ok()) {
      const bool is_other = answer.status().message().find("WRONGTYPE") != std::string_view::npos;
      return is_other ? other("something else") : answer.status();
    }
    next = check(&*answer);
  }
  return next.status();
}

Status RedisLayout::other(const std::string& found) const {
  return make_status(StatusCode::kDataLoss,
                     "under the prefix " + prefix_ + " " + server_ + " keeps " + found +
                         ", and this weftd knows the layout " + std::string(kLayout) +
                         ": use the weftd that wrote it, or another --store-prefix");
}

}  // namespace weft
