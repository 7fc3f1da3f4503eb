// Blocking calls with deadlines, and what is asked of a server before it is used.
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstring>
#include <utility>

#include <weft/base/limits.h>
#include <weft/store/redis/redis_address.h>
#include <weft/store/redis/redis_login.h>
#include <weft/store/redis/redis_reader.h>
#include <weft/store/redis/redis_refusal.h>
#include <weft/store/redis/redis_sync.h>

namespace weft {
namespace {

using SteadyClock = std::chrono::steady_clock;
using TimePoint = SteadyClock::time_point;

// False: the time is over.
bool wait_for(int fd, int16_t events, TimePoint until) {
  while (true) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(until - SteadyClock::now()).count();
    pollfd ready{fd, events, 0};
    const int count = poll(&ready, 1, static_cast<int>(std::clamp<int64_t>(left, 0, 1'000'000)));
    if (count > 0) return true;
    if (left <= 0) return false;
  }
}

}  // namespace

class RedisSync::Impl {
 public:
  Impl(RedisServer server, int64_t timeout_ms)
      : server_(std::move(server)), address_(to_text(server_)), timeout_ms_(timeout_ms) {}

  Status connect(const std::string& name) {
    const TimePoint until = deadline();
    WEFT_RETURN_IF_ERROR(open(until));
    auto commands = login_commands(server_, name);
    std::string text;
    for (RedisCommand& command : commands) text += command.text();
    WEFT_RETURN_IF_ERROR(write(text, until));
    for (size_t step = 0; step < kRedisLoginSteps; ++step) {
      const StatusOr<RedisReply> reply = read(until);
      if (!reply.ok()) return reply.status();
      WEFT_RETURN_IF_ERROR(check_login_answer(step, *reply, server_));
    }
    return {};
  }

  // The reply as it came, errors too.
  StatusOr<RedisReply> ask(RedisCommand& command) {
    if (fd_ == nullptr) return lost("it was closed");
    const TimePoint until = deadline();
    WEFT_RETURN_IF_ERROR(write(command.text(), until));
    return read(until);
  }
  Status refused(const std::string& error) {
    const RedisRefusal refusal = refusal_of(error);
    if (refusal == RedisRefusal::kReadOnly) fd_.reset();
    return status_of(refusal, address_, error);
  }
  const std::string& address() const { return address_; }

 private:
  TimePoint deadline() const { return SteadyClock::now() + std::chrono::milliseconds(timeout_ms_); }

  // An answer that comes later would be taken for that of the next call: so it ends here.
  Status lost(const std::string& why) {
    fd_.reset();
    return retry_error(StatusCode::kUnavailable,
                       "there is no connection to " + address_ + " (" + why +
                           "): start Redis, or check the address",
                       static_cast<int>(limits::kRedisRetryMsMax));
  }
  Status too_late() {
    return lost("it did not answer within " + std::to_string(timeout_ms_) + " ms");
  }

  Status open(TimePoint until) {
    const auto lookup = RedisLookup::start(server_);
    if (!lookup.ok()) return lost(text_of(lookup.status()));
    if (!wait_for((*lookup)->fd(), POLLIN, until)) return lost("its host's name was not resolved");
    const auto addresses = (*lookup)->take_addresses();
    if (!addresses.ok()) return lost(text_of(addresses.status()));
    Status error;
    for (const RedisAddress& address : *addresses) {
      auto socket = open_redis_socket(address);
      error = socket.status();
      if (!error.ok()) continue;
      if (!socket->connected) {
        if (!wait_for(socket->fd->get(), POLLOUT, until)) return too_late();
        error = connect_error(socket->fd->get());
        if (!error.ok()) continue;
      }
      fd_ = std::move(socket->fd);
      return {};
    }
    return lost(text_of(error));
  }

  Status write(std::string_view text, TimePoint until) {
    while (!text.empty()) {
      const ssize_t written = send(fd_->get(), text.data(), text.size(), MSG_NOSIGNAL);
      if (written >= 0) {
        text.remove_prefix(static_cast<size_t>(written));
      } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
        if (!wait_for(fd_->get(), POLLOUT, until)) return too_late();
      } else if (errno != EINTR) {
        return lost(std::strerror(errno));
      }
    }
    return {};
  }

  StatusOr<RedisReply> read(TimePoint until) {
    while (true) {
      RedisReply reply;
      const auto whole = reader_.next(reply);
      if (!whole.ok()) return lost(text_of(whole.status()));
      if (*whole) return reply;
      char buffer[RedisReader::kReadBytes];
      const ssize_t got = recv(fd_->get(), buffer, sizeof(buffer), 0);
      if (got > 0) {
        const Status fed = reader_.feed({buffer, static_cast<size_t>(got)});
        if (!fed.ok()) return lost(text_of(fed));
      } else if (got == 0) {
        return lost("it closed the connection");
      } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
        if (!wait_for(fd_->get(), POLLIN, until)) return too_late();
      } else if (errno != EINTR) {
        return lost(std::strerror(errno));
      }
    }
  }

  static std::string text_of(const Status& status) {
    return std::string(from_absl(status.message()));
  }

  const RedisServer server_;
  const std::string address_;
  const int64_t timeout_ms_;
  std::unique_ptr<OwnedFd> fd_;
  RedisReader reader_;
};

