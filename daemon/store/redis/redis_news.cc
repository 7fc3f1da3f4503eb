// Followed streams are told to the server at the end of a turn; news are told on as they come.
#include <redis_scripts.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include <weft/base/limits.h>
#include <weft/runtime/sleep.h>
#include <weft/runtime/task_group.h>
#include <weft/store/redis/redis_news.h>
#include <weft/store/redis/redis_news_message.h>
#include <weft/store/redis/redis_record.h>
#include <weft/store/redis/redis_store_impl.h>

namespace weft {
namespace {

constexpr std::chrono::milliseconds kRetryMin(limits::kRedisRetryMs);
constexpr std::chrono::milliseconds kRetryMax(limits::kRedisRetryMsMax);

bool anybody(const StreamReaders& readers) { return readers.passive + readers.attached > 0; }

}  // namespace

RedisNews::RedisNews(RedisConnection& commands, OwnTasks& tasks, const RedisServer& server,
                     const std::string& name, RedisConnectionOptions options, std::string prefix,
                     Get get, std::function<void()> no_lease)
    : commands_(commands),
      tasks_(tasks),
      prefix_(std::move(prefix)),
      get_(std::move(get)),
      no_lease_(std::move(no_lease)),
      subscription_(server, name, options) {}

void RedisNews::set_self(Incarnation self) {
  self_ = self;
  subscription_.subscribe(
      prefix_ + "d:" + to_hex(self), [this](std::string message) { on_message(message); },
      [this] { again_.set(); });
}

Task<void> RedisNews::run() {
  auto body = [this](TaskGroup& group) -> Task<void> {
    group.start([this] { return subscription_.run(); }).set_name("news from Redis");
    co_await keep_following();
  };
  co_await with_group(body);
}

Task<void> RedisNews::keep_following() {
  std::chrono::milliseconds delay = kRetryMin;
  for (;;) {
    co_await again_.wait();
    co_await commands_.wait_connected();
    co_await subscription_.wait_connected();
    again_.reset();
    hearing_ = false;
    Task<bool> follow = follow_all();
    const bool followed = co_await follow;
    if (!followed) {
      co_await sleep_for(delay);
      delay = std::min(2 * delay, kRetryMax);
      again_.set();
      continue;
    }
    delay = kRetryMin;
    hearing_ = true;
    if (listener_ == nullptr) continue;
    listener_->on_resync();
    listener_->on_work();
  }
}

// Also when there is nothing to follow: then the server has the script, and no later call needs two
// tries and comes behind what was sent after it.
Task<bool> RedisNews::follow_all() {
  std::vector<std::string> ids;
  ids.reserve(follows_.size());
  for (const auto& [id, readers] : follows_) ids.push_back(id);
  size_t next = 0;
  do {
    // Readers come and go while earlier pages are under way: what is said is what holds now.
    Streams page;
    for (; next < ids.size() && page.size() < limits::kRedisScriptItems; ++next) {
      const auto known = follows_.find(ids[next]);
      if (known != follows_.end()) page.emplace_back(known->first, known->second);
    }
    Task<bool> call = tell_server(std::move(page), false);
    const bool told = co_await call;
    if (!told) co_return false;
  } while (next < ids.size());
  co_return true;
}

Status RedisNews::health() const {
  const RedisConnectionStats connection = subscription_.stats();
  if (!connection.health.ok() || hearing_) return connection.health;
  return retry_error(StatusCode::kUnavailable,
                     "what other processes tell this one does not reach it yet: try again",
                     limits::kRedisRetryMs);
}

void RedisNews::follow(const std::string& job_id, StreamReaders readers) {
  if (anybody(readers)) {
    follows_[to_absl(job_id)] = readers;
  } else {
    follows_.erase(to_absl(job_id));
  }
  if (unsaid_.empty()) EventLoop::current()->at_turn_end(*this);
  unsaid_.insert(job_id);
}

void RedisNews::say() {
  unlink();
  Streams streams;
  auto send = [&] {
    if (streams.empty()) return;
    ++saying_;
    all_said_.reset();
    tasks_.start(
        [](RedisNews* news, Streams some) -> Task<void> {
          Task<bool> call = news->tell_server(std::move(some), true);
          const bool told = co_await call;
          if (!told) news->again_.set();
        },
        this, std::exchange(streams, {}));
  };
  for (const std::string& id : std::exchange(unsaid_, {})) {
    const auto known = follows_.find(to_absl(id));
    streams.emplace_back(id, known == follows_.end() ? StreamReaders() : known->second);
    if (streams.size() == limits::kRedisScriptItems) send();
  }
  send();
}

Task<void> RedisNews::said() {
  if (!unsaid_.empty()) say();
  while (saying_ > 0) co_await all_said_.wait();
}

Task<bool> RedisNews::tell_server(Streams streams, bool counted) {
  RedisCommand command = RedisConnection::start_script(redis_scripts::follow);
  command.add(int64_t{1}).add(prefix_).add(to_hex(self_));
  command.add(static_cast<int64_t>(limits::kRemoteReaders)).add(no_lease_ ? "1" : "0");
  for (const auto& [id, readers] : streams) command.add(id).add(watch_entry(self_, readers));
  // Whoever waits for it goes on in the next turn of the ready queue, behind this call.
  if (counted && --saying_ == 0) all_said_.set();
  const StatusOr<RedisReply> refused =
      co_await commands_.call_script(redis_scripts::follow, std::move(command));
  if (!refused.ok()) {
    if (refused.status().code() != StatusCode::kUnavailable) {
      spdlog::error("streams cannot be followed: {}", from_absl(refused.status().message()));
    }
    co_return false;
  }
  if (refused->type() == RedisReply::Type::kInteger) {
    no_lease_();
    co_return false;
  }
  for (size_t i = 0; i < refused->size(); ++i) {
    follows_.erase(to_absl((*refused)[i].text()));
    if (listener_ != nullptr) listener_->on_readers_detached((*refused)[i].text(), UINT64_MAX);
  }
  co_return true;
}

void RedisNews::detach_readers(const std::string& job_id, Incarnation from,
                               uint64_t first_sequence) {
  RedisCommand command("PUBLISH");
  std::string message = "D";
  message += static_cast<char>(job_id.size());
  message += job_id + to_bytes(first_sequence);
  command.add(prefix_ + "d:" + to_hex(from)).add(message);
  // One that is lost is said again: the readers hold the stream still.
  tasks_.start(
      [](RedisNews* news, RedisCommand what) -> Task<void> {
        const auto answer = co_await news->commands_.call(std::move(what));
        if (!answer.ok()) spdlog::debug("{}", from_absl(answer.status().message()));
      },
      this, std::move(command));
}

Task<StatusOr<std::vector<RemoteReaders>>> RedisNews::remote_readers(
    std::vector<std::string> job_ids) {
  std::vector<RemoteReaders> readers;
  if (job_ids.empty()) co_return StatusOr<std::vector<RemoteReaders>>(std::move(readers));
  RedisCommand command("HMGET");
  command.add(prefix_ + "watch");
  for (const std::string& id : job_ids) command.add(id);
  const StatusOr<RedisReply> reply = co_await commands_.call(std::move(command));
  if (!reply.ok()) co_return reply.status();
  for (size_t i = 0; i < job_ids.size(); ++i) {
    add_remote_readers(job_ids[i], (*reply)[i].text(), self_, 0, readers);
  }
  co_return StatusOr<std::vector<RemoteReaders>>(std::move(readers));
}

void RedisNews::on_message(const std::string& message) {
  if (listener_ == nullptr) return;
  std::string job_id;
  switch (tell_news(message, *listener_, job_id)) {
    case NewsResult::kTold:
      break;
    case NewsResult::kAskForEnd:
      if (follows_.contains(to_absl(job_id)) && ends_.insert(job_id).second) {
        tasks_.start([this](std::string id) { return ask_for_end(std::move(id)); }, job_id);
      }
      break;
    case NewsResult::kNotNews:
      // A daemon of another version, or a stranger with the right to publish.
      if (bad_messages_++ % 1000 == 0) {
        spdlog::warn("{} messages from Redis were not understood and dropped", bad_messages_);
      }
      break;
  }
}

Task<void> RedisNews::ask_for_end(std::string job_id) {
  const StatusOr<v1::Job> job = co_await get_(job_id);
  ends_.erase(job_id);
  if (job.ok() && job->has_outcome()) {
    listener_->on_finished(*job);
  } else if (job.status().code() == StatusCode::kUnavailable) {
    again_.set();  // with the connection the news of all others are gone too
  }
}

// ---- the store's verbs

void RedisStore::follow(const std::string& job_id, StreamReaders readers) {
  own_loop_.enter();
  news_.follow(job_id, readers);
}

void RedisStore::detach_readers(const std::string& job_id, Incarnation from,
                                uint64_t first_sequence) {
  own_loop_.enter();
  news_.detach_readers(job_id, from, first_sequence);
}

Task<StatusOr<std::vector<RemoteReaders>>> RedisStore::remote_readers(
    std::vector<std::string> job_ids) {
  own_loop_.enter();
  return news_.remote_readers(std::move(job_ids));
}

}  // namespace weft
