// Redis, as two processes use it, each over a connection of its own that can be cut.
#include <gtest/gtest.h>

#include <array>
#include <chrono>

#include <weft/runtime/sleep.h>
#include <weft/runtime/task_group.h>
#include <weft/store/redis/redis_record.h>

#include "tests/differential/calls.h"
#include "tests/differential/subject.h"
#include "tests/support/tcp_proxy.h"

namespace weft::testing {
namespace {

constexpr int64_t kYear_ms = 365LL * 24 * 3600 * 1000;
constexpr std::chrono::milliseconds kLook(5);
constexpr int kLooks = 10'000;
constexpr int kOpens = 5;

class RedisSubject final : public Subject {
 public:
  RedisSubject(RedisProcess& redis, const std::string& prefix)
      : Subject("redis"), redis_(redis), prefix_(prefix) {
    precision_ns = 1000;
    for (size_t process = 0; process < kProcesses; ++process) {
      proxies_[process] = std::make_unique<TcpProxy>(redis.port());
      StoreOptions options = small_bounds(process);
      options.self = first_incarnation(process);
      options.worker_name = "process-" + std::to_string(process);
      options.prefix = prefix;
      // No time that a trace lets pass makes one of them dead to the other.
      options.lease_ms = kYear_ms;
      options.renew_ms = kYear_ms / 4;
      const std::string url = "redis://127.0.0.1:" + std::to_string(proxies_[process]->port());
      StatusOr<std::unique_ptr<Store>> store = open_store(url, options);
      // A machine with too much to do may keep the proxy waiting.
      for (int tries = 1; !store.ok() && tries < kOpens; ++tries) store = open_store(url, options);
      if (!store.ok()) throw std::runtime_error(store.status().ToString());
      stores_[process] = *std::move(store);
      stores_[process]->set_listener(&told);
    }
  }

  Store& store(size_t process) override { return *stores_[process]; }
  bool lose_next_reply(size_t process) override {
    proxies_[process]->lose_answer();
    return true;
  }
  void keep_replies(size_t process) override { proxies_[process]->keep_answers(); }
  Task<void> await_ready(size_t process) override {
    for (int i = 0; i < kLooks; ++i) {
      const bool ready = stores_[process]->stats().health.ok();
      if (ready) co_return;
      co_await sleep_for(kLook);
    }
    ADD_FAILURE() << "the connection of process " << process << " does not come back";
  }
  // As if another process had given it up, but that nobody took it for dead.
  Task<void> lose_lease(size_t process, std::vector<Token>) override {
    const std::string keys = "{" + prefix_ + ":00}:";
    const std::string before = to_hex(incarnation(process));
    redis_.command({"HDEL", keys + "workers", before});
    EXPECT_EQ(stores_[process]->look_at_lease(false), LeaseState::kGone);
    stores_[process]->give_up_lease();
    become(process, told.next);
    for (int i = 0; i < kLooks; ++i) {
      const std::string now = to_hex(told.next);
      const bool done = redis_.command({"ZSCORE", keys + "leases", before}).empty() &&
                        redis_.command({"HEXISTS", keys + "workers", now}) == "1";
      if (done) break;
      co_await sleep_for(kLook);
    }
    co_await await_ready(process);
  }
  Task<void> run() override {
    const auto body = [&](TaskGroup& group) -> Task<void> {
      for (const auto& store : stores_) group.start(&Store::run, store.get());
      co_return;
    };
    co_await with_group(body);
  }
  std::string leftovers() override {
    const std::string prefix = "{" + prefix_ + ":00}:";
    std::istringstream names(redis_.command({"KEYS", prefix + "*"}));
    std::string left;
    for (std::string name; std::getline(names, name);) {
      name.erase(0, prefix.size());
      const bool stays = name == "layout" || name == "age" || name == "totals" ||
                         name == "workers" || name == "leases" || name == "idle" ||
                         is_of_living(name) || goes_by_itself(prefix, name);
      if (!stays) left += " " + name;
    }
    return left;
  }
  // Those of the server: either process may know older ones.
  std::string counters() override {
    const std::string totals = redis_.command({"GET", "{" + prefix_ + ":00}:totals"});
    StoreStats stats;
    uint64_t* const fields[] = {&stats.queued_jobs,    &stats.running_jobs, &stats.finished_jobs,
                                &stats.succeeded_jobs, &stats.dead_jobs,    &stats.cancelled_jobs,
                                &stats.suspect_jobs,   &stats.removed_jobs, &stats.scheduled_jobs,
                                &stats.expired_jobs};
    for (size_t i = 0; i < totals.size() && i / 8 < std::size(fields); ++i) {
      uint64_t& field = *fields[i / 8];
      field = field << 8 | static_cast<uint8_t>(totals[i]);
    }
    return to_text(stats);
  }
  Task<void> close() override {
    for (const auto& store : stores_) co_await store->close();
  }

 private:
  // What the last take of a process got, as long as it has its lease.
  bool is_of_living(const std::string& name) const {
    for (size_t process = 0; process < kProcesses; ++process) {
      if (name == "took:" + to_hex(incarnation(process))) return true;
    }
    return false;
  }
  bool goes_by_itself(const std::string& prefix, const std::string& name) {
    return name.starts_with("fate:") && std::stoll(redis_.command({"TTL", prefix + name})) > 0;
  }

  RedisProcess& redis_;
  const std::string prefix_;
  std::array<std::unique_ptr<TcpProxy>, kProcesses> proxies_;
  std::array<std::unique_ptr<Store>, kProcesses> stores_;
};

}  // namespace

std::unique_ptr<Subject> make_redis_subject(RedisProcess& redis) {
  static int instances = 0;
  return std::make_unique<RedisSubject>(redis, "trace-" + std::to_string(++instances));
}

}  // namespace weft::testing
