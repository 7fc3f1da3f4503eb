// Subject: one of the stores that are compared.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <weft/runtime/task.h>
#include <weft/store/store.h>

#include "tests/differential/answer.h"
#include "tests/support/redis_server.h"

namespace weft::testing {

inline constexpr size_t kProcesses = 2;

// Bounds low enough for a short trace to reach them.
StoreOptions small_bounds(size_t process);

// Which number a job has in a trace, and which id in one store. A number stays with its id.
class JobNames {
 public:
  void add(size_t number, const std::string& id) {
    numbers_[id] = number;
    ids_[number] = id;
  }
  std::optional<size_t> number(const std::string& id) const {
    const auto found = numbers_.find(id);
    return found == numbers_.end() ? std::nullopt : std::optional(found->second);
  }
  // An id that no store has, for a number without one.
  std::string id(size_t number) const {
    const auto found = ids_.find(number);
    return found == ids_.end() ? "unknown-job-" + std::to_string(number) : found->second;
  }
  std::string to_text(const std::string& id) const {
    const auto found = number(id);
    return found ? "#" + std::to_string(*found) : id;
  }

 private:
  std::map<std::string, size_t> numbers_;
  std::map<size_t, std::string> ids_;
};

// The jobs that a store said to have ended.
class EndsTold final : public StoreListener {
 public:
  void on_work() override {}
  void on_cancel_requested(const std::string& /*job_id*/, const std::string& /*reason*/) override {}
  void on_finished(const v1::Job& job) override { jobs.push_back(job); }
  void on_send(const std::string& /*job_id*/, uint64_t /*number*/,
               const std::string& /*value*/) override {}
  void on_lease_lost(Incarnation next_one) override { next = next_one; }
  std::vector<v1::Job> jobs;
  Incarnation next;  // of the process that has lost its lease last
};

inline Incarnation first_incarnation(size_t process) {
  return Incarnation{0x1111'0000'2222'0000 + process, 0x3333'0000'4444'0000 + process};
}

class Subject {
 public:
  explicit Subject(std::string subject_name) : name(std::move(subject_name)) {
    for (size_t process = 0; process < kProcesses; ++process) {
      become(process, first_incarnation(process));
    }
  }
  virtual ~Subject() = default;

  // As one of the processes that share it sees it.
  virtual Store& store(size_t process) = 0;
  // What `process` asks for next is done, but its connection is lost before the answer. False:
  // nothing can come between this store and its process.
  virtual bool lose_next_reply(size_t /*process*/) { return false; }
  virtual void keep_replies(size_t /*process*/) {}
  // Until `process` can ask, again or for the first time.
  virtual Task<void> await_ready(size_t /*process*/) { co_return; }
  Task<void> await_all_ready() {
    for (size_t process = 0; process < kProcesses; ++process) co_await await_ready(process);
  }
  // Of `process` once it has lost so many leases; 0: as it started.
  Incarnation incarnation(size_t process, size_t lease) const {
    const auto& all = incarnations_[process];
    return lease < all.size() ? all[lease] : Incarnation();
  }
  Incarnation incarnation(size_t process) const { return incarnations_[process].back(); }
  // `process` is alive and goes on as another, but its lease is gone, and so is what it runs, which
  // is `tokens`. Returns when that is queued again.
  virtual Task<void> lose_lease(size_t process, std::vector<Token> tokens) = 0;
  // What the store needs to be run beside its verbs. Until cancelled.
  virtual Task<void> run() { co_return; }
  // What is kept though there is no job and no key any more; empty: nothing.
  virtual std::string leftovers() { return ""; }
  // The kept counters.
  virtual std::string counters() = 0;
  virtual Task<void> close() = 0;

  const std::string name;
  JobNames names;
  EndsTold told;             // by all its processes
  int64_t precision_ns = 1;  // of the times it keeps

 protected:
  void become(size_t process, Incarnation next) { incarnations_[process].push_back(next); }

 private:
  std::array<std::vector<Incarnation>, kProcesses> incarnations_;
};

std::unique_ptr<Subject> make_memory_subject();
std::unique_ptr<Subject> make_sqlite_subject(const std::string& folder);
// Two processes that share the server; each instance has a prefix of its own.
std::unique_ptr<Subject> make_redis_subject(RedisProcess& redis);

// The counters of a store of one process.
std::string to_text(const StoreStats& stats);

}  // namespace weft::testing