RedisSync::RedisSync(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RedisSync::~RedisSync() = default;

StatusOr<std::unique_ptr<RedisSync>> RedisSync::connect(const RedisServer& server,
                                                        const std::string& name,
                                                        int64_t timeout_ms) {
  auto impl = std::make_unique<Impl>(server, timeout_ms);
  WEFT_RETURN_IF_ERROR(impl->connect(name));
  return std::unique_ptr<RedisSync>(new RedisSync(std::move(impl)));
}

StatusOr<RedisReply> RedisSync::call(RedisCommand command) {
  StatusOr<RedisReply> reply = impl_->ask(command);
  if (reply.ok() && reply->is_error()) return impl_->refused(reply->text());
  return reply;
}

StatusOr<RedisReply> RedisSync::call_script(const RedisScript& script, RedisCommand arguments) {
  StatusOr<RedisReply> reply = impl_->ask(arguments);
  if (!reply.ok() || !reply->is_error() || refusal_of(reply->text()) != RedisRefusal::kNoScript) {
    return reply.ok() && reply->is_error() ? impl_->refused(reply->text()) : std::move(reply);
  }
  RedisCommand load("SCRIPT");
  load.add("LOAD").add(script.text);
  const StatusOr<RedisReply> loaded = call(std::move(load));
  if (!loaded.ok()) return loaded.status();
  return call(std::move(arguments));
}

// ---- the checks at the start

namespace {

constexpr int kMajor = 7;  // flags of scripts

Status unusable(const std::string& message) {
  return make_status(StatusCode::kFailedPrecondition, message);
}

// The value of a setting; nothing when CONFIG is denied, renamed or does not know it.
std::string setting(RedisSync& redis, std::string_view name, Status& error) {
  RedisCommand command("CONFIG");
  command.add("GET").add(name);
  const auto reply = redis.call(std::move(command));
  if (reply.ok()) return (*reply)[1].text();
  error = reply.status();
  return "";
}

std::string durability_of(const std::string& aof) {
  if (aof == "off") {
    return "Redis writes no append-only file: when it crashes, what it holds is lost (CONFIG SET "
           "appendonly yes, and set it in redis.conf)";
  }
  if (aof == "no") {
    return "Redis leaves it to the system when its append-only file is written: a crash of the "
           "machine may take back half a minute (CONFIG SET appendfsync everysec)";
  }
  if (aof == "everysec") {
    return "a crash of Redis' machine may take back the last one to two seconds, and those jobs "
           "run again";
  }
  return aof == "always" ? "what was acknowledged survives a crash of Redis' machine" : "";
}

}  // namespace

StatusOr<RedisFacts> check_redis(RedisSync& redis) {
  auto hello = redis.call(RedisCommand("HELLO"));
  if (!hello.ok()) return hello.status();
  RedisFacts facts;
  facts.version = hello_field(*hello, "version");
  int major = 0;
  std::from_chars(facts.version.data(), facts.version.data() + facts.version.size(), major);
  if (major < kMajor) {
    return unusable("this Redis is version " + facts.version + ": run 7.0 or newer");
  }
  if (hello_field(*hello, "role") != "master") {
    return unusable("this Redis is a replica: give weftd the master's address");
  }
  Status denied;
  const std::string policy = setting(redis, "maxmemory-policy", denied);
  const std::string appendonly = setting(redis, "appendonly", denied);
  const std::string appendfsync = setting(redis, "appendfsync", denied);
  const std::string bulk = setting(redis, "proto-max-bulk-len", denied);
  if (denied.code() == StatusCode::kUnavailable) return denied;
  // Without maxmemory nothing is evicted today, but somebody may set that tomorrow.
  if (!policy.empty() && policy != "noeviction") {
    return unusable("this Redis has maxmemory-policy " + policy +
                    " and would drop jobs when it is full: CONFIG SET maxmemory-policy noeviction "
                    "(and set it in redis.conf)");
  }
  facts.aof = appendonly.empty() ? "unknown" : appendonly == "no" ? "off" : appendfsync;
  facts.durability = durability_of(facts.aof);
  std::from_chars(bulk.data(), bulk.data() + bulk.size(), facts.max_bulk_bytes);
  if (policy.empty()) {
    facts.warning =
        "the settings of this Redis cannot be read (CONFIG GET): make sure that maxmemory-policy "
        "is "
        "noeviction and appendonly is yes";
  } else if (facts.aof == "off" || facts.aof == "no") {
    facts.warning = facts.durability;
  }
  return facts;
}

}  // namespace weft
