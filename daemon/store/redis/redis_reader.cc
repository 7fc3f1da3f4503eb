// hiredis' parser with objects of our own.
#include <hiredis/read.h>

#include <exception>
#include <new>
#include <utility>

#include <weft/base/check.h>
#include <weft/store/redis/redis_reader.h>

namespace weft {
namespace {

constexpr size_t kKeptBytes = 1 << 20;  // of the buffer, when it is empty

// Puts `value` where it belongs. Null, and so an error of the parser, when there is no memory for
// it: an exception must not pass through C.
template <typename Make>
void* place(const redisReadTask* task, Make make) noexcept {
  try {
    if (task->parent == nullptr) return new RedisReply(make());
    RedisReply& slot =
        static_cast<RedisReply*>(task->parent->obj)->at(static_cast<size_t>(task->idx));
    slot = make();
    return &slot;
  } catch (const std::exception&) {
    return nullptr;
  }
}

void* create_string(const redisReadTask* task, char* text, size_t size) {
  const RedisReply::Type type = task->type == REDIS_REPLY_ERROR    ? RedisReply::Type::kError
                                : task->type == REDIS_REPLY_STATUS ? RedisReply::Type::kStatus
                                                                   : RedisReply::Type::kString;
  return place(task, [&] { return RedisReply(type, std::string(text, size)); });
}

void* create_array(const redisReadTask* task, int elements) {
  if (static_cast<size_t>(elements) > RedisReader::kArrayElements) return nullptr;
  return place(task,
               [&] { return RedisReply(std::vector<RedisReply>(static_cast<size_t>(elements))); });
}

void* create_integer(const redisReadTask* task, long long value) {
  return place(task, [&] { return RedisReply(static_cast<int64_t>(value)); });
}

void* create_nil(const redisReadTask* task) {
  return place(task, [] { return RedisReply(); });
}

// Only ever called with a root.
void free_object(void* reply) { delete static_cast<RedisReply*>(reply); }

redisReplyObjectFunctions functions{create_string, create_array, create_integer, create_nil,
                                    free_object};

Status not_redis(const std::string& what) {
  return make_status(StatusCode::kInternal,
                     "what answers does not speak as Redis does (" + what + "): check the address");
}

}  // namespace

struct RedisReader::Parser {
  Parser() : reader(redisReaderCreateWithFunctions(&functions)) {
    WEFT_CHECK(reader != nullptr, "there is memory for a parser");
    reader->maxbuf = kKeptBytes;
  }
  ~Parser() { redisReaderFree(reader); }
  Status error() const { return not_redis(reader->errstr); }
  redisReader* const reader;
};

RedisReader::RedisReader(size_t reply_bytes)
    : parser_(std::make_unique<Parser>()), reply_bytes_(reply_bytes) {}
RedisReader::~RedisReader() = default;

Status RedisReader::feed(std::string_view bytes) {
  fed_bytes_ += bytes.size();
  if (fed_bytes_ > reply_bytes_) return not_redis("a reply without an end");
  const int code = redisReaderFeed(parser_->reader, bytes.data(), bytes.size());
  return code == REDIS_OK ? Status() : parser_->error();
}

StatusOr<bool> RedisReader::next(RedisReply& reply) {
  void* object = nullptr;
  if (redisReaderGetReply(parser_->reader, &object) != REDIS_OK) return parser_->error();
  if (object == nullptr) return false;
  fed_bytes_ = 0;
  const std::unique_ptr<RedisReply> whole(static_cast<RedisReply*>(object));
  reply = std::move(*whole);
  return true;
}

}  // namespace weft
