// Members: stores of several processes that share one real Redis, for tests of their leases.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <weft/runtime/event_loop.h>
#include <weft/runtime/sleep.h>
#include <weft/runtime/task_group.h>
#include <weft/store/redis/redis_record.h>
#include <weft/store/redis/redis_store.h>

#include "tests/redis/redis_bed.h"
#include "tests/support/coro_test.h"
#include "tests/support/redis_server.h"

namespace weft::testing {

inline constexpr int64_t kLeaseMs = 1500;
inline constexpr int64_t kRenewMs = 500;
inline constexpr int64_t kNever = 3'600'000;

class Told final : public StoreListener {
 public:
  void on_work() override { ++work; }
  void on_cancel_requested(const std::string&, const std::string&) override {}
  void on_finished(const v1::Job& job) override { finished.push_back(job); }
  void on_send(const std::string&, uint64_t, const std::string&) override {}
  void on_readers(const RemoteReaders& its) override { readers.push_back(its); }
  void on_lease_lost(Incarnation next) override { became.push_back(next); }

  size_t work = 0;
  std::vector<v1::Job> finished;
  std::vector<RemoteReaders> readers;
  std::vector<Incarnation> became;
};

// The store of one process among several.
class Member {
 public:
  Member(TaskGroup& group, const RedisProcess& redis, uint64_t number, int64_t renew_ms = kRenewMs)
      : self{number, number} {
    StoreOptions options;
    options.self = self;
    options.worker_name = "worker-" + std::to_string(number);
    options.lease_ms = kLeaseMs;
    options.renew_ms = renew_ms;
    store = *open_redis_store(redis.unix_url(), options);
    store->set_listener(&told);
    auto run = [](Member* member) -> Task<void> {
      try {
        co_await member->life_.run(member->store->run());
      } catch (const Cancelled&) {  // it died
      }
    };
    group.start(run, this);
  }
  // As kill -9 does, as far as others can see.
  void die() { life_.cancel(CancelReason::kShutdown); }

  Task<bool> has_lease() {
    co_return co_await is_listed([](const v1::Worker&) { return true; });
  }
  // Its lease, and a description of it that `fits`.
  Task<bool> is_listed(std::function<bool(const v1::Worker&)> fits) {
    const auto until = std::chrono::steady_clock::now() + Process::kPatience;
    while (std::chrono::steady_clock::now() < until) {
      auto call = store->workers();
      const auto workers = co_await call;
      if (workers.ok()) {
        for (const v1::Worker& worker : *workers) {
          if (worker.incarnation() == to_hex(self) && fits(worker)) co_return true;
        }
      }
      co_await sleep_for(std::chrono::milliseconds(2));
    }
    co_return false;
  }
  Task<std::vector<std::string>> submit(size_t jobs) {
    const bool connected = co_await comes_true([this] { return store->stats().health.ok(); });
    EXPECT_TRUE(connected);
    std::vector<v1::JobSpec> specs(jobs);
    for (v1::JobSpec& spec : specs) {
      spec.set_queue("default");
      spec.set_type("it");
    }
    std::vector<std::string> ids;
    auto call = store->submit(std::move(specs));
    const auto answers = co_await call;
    for (const auto& answer : answers) ids.push_back(answer.ok() ? answer->id : "");
    co_return ids;
  }
  Task<std::vector<v1::Job>> take(size_t most) {
    std::vector<v1::Job> jobs;
    // Until it has a lease it gets nothing.
    const auto until = std::chrono::steady_clock::now() + Process::kPatience;
    while (jobs.empty() && std::chrono::steady_clock::now() < until) {
      TakeRequest request{self, "worker", most};
      auto call = store->settle_and_take({}, std::move(request));
      auto taken = co_await call;
      if (taken.ok()) jobs = std::move(taken->jobs);
      if (jobs.empty()) co_await sleep_for(std::chrono::milliseconds(2));
    }
    co_return jobs;
  }
  Task<Status> settle(const v1::Job& job, Incarnation as) {
    std::vector<Settlement> one;
    one.emplace_back(Token(job.spec().id(), job.attempt(), as), v1::JOB_STATE_SUCCEEDED,
                     v1::Outcome(), 0);
    auto call = store->settle_and_take(std::move(one), TakeRequest());
    const auto answer = co_await call;
    co_return answer.ok() ? answer->settled.at(0) : answer.status();
  }
  Task<v1::Job> get(std::string id) {
    auto call = store->get(std::move(id), false);
    const auto job = co_await call;
    EXPECT_TRUE(job.ok()) << job.status();
    co_return job.ok() ? *job : v1::Job();
  }
  // Waits until the job is in that state.
  Task<v1::Job> becomes(std::string id, v1::JobState state) {
    v1::Job job;
    const bool connected = co_await comes_true([this] { return store->stats().health.ok(); });
    EXPECT_TRUE(connected);
    const auto until = std::chrono::steady_clock::now() + Process::kPatience;
    do {
      auto call = get(id);
      job = co_await call;
      if (job.state() == state) co_return job;
      co_await sleep_for(std::chrono::milliseconds(5));
    } while (!job.spec().id().empty() && std::chrono::steady_clock::now() < until);
    ADD_FAILURE() << "job " << id << " stays " << v1::JobState_Name(job.state());
    co_return job;
  }

  const Incarnation self;
  Told told;
  std::unique_ptr<Store> store;

 private:
  CancelScope life_;
};

// The processes of a test.
class Cast {
 public:
  Cast(TaskGroup& group, const RedisProcess& redis, std::vector<std::unique_ptr<Member>>& members)
      : group_(group), redis_(redis), members_(members) {}
  Member& add(uint64_t number, int64_t renew_ms = kRenewMs) {
    members_.push_back(std::make_unique<Member>(group_, redis_, number, renew_ms));
    return *members_.back();
  }

 private:
  TaskGroup& group_;
  const RedisProcess& redis_;
  std::vector<std::unique_ptr<Member>>& members_;
};

// Runs the body on a loop in real time; whoever still lives then dies.
inline void with_server(std::function<Task<void>(Cast&, RedisProcess&)> body) {
  RedisProcess redis;
  EventLoop loop;
  std::vector<std::unique_ptr<Member>> members;
  auto all = [&](TaskGroup& group) -> Task<void> {
    Cast cast(group, redis, members);
    co_await body(cast, redis);
    for (const auto& member : members) member->die();
  };
  loop.run(with_group(all));
}

}  // namespace weft::testing
