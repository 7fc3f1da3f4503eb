// What the verbs have in common, and the beginning and the end.
#include <redis_scripts.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include <weft/base/clock.h>
#include <weft/base/limits.h>
#include <weft/runtime/task_group.h>
#include <weft/store/job_record.h>
#include <weft/store/redis/redis_store.h>
#include <weft/store/redis/redis_store_impl.h>

namespace weft {
namespace {

constexpr int kRetryMs = 1000;
constexpr size_t kLeastBulkBytes = 2 * limits::kChunkBytes;  // a block of chunks is below it
constexpr int64_t kTestClock_ns = 3600LL * 1'000'000'000;

RedisConnectionOptions connection_options(const StoreOptions& options) {
  RedisConnectionOptions out;
  out.command_ms = options.command_ms;
  out.ping_ms = std::max(options.renew_ms, limits::kRedisPingMs);
  out.seed = options.id_seed;
  return out;
}

Incarnation own_incarnation(const StoreOptions& options) {
  if (!(options.self == Incarnation())) return options.self;
  const auto bits = system_random_bits();
  return {bits[0], bits[1]};
}

Status check_pieces(const RedisServer& server, const RedisFacts& facts) {
  if (facts.max_bulk_bytes == 0 || facts.max_bulk_bytes >= kLeastBulkBytes) return absl::OkStatus();
  return make_status(StatusCode::kFailedPrecondition,
                     to_text(server) + " takes only " + std::to_string(facts.max_bulk_bytes) +
                         " bytes in one piece, less than a chunk of a stream: set its "
                         "proto-max-bulk-len to 2mb at least");
}

}  // namespace

RedisStore::RedisStore(RedisServer server, RedisFacts facts, StoreOptions options)
    : options_(options),
      facts_(std::move(facts)),
      server_(std::move(server)),
      prefix_("{" + options.prefix + ":00}:"),
      self_(own_incarnation(options)),
      self_hex_(to_hex(self_)),
      random_(make_id_source(options)),
      layout_(layout()),
      connection_(server_, "weft " + options.worker_name, connection_options(options)),
      needs_lease_(!(options.self == Incarnation())),
      room_(options.queue_ops),
      room_bytes_(options.queue_bytes),
      answer_bytes_(options.read_bytes),
      submits_(tasks_,
               [this](SubmitBatch::Entries entries) { return send_submits(std::move(entries)); }),
      appends_(tasks_,
               [this](AppendBatch::Entries entries) { return send_appends(std::move(entries)); }),
      progress_(
          tasks_,
          [this](ProgressBatch::Entries entries) { return send_progress(std::move(entries)); }),
      news_(
          connection_, tasks_, server_, "weft news " + options.worker_name,
          connection_options(options), prefix_,
          [this](std::string job_id) { return get(std::move(job_id), false); },
          needs_lease_ ? [this] { workers_.look_soon(); } : std::function<void()>()) {
  news_.set_self(self_);
  connection_.set_scripts(
      {&redis_scripts::submit, &redis_scripts::settle_and_take, &redis_scripts::promote,
       &redis_scripts::release, &redis_scripts::save_progress, &redis_scripts::cancel,
       &redis_scripts::append, &redis_scripts::send, &redis_scripts::consumed, &redis_scripts::trim,
       &redis_scripts::job_retry, &redis_scripts::job_remove});
  connection_.set_check([this](const RedisReply* answer) { return check_server(answer); });
  connection_.set_on_connected([this] {
    // The server may have lost its last writes: it has to look at each of these when it ends.
    for (const auto& [id, running] : running_) running->record.clear();
    workers_.on_connected();
    news_.on_connected();
  });
}

RedisStore::~RedisStore() = default;

Status RedisStore::begin(RedisSync& redis) {
  WEFT_RETURN_IF_ERROR(layout_.agree(redis));
  RedisCommand publish("PUBLISH");
  publish.add(prefix_ + "d:" + self_hex_).add(std::string("w\0", 2));
  if (const Status told = redis.call(std::move(publish)).status(); !told.ok()) {
    if (told.message().find("NOPERM") == std::string_view::npos) return told;
    return make_status(StatusCode::kPermissionDenied,
                       "the user at " + to_text(server_) +
                           " may not publish to the channels of this prefix: ACL SETUSER USER "
                           "resetchannels &" +
                           prefix_ + "*, or give it all channels (&*)");
  }
  RedisCommand counts("GET");
  counts.add(prefix_ + "totals");
  const StatusOr<RedisReply> answer = redis.call(std::move(counts));
  if (!answer.ok()) return answer.status();
  keep_counts(*answer);
  removed_before_ = stats_.removed_jobs;
  return absl::OkStatus();
}

StatusOr<std::optional<RedisCommand>> RedisStore::check_server(const RedisReply* answer) {
  auto next = next_check(answer);
  const std::string_view why = from_absl(next.status().message());
  if (!next.ok() && why != refused_server_) {
    spdlog::error("{}; until then this weftd is not ready, and tries again", why);
  }
  if (!next.ok() || !*next) refused_server_ = why;
  return next;
}

// The layout, and then the longest piece it takes now: a longer one ends the connection, and with
// it everything else that is on its way.
StatusOr<std::optional<RedisCommand>> RedisStore::next_check(const RedisReply* answer) {
  if (answer != nullptr && std::exchange(asking_limit_, false)) {
    const std::string& bytes = (*answer)[1].text();  // none when CONFIG is denied
    std::from_chars(bytes.data(), bytes.data() + bytes.size(), facts_.max_bulk_bytes);
    WEFT_RETURN_IF_ERROR(check_pieces(server_, facts_));
    return std::optional<RedisCommand>();
  }
  asking_limit_ = false;
  auto next = layout_.check(answer);
  if (!next.ok() || *next) return next;
  asking_limit_ = true;
  return std::optional(std::move(RedisCommand("CONFIG").add("GET").add("proto-max-bulk-len")));
}

StoreStats RedisStore::stats() const {
  StoreStats stats = stats_;
  stats.removed_jobs -= std::min(stats.removed_jobs, removed_before_);
  stats.read_bytes = options_.read_bytes - answer_bytes_.free();
  stats.admission = admission_;
  RedisConnectionStats connection = connection_.stats();
  stats.health = std::move(connection.health);
  if (stats.health.ok()) stats.health = news_.health();
  stats.connects = connection.connects;
  stats.timeouts = connection.timeouts;
  stats.commands = connection.commands;
  stats.pushes += news_.stats().pushes;
  stats.refusals = std::move(connection.refusals);
  stats.lease_losses = workers_.lease_losses();
  stats.leases_expired = workers_.leases_expired();
  return stats;
}

Task<void> RedisStore::close() {
  own_loop_.enter();
  co_await news_.said();
  co_await tasks_.join();
  co_await workers_.leave();
  work_timer_.stop();
}

Task<void> RedisStore::run() {
  own_loop_.enter();
  auto body = [this](TaskGroup& group) -> Task<void> {
    group.start([this] { return connection_.run(); }).set_name("store: connection");
    group.start([this] { return news_.run(); }).set_name("store: news");
    co_await workers_.run();
  };
  co_await with_group(body);
}

void RedisStore::become(Incarnation next) {
  self_ = next;
  self_hex_ = to_hex(next);
  leased_ = false;
  running_.clear();
  news_.set_self(next);
  if (listener_ != nullptr) listener_->on_lease_lost(next);
}

RedisCommand RedisStore::begin_call(const RedisScript& script) const {
  RedisCommand command = RedisConnection::start_script(script);
  command.add(int64_t{1}).add(prefix_);
  return command;
}

int64_t RedisStore::clock() {
  const int64_t wall_ns = EventLoop::current()->wall_ns();
  const int64_t off_ns = wall_ns - RealClock::instance().wall_ns();
  return off_ns > -kTestClock_ns && off_ns < kTestClock_ns ? 0 : wall_ns / 1000;
}

Task<StatusOr<RedisReply>> RedisStore::call(const RedisScript& script, RedisCommand command,
                                            size_t operations) {
  StatusOr<RedisReply> reply = co_await connection_.call_script(script, std::move(command));
  if (reply.ok()) {
    ++stats_.commits;
    stats_.operations += operations;
  }
  co_return reply;
}

Task<std::vector<Semaphore::Permit>> RedisStore::make_room(size_t bytes) {
  own_loop_.enter();
  std::vector<Semaphore::Permit> permits;
  Semaphore::Permit one = co_await room_.acquire();
  permits.push_back(std::move(one));
  // One that is larger than all the room has it to itself.
  Semaphore::Permit its = co_await room_bytes_.acquire(std::min(bytes, options_.queue_bytes));
  permits.push_back(std::move(its));
  co_return permits;
}

void RedisStore::keep_counts(const RedisReply& counts) {
  uint64_t* const fields[] = {&stats_.queued_jobs,    &stats_.running_jobs, &stats_.finished_jobs,
                              &stats_.succeeded_jobs, &stats_.dead_jobs,    &stats_.cancelled_jobs,
                              &stats_.suspect_jobs,   &stats_.removed_jobs, &stats_.scheduled_jobs,
                              &stats_.expired_jobs};
  std::string_view bytes = counts.text();
  for (size_t i = 0; i < std::size(fields) && bytes.size() >= sizeof(uint64_t); ++i) {
    *fields[i] = to_number(bytes.substr(0, sizeof(uint64_t)));
    bytes.remove_prefix(sizeof(uint64_t));
  }
}

Status RedisStore::unavailable(const Status& status) {
  if (status.code() == StatusCode::kUnavailable) return status;
  return retry_error(StatusCode::kUnavailable, from_absl(status.message()), kRetryMs);
}

Status RedisStore::stale(const Token& token) {
  ++stats_.stale_tokens;
  return stale_token(token);
}

void RedisStore::tell_work() {
  if (listener_ != nullptr) listener_->on_work();
}

void RedisStore::tell_scheduled(const RedisReply& in) {
  if (listener_ == nullptr || in.integer() < 0) return;
  listener_->on_scheduled(std::chrono::milliseconds(in.integer()));
}

void RedisStore::tell_all_finished(const RedisReply& ended) {
  for (size_t i = 0; i < ended.size(); ++i) {
    StatusOr<v1::Job> job = to_job(ended[i][0], ended[i][1], ended[i][2], ended[i][3]);
    if (job.ok()) tell_finished_elsewhere(*std::move(job));
  }
}

void RedisStore::tell_finished_elsewhere(v1::Job job) {
  const auto found = running_.find(to_absl(job.spec().id()));
  if (found != running_.end()) found->second->uncertain = false;
  tell_finished(std::move(job));
}

void RedisStore::tell_finished(v1::Job job) {
  job.mutable_spec()->clear_payload();
  if (listener_ != nullptr) listener_->on_finished(job);
}

Status check_key_prefix(const std::string& prefix) {
  constexpr size_t kBytes = 64;
  const bool good = !prefix.empty() && prefix.size() <= kBytes &&
                    prefix.find_first_not_of(
                        "abcdefghijklmnopqrstuvwxyz"
                        "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == std::string::npos;
  if (good) return absl::OkStatus();
  return field_error("prefix", "'" + prefix + "' is not a prefix: use at most " +
                                   std::to_string(kBytes) +
                                   " letters, digits, points, dashes and underscores");
}

StatusOr<std::unique_ptr<Store>> open_redis_store(const std::string& url, StoreOptions options) {
  WEFT_RETURN_IF_ERROR(check_key_prefix(options.prefix));
  StatusOr<RedisServer> server = parse_redis_url(url);
  if (!server.ok()) return server.status();
  if (!options.password.empty()) server->password = options.password;
  StatusOr<std::unique_ptr<RedisSync>> redis =
      RedisSync::connect(*server, "weft " + options.worker_name, limits::kRedisConnectMs);
  if (!redis.ok()) return redis.status();
  StatusOr<RedisFacts> facts = check_redis(**redis);
  if (!facts.ok()) return facts.status();
  WEFT_RETURN_IF_ERROR(check_pieces(*server, *facts));
  if (!facts->warning.empty()) spdlog::warn("{}", facts->warning);
  spdlog::info("Redis {} at {}, append-only file: {}", facts->version, to_text(*server),
               facts->aof);
  auto store = std::make_unique<RedisStore>(*std::move(server), *std::move(facts), options);
  WEFT_RETURN_IF_ERROR(store->begin(**redis));
  return store;
}

}  // namespace weft
